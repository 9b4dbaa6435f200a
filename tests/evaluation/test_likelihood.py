"""Feature likelihood divergence, and the effective number of sources."""

import numpy as np
import pytest

from npgen.evaluation import effective_sources, feature_likelihood
from npgen.runs import Trace


def plain(generated, training, heldout, steps=20):
    """The definition, one Gaussian after another."""
    mean, spread = training.mean(0), training.std(0)
    g, x, h = ((part - mean) / spread for part in (generated, training, heldout))
    width = g.shape[1]
    squares = np.array([[((one - centre) ** 2).sum() for centre in g] for one in x])
    variances = np.maximum(squares.min(0) / width, 1e-4)

    def density(squares):
        return np.exp(-squares / (2 * variances)) / (2 * np.pi * variances) ** (width / 2)

    for _ in range(steps):
        shares = density(squares)
        shares /= shares.sum(1, keepdims=True)
        variances = np.maximum((shares * squares).sum(0) / (width * shares.sum(0)), 1e-4)
    to_heldout = np.array([[((one - centre) ** 2).sum() for centre in g] for one in h])
    return -100 / width * np.log(density(to_heldout).mean(1)).mean()


def test_it_is_the_definition():
    random = np.random.default_rng(1)
    generated, training, heldout = random.normal(size=(20, 3)), random.normal(size=(60, 3)), random.normal(size=(30, 3))
    assert feature_likelihood(generated, training, heldout) == pytest.approx(plain(generated, training, heldout))


def test_copies_of_training_images_and_poor_images_are_worse():
    random = np.random.default_rng(2)
    training, heldout, fresh = random.normal(size=(3, 400, 8))
    score = feature_likelihood(fresh, training, heldout)
    assert score < feature_likelihood(training[:200], training, heldout)
    assert score < feature_likelihood(fresh + 3, training, heldout)


def test_features_that_never_vary_do_not_count():
    random = np.random.default_rng(3)
    sets = random.normal(size=(3, 50, 4))
    padded = np.concatenate([sets, np.ones((3, 50, 1))], 2)
    assert feature_likelihood(*padded) == pytest.approx(feature_likelihood(*sets))


@pytest.mark.parametrize(("shares", "expected"), [([64], 1), ([32, 32], 2), ([16] * 4, 4), ([63, 1], 1.0838)])
def test_equal_shares_count_as_whole_sources(shares, expected):
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(shares)), shares)).reshape(1, 8, 8)
    zeros = np.zeros((1, 8, 8), np.int32)
    trace = Trace(ids.astype(np.int32), zeros, zeros, zeros.astype(np.float32), zeros)
    assert effective_sources(trace) == pytest.approx([expected], abs=1e-3)
