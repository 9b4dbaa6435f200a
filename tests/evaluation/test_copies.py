"""Copies are copies whatever the held-out images are like; intervals lie within what a score can be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import npgen
from npgen.evaluation import FEWEST_FOR_INTERVALS, Network, are_copies, estimate, evaluate, psnr
from npgen.studies.gamma_measures import nearness
from npgen.studies.measures import mean_cells

SHAPE = (12, 12)
CONFIG = npgen.Config(window=5, shortlist=10, query_expansion=5)


def thumbnails(images):
    features = images[:, ::3, ::3].reshape(len(images), -1).astype(np.float32)
    classes = np.abs(features[:, :4]) + 1
    return features, classes / classes.sum(1, keepdims=True)


def digits(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def made_of(images, heldout, n=8):
    corpus = npgen.Corpus.from_arrays(images, heldout=npgen.Corpus.from_arrays(heldout))
    return npgen.generate(corpus, n, "full", CONFIG, encoder="pixels", progress=False), corpus


def whole_copies(samples, corpus):
    """The samples with images that are copies of their anchors."""
    return dataclasses.replace(samples, images=np.array(corpus.images[samples.anchor]))


@pytest.mark.parametrize("kind", ["duplicates", "film", "equal"])
def test_exact_copies_are_copies_where_the_median_distance_is_0(kind):
    base = digits(20)
    images = {
        "duplicates": np.repeat(base, 3, axis=0),
        "film": np.repeat(base[:3], 20, axis=0),
        "equal": np.repeat(base[:1], 60, axis=0),
    }[kind]
    samples, corpus = made_of(images, images[::5])
    copies = whole_copies(samples, corpus)
    found = evaluate(copies, corpus, network=Network(thumbnails), quiet=True)
    assert found.heldout.nearest_distance == 0 and found.samples.nearest_ratio is None
    for row in (found.samples, found.heldout, found.training):
        assert row.near_copies == row.copies == row.exact_copies == 1
    assert nearness("", copies.images, corpus.images)["copies"] == found.samples.copies  # γ studies say the same


def test_noise_is_no_copy_even_where_the_median_distance_is_0():
    images = np.repeat(digits(20), 3, axis=0)
    samples, corpus = made_of(images, images[::5])
    noise = dataclasses.replace(samples, images=digits(len(samples), 9)[..., None])
    found = evaluate(noise, corpus, network=Network(thumbnails), quiet=True)
    assert found.samples.near_copies == found.samples.copies == found.samples.exact_copies == 0


def test_the_rule_of_copies():
    assert are_copies(np.array([0]), 1).all()  # an image of one value, of which PSNR can't say much
    squared = np.array([0, 1, 100, 10**6])
    np.testing.assert_array_equal(are_copies(squared, 784), psnr(squared, 784) >= 25)
    assert psnr(np.array([0]), 784) == psnr(np.array([1]), 784)


@pytest.mark.parametrize(("part", "shared"), [(slice(0, 10), 10), (slice(55, 65), 5), (slice(60, 70), 0)])
def test_held_out_images_of_the_corpus_are_counted(part, shared):
    images = digits(70)
    samples, corpus = made_of(images[:60], images[part])
    found = evaluate(samples, corpus, network=Network(thumbnails), quiet=True)
    assert (found.heldout_in_corpus, found.heldout_size) == (shared, 10)
    table = found.markdown()
    assert f"| of all held-out images, also in the corpus | – | {shared} | – |" in table
    assert (f"{shared} of 10 held-out images are exact copies of images of the corpus" in table) == bool(shared)
    assert found.to_json()["heldout_in_corpus"] == shared


def test_the_images_of_the_corpus_under_other_labels_are_refused():
    samples, corpus = made_of(digits(60), digits(10, 2))
    for labels in (None, np.arange(60) % 3):
        with pytest.raises(ValueError, match="heldout must be of other images than the corpus"):
            evaluate(samples, corpus, heldout=npgen.Corpus.from_arrays(corpus.images, labels), quiet=True)


@pytest.mark.parametrize("n", [4, 6, 12, FEWEST_FOR_INTERVALS])
def test_intervals_are_within_what_a_score_can_be(n):
    images = np.random.default_rng(3).normal(128, 30, (130, *SHAPE)).clip(0, 255).astype(np.uint8)
    samples, corpus = made_of(images[:90], images[90:], n)
    found = evaluate(samples, corpus, network=Network(thumbnails), quiet=True)
    for row in (found.samples, found.heldout, found.training):
        for score, least, most in (
            (row.precision, 0, 1), (row.recall, 0, 1), (row.frechet, 0, np.inf), (row.inception_score, 1, 4),
        ):  # fmt: skip
            assert least <= score.low <= score.value <= score.high <= most
    table = found.markdown()
    few = n < FEWEST_FOR_INTERVALS
    assert ("(too few images to say)" in table) == few
    assert (f"Only {n} images are scored, too few to say how well they do" in table) == few
    assert (found.row()["recall_low"] is None) == few


def test_estimates_keep_to_their_range():
    left_out = [np.array([0.2, 0.9, 1.0, 0.4])]
    free, bounded = estimate([0.9], left_out), estimate([0.9], left_out, 0, 1)
    assert free.high > 1 and free.low < 0
    assert (bounded.low, bounded.value, bounded.high) == (0, 0.9, 1)
    rounded = estimate([1 + 1e-16], [np.ones(4)], 0, 1)
    assert rounded.low <= rounded.value <= rounded.high


def test_means_of_entropies():
    cells = mean_cells("e", np.array([0.0, 0.0, 1.0]))
    assert cells["e_low"] == 0 and cells["e_high"] > cells["e"]
    assert mean_cells("e", np.array([1.0])) == {"e": 1.0, "e_low": None, "e_high": None}
