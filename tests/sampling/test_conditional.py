"""The model `conditional`: the nearest images of the seed's label."""

import numpy as np
import pytest

import npgen

CONFIG = npgen.Config(window=5, shortlist=6, seed_size=4, query_expansion=0)


def run(corpus, n=8, config=CONFIG, **options):
    return npgen.generate(corpus, n, "conditional", config, 3, **({"encoder": "pixels", "progress": False} | options))


def test_sources_are_the_nearest_images_of_the_seed_s_label(digits):
    samples = run(digits)
    encoder = npgen.load_encoder("pixels", digits)
    keys = encoder.encode(digits.images)
    queries = encoder.encode(digits.images[samples.anchor], np.ones((16, 16), bool))
    explainer = npgen.Explainer(samples, digits)
    for k, anchor in enumerate(samples.anchor):
        same = np.flatnonzero(digits.labels == digits.labels[anchor])
        same = same[same != anchor]
        nearest = same[np.argsort(-(keys[same] @ queries[k]), kind="stable")[:6]]
        np.testing.assert_array_equal(explainer.explain(k, (0, 0)).shortlist, np.sort(nearest))
        assert np.isin(samples.trace.image_id[k], [*nearest, anchor]).all()
    assert npgen.entropy(samples, digits).mean_class == 0


def test_lists_are_shorter_where_a_label_has_fewer_images(digits):
    labels = digits.labels.copy()
    rare = np.flatnonzero(labels == labels[0])[:4]
    labels[rare] = 99
    corpus = npgen.Corpus.from_arrays(digits.images, labels)
    samples = run(corpus, 80)
    of_rare = np.flatnonzero(np.isin(samples.anchor, rare))
    explainer = npgen.Explainer(samples, corpus)
    assert len(of_rare)
    for k in of_rare:
        np.testing.assert_array_equal(explainer.explain(k, (0, 0)).shortlist, rare[rare != samples.anchor[k]])


def test_it_needs_labels_and_company(digits):
    bare = npgen.Corpus.from_arrays(digits.images)
    with pytest.raises(ValueError, match="corpus must be one with labels, for the model 'conditional', got 'arrays'"):
        run(bare)
    lonely = npgen.Corpus.from_arrays(digits.images, np.arange(len(digits)))
    with pytest.raises(ValueError, match="corpus must be at least 2 images of each label, as the seed's own is barred"):
        run(lonely)


def test_thresholds_hold_within_the_label(digits):
    samples = run(digits, config=npgen.Config(window=5, shortlist=2, seed_size=4, semantic="threshold", epsilon=0.1))
    labels = digits.labels[samples.trace.image_id]
    assert (labels == digits.labels[samples.anchor][:, None, None]).all()
    assert len({len(npgen.explain(samples, digits, k, (0, 0)).shortlist) for k in range(8)}) > 1
