"""Queries to which the nearest images' embeddings are added."""

import numpy as np
import pytest

import npgen


@pytest.mark.parametrize("model", ["full", "conditional"])
def test_the_nearest_images_expand_the_query(digits, model):
    config = npgen.Config(window=5, shortlist=6, seed_size=4, anchor_weight=1, query_expansion=3)
    samples = npgen.generate(digits, 5, model, config, 3, encoder="pixels", progress=False)
    encoder = npgen.load_encoder("pixels", digits)
    keys = encoder.encode(digits.images).astype(np.float64)
    plain = encoder.encode(digits.images[samples.anchor], np.ones((16, 16), bool)).astype(np.float64)
    for k, anchor in enumerate(samples.anchor):
        may_serve = np.arange(len(digits)) != anchor
        if model == "conditional":
            may_serve &= digits.labels == digits.labels[anchor]
        ids = np.flatnonzero(may_serve)
        near = ids[np.argsort(-(keys[ids] @ plain[k]), kind="stable")[:3]]
        expanded = plain[k] + keys[near].sum(0)
        np.testing.assert_allclose(samples.queries[k, 0], expanded / np.linalg.norm(expanded), atol=1e-6)
        nearest = ids[np.argsort(-(keys[ids] @ samples.queries[k, 0]), kind="stable")[:6]]
        np.testing.assert_array_equal(npgen.explain(samples, digits, k, (0, 0)).shortlist, np.sort(nearest))


def test_all_images_expand_the_query_where_there_are_fewer(digits):
    def shortlist(count):
        config = npgen.Config(window=5, shortlist=6, seed_size=4, query_expansion=count)
        samples = npgen.generate(digits, 1, config=config, encoder="pixels", progress=False)
        return npgen.explain(samples, digits, 0, (0, 0)).shortlist.tolist()

    assert shortlist(59) == shortlist(1000)
    with pytest.raises(ValueError, match="query_expansion must be at least 0, got -1"):
        npgen.Config(query_expansion=-1)
