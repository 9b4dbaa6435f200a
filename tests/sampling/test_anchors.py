"""Anchors in queries: a key that is known already is not computed again."""

import numpy as np
import pytest

import npgen


@pytest.mark.parametrize("select", [1, 2])
def test_stored_keys_are_the_anchors_embeddings(digits, monkeypatch, select):
    config = npgen.Config(window=5, shortlist=6, seed_size=4, select=select, query_expansion=0)  # β = 1
    encoder = npgen.PixelEncoder(16, 16, 1)
    keys = npgen.embed(digits, encoder, progress=False)
    embedded, encode = [], npgen.PixelEncoder.encode
    monkeypatch.setattr(npgen.PixelEncoder, "symmetric", True)
    monkeypatch.setattr(npgen.PixelEncoder, "encode", lambda *a, **k: embedded.append(1) or encode(*a, **k))
    samples = npgen.generate(digits, 3, "full", config, 3, encoder=encoder, progress=False)
    np.testing.assert_array_equal(samples.queries[:, 0], keys[samples.anchor])
    assert len(embedded) == (0 if select == 1 else select)  # only finished canvases, for their densities


def test_asymmetric_embeddings_are_computed(digits):
    config = npgen.Config(window=5, shortlist=6, seed_size=4, query_expansion=0)
    encoder = npgen.PixelEncoder(16, 16, 1)
    samples = npgen.generate(digits, 3, "full", config, 3, encoder=encoder, progress=False)
    queries = encoder.encode(digits.images[samples.anchor], np.ones((16, 16), bool))
    np.testing.assert_array_equal(samples.queries[:, 0], queries)


def test_joined_and_smoothed_encoders_are_symmetric_if_their_parts_are(digits):
    assert not npgen.load_encoder("pixels+pixels", digits).symmetric
    assert not npgen.load_encoder("pixels:smooth=3", digits).symmetric
