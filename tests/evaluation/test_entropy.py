"""Entropies of maps compared with counts by hand."""

import numpy as np
import pytest

import npgen


def test_a_map_of_one_label_has_none_and_one_of_all_different_has_the_most():
    assert (npgen.entropy_map(np.full((9, 8), 5)) == 0).all()
    np.testing.assert_allclose(npgen.entropy_map(np.arange(72).reshape(9, 8)), np.log(49))


def test_windows_are_counted():
    labels = np.random.default_rng(0).integers(-3, 3, (10, 12))
    found = npgen.entropy_map(labels, 3)
    assert found.shape == (8, 10)
    for (y, x), value in np.ndenumerate(found):
        _, counts = np.unique(labels[y : y + 3, x : x + 3], return_counts=True)
        share = counts / 9
        np.testing.assert_allclose(value, -(share * np.log(share)).sum(), atol=1e-12)


def test_samples_have_two_entropies(digits):
    samples = npgen.generate(digits, 3, "local", npgen.Config(window=5), progress=False)
    found = npgen.entropy(samples, digits)
    for k in range(3):
        ids = samples.trace.image_id[k]
        np.testing.assert_allclose(found.image_id[k], npgen.entropy_map(ids).mean())
        np.testing.assert_allclose(found.class_map[k], npgen.entropy_map(digits.labels[ids]).mean())
    assert found.mean_image_id == found.image_id.mean()
    assert found.mean_class == found.class_map.mean()
    assert found.mean_image_id > found.mean_class


def test_without_labels_there_is_no_class_entropy(digits):
    corpus = npgen.Corpus.from_arrays(digits.images)
    found = npgen.entropy(npgen.generate(corpus, 1, "local", npgen.Config(window=5), progress=False), corpus)
    assert found.class_map is None
    assert found.mean_class is None


def test_bad_windows_are_refused(digits):
    with pytest.raises(ValueError, match=r"entropy window must be in 1\.\.=4, got 5"):
        npgen.entropy_map(np.zeros((4, 6), int), 5)
    with pytest.raises(ValueError, match=r"entropy window must be in 1\.\.=4, got 0"):
        npgen.entropy_map(np.zeros((4, 6), int), 0)
