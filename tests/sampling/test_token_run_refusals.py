"""Runs of tokens: what does not fit is refused with parameter, allowed range and value."""

import numpy as np
import pytest
from corpora import make_autoencoder

import npgen
from npgen import _core
from npgen.config import PIXEL_SETTINGS, TOKEN_SETTINGS
from npgen.sampling.token_run import token_distributions
from npgen.tokens.encode import encode_tokens
from npgen.tokens.store import Tokens

LOCAL = {"gamma": 2, "order": "raster"}


def run(corpus, tokens, n=6, model=None, config=None, **options):
    options = {"seed": 3, "progress": False} | options
    if config is None:
        options = LOCAL | options
    return npgen.generate(corpus, n, model, config, tokens=tokens, **options)


def test_settings_of_the_other_kind_are_refused(digits, digit_tokens):
    others = {
        "window": 5, "sigma": 2.0, "locality": 2, "tolerance": "corpus", "quota": 9, "max_share": 0.5, "max_copy": 0.5,
        "shortlist": 7, "semantic": "threshold", "candidates": "all", "anchor_weight": 0.25, "query_expansion": 5,
        "select": 2, "size": (32, 32), "stage_pixels": 3, "semantic_weight": 2, "levels": 2, "coarse_weight": 2,
        "seams": True,
    }  # fmt: skip
    assert set(others) == set(PIXEL_SETTINGS)
    for name, value in others.items():
        with pytest.raises(ValueError, match=f"{name} must be .* with tokens, got"):
            run(digits, digit_tokens, config=npgen.Config(order="raster", **{name: value}))
    others = {"gamma": 3, "metric": "l2", "order": "raster", "draw": "histogram", "flip": 0.1}
    assert set(others) == set(TOKEN_SETTINGS)
    for name, value in others.items():
        with pytest.raises(ValueError, match=f"{name} must be .* without tokens, got"):
            npgen.generate(digits, 1, "local", npgen.Config(window=5, seed_size=4, **{name: value}), progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "full"}, ValueError, "model must be 'local', 'texture' or 'class' with tokens"),
        ({"gamma": 0}, ValueError, "gamma must be at least 1 or None, got 0"),
        ({"gamma": 1.5}, TypeError, "gamma must be a whole number, got 1.5"),
        ({"order": "spiral"}, ValueError, "order must be 'rings' or 'raster', got 'spiral'"),
        ({"split": "corpus"}, ValueError, "split must be 'samples' or None with tokens, got 'corpus'"),
        ({"config": npgen.Config(seed_size=4, seed_at=(1, 0))}, ValueError, "seed_at must be a corner of a cell"),
        ({"config": npgen.Config(seed_size=18)}, ValueError, "seed rectangle must be inside the grid of 8×8 cells"),
    ],
)
def test_bad_arguments_are_named(digits, digit_tokens, options, error, message):
    with pytest.raises(error, match=message):
        run(digits, digit_tokens, **options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("metric", "l1", "metric must be 'chebyshev' or 'l2', got 'l1'"),
        ("draw", "best", "draw must be 'pool' or 'histogram', got 'best'"),
        ("flip", 0.6, "flip must be in 0…0.5, got 0.6"),
    ],
)
def test_bad_settings_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        npgen.Config(**{name: value})


def test_tokens_that_do_not_fit_are_refused(digits, colours, digit_tokens):
    with pytest.raises(ValueError, match="tokens must be tokens of corpus 'arrays'"):
        run(colours, digit_tokens)
    bare = Tokens.from_codes(digit_tokens.codes(np.arange(60)), 6)
    with pytest.raises(ValueError, match="tokens must be of an autoencoder, which makes images of them"):
        run(digits, bare)
    narrow = npgen.Corpus.from_arrays(digits.images[:, :4, :4])
    with pytest.raises(ValueError, match="order must be 'raster' on a grid of 2×2 cells, got 'rings'"):
        run(narrow, encode_tokens(narrow, make_autoencoder(1), progress=False), config=npgen.Config(seed_size=2))
    one = npgen.Corpus.from_arrays(digits.images[:1])
    tokens = encode_tokens(one, make_autoencoder(1), progress=False)
    with pytest.raises(ValueError, match="corpus must be at least 2 images, as the seed's own is barred, got 1"):
        run(one, tokens, config=npgen.Config(seed_size=4))
    assert len(np.unique(run(one, tokens, 3).codes, axis=0)) == 1
    lonely = npgen.Corpus.from_arrays(digits.images[:2], [0, 1])
    with pytest.raises(ValueError, match="corpus must be at least 2 images of each label"):
        run(lonely, encode_tokens(lonely, make_autoencoder(1), progress=False), 1, "class", npgen.Config(seed_size=4))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cell": (8, 0)}, ValueError, r"cell must be one that is filled, of a grid of 8×8, got \(8, 0\)"),
        ({"cell": (1.5, 0)}, TypeError, r"cell must be whole numbers \(y, x\), got \(1.5, 0\)"),
        ({"codes": np.zeros((1, 8, 8, 2), np.uint8)}, ValueError, "codes must be of shape"),
        ({"codes": np.zeros((1, 8, 8, 1))}, TypeError, "codes must be a 4-dimensional array of uint8"),
        ({"barred": [60]}, ValueError, r"barred must be image ids in 0\.\.60, got 60"),
        ({"barred": [0, 1]}, ValueError, r"barred must be of shape \[1\], got \[2\]"),
        ({"config": npgen.Config(window=5)}, ValueError, "window must be 13 with tokens, got 5"),
    ],
)
def test_bad_questions_about_distributions_are_named(digit_tokens, change, error, message):
    arguments = {"codes": digit_tokens.codes([0]), "cell": (1, 1), "config": npgen.Config(order="raster")} | change
    with pytest.raises(error, match=message):
        token_distributions(digit_tokens, **arguments)


def test_distributions_of_long_tokens_are_refused(digits):
    codes = np.zeros((2, 4, 4, 3), np.uint8)
    tokens = Tokens.from_codes(codes, 17)
    with pytest.raises(ValueError, match=r"bits must be at most 16, as all tokens are listed, got 17"):
        token_distributions(tokens, codes, (1, 1), npgen.Config(order="raster"))


def test_bad_arrays_are_refused_by_the_core(digit_tokens):
    settings = _core.TokenSettings(gamma=1, disc=False, radius=0, epsilon=0.1, k_min=1, flip=None, threads=1)
    with pytest.raises(ValueError, match="planes must be of 2 bytes a token, got 1"):
        _core.TokenFiller(digit_tokens.planes, 9, settings)
    with pytest.raises(ValueError, match=r"bits must be in 1\.\.=64, got 65"):
        _core.TokenFiller(digit_tokens.planes, 65, settings)
    with pytest.raises(ValueError, match="planes must be a C-contiguous array, got another layout"):
        _core.TokenFiller(digit_tokens.planes[..., ::2], 6, settings)
