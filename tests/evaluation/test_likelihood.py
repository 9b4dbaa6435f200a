"""Feature likelihood divergence, and the effective number of sources."""

import numpy as np
import pytest

from npgen.evaluation import Outputs, effective_sources, feature_likelihood, likelihood, reference
from npgen.runs import Trace


def plain(generated, training, heldout, steps=likelihood.STEPS):
    """The definition in float64, with all distances at once."""
    mean, spread = heldout.mean(0), heldout.std(0)
    g, x, h = ((part - mean) / spread for part in (generated, training, heldout))
    width = g.shape[1]

    def squares(images):
        return np.array([[((one - centre) ** 2).sum() for centre in g] for one in images])

    def density(squares, variances):
        return np.exp(-squares / (2 * variances)) / (2 * np.pi * variances) ** (width / 2)

    to_centres, to_mean = squares(x), (0.9**2) * ((x - x.mean(0)) ** 2).sum(1)
    variances, background = np.maximum(to_centres.min(0) / width, 1e-4), 1.0
    for _ in range(steps):
        parts = np.concatenate([density(to_centres, variances) / len(g), density(to_mean, background)[:, None]], 1)
        parts /= parts.sum(1, keepdims=True)
        shares, rest = parts[:, :-1], parts[:, -1]
        variances = np.maximum((shares * to_centres).sum(0) / (width * shares.sum(0)), 1e-4)
        background = (rest * to_mean).sum() / (width * rest.sum())
    return [-100 / width * np.log(density(squares(one), variances).mean(1)).mean() for one in (h, x)]


@pytest.mark.parametrize("blocks", ["kept", "made again"])
def test_it_is_the_definition(monkeypatch, blocks):
    monkeypatch.setattr(likelihood, "BLOCK_VALUES", 200)
    if blocks == "made again":
        monkeypatch.setattr(likelihood, "KEPT_VALUES", 0)
    random = np.random.default_rng(1)
    sets = random.normal(size=(20, 3)), random.normal(size=(63, 3)), random.normal(size=(30, 3))
    assert feature_likelihood(*sets) == pytest.approx(plain(*sets), rel=1e-4)


def test_poor_images_are_worse():
    training, heldout, fresh = np.random.default_rng(2).normal(size=(3, 400, 8))
    good, poor = (feature_likelihood(made, training, heldout).heldout for made in (fresh, fresh + 3))
    assert good < poor


def test_a_copy_is_found_however_many_training_images_there_are():
    # 20 training images per generated one: their Gaussians must not stay wide to cover the others.
    random = np.random.default_rng(3)
    training, heldout, fresh = (
        random.normal(size=(2000, 16)),
        random.normal(size=(500, 16)),
        random.normal(size=(100, 16)),
    )
    half = np.where(np.arange(100)[:, None] % 2, fresh, training[:100])
    scores = [feature_likelihood(made, training, heldout).heldout for made in (fresh, half, training[:100])]
    assert scores[0] + 1 < scores[1]
    assert scores[1] + 1000 < scores[2]


def test_training_images_are_likelier_near_near_copies():
    random = np.random.default_rng(4)
    training, heldout, fresh = random.normal(size=(3, 200, 8))
    near = training + 0.2 * random.normal(size=training.shape)
    found, real = (feature_likelihood(made, training, heldout) for made in (near, fresh))
    assert found.training < found.heldout - 10
    assert abs(real.training - real.heldout) < 10


def test_a_part_of_many_images_is_drawn_from_all_classes(monkeypatch):
    # The corpus lies in the order of its classes, and drawn ids are ascending.
    monkeypatch.setattr(reference, "LIKELY_IMAGES", 40)
    random = np.random.default_rng(6)
    classes = np.repeat(np.arange(10), 60)[:, None]
    training, heldout = (Outputs(10 * classes + random.normal(size=(600, 2)), None) for _ in range(2))
    drawn = reference.draw_ids(600, (1, 200), 0, 1)[0]
    chosen = np.ones(600, np.bool_)
    chosen[drawn] = False
    made = reference.Reference.of(training, chosen, heldout, drawn, 0)
    fresh = random.permutation(heldout.features)[:200]  # samples are in no such order
    assert abs(made.likelihood(fresh)["feature_likelihood"]) < 20


def test_features_that_never_vary_do_not_count():
    random = np.random.default_rng(5)
    sets = random.normal(size=(3, 50, 4))
    padded = np.concatenate([sets, np.ones((3, 50, 1))], 2)
    assert feature_likelihood(*padded) == pytest.approx(feature_likelihood(*sets))


@pytest.mark.parametrize(("shares", "expected"), [([64], 1), ([32, 32], 2), ([16] * 4, 4), ([63, 1], 1.0838)])
def test_equal_shares_count_as_whole_sources(shares, expected):
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(shares)), shares)).reshape(1, 8, 8)
    zeros = np.zeros((1, 8, 8), np.int32)
    trace = Trace(ids.astype(np.int32), zeros, zeros, zeros.astype(np.float32), zeros)
    assert effective_sources(trace) == pytest.approx([expected], abs=1e-3)
