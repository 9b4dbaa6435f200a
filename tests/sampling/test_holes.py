"""Holes of pictures, filled from a corpus or from the picture itself."""

import numpy as np
import pytest

import npgen
from npgen.sampling.holes import whole_windows


def holed(height=16, width=16, *rects):
    known = np.ones((height, width), bool)
    for y, x, tall, wide in rects or [(5, 5, 6, 7)]:
        known[y : y + tall, x : x + wide] = False
    return known


def run(corpus, canvas, known, n=2, model="local", config=None, **options):
    base = {"window": 5, "shortlist": 8, "locality": 2} if config is None else config
    return npgen.fill(corpus, canvas, known, n, model, npgen.Config(**base), 3, progress=False, **options)


def check(filled, canvas, known, corpus=None):
    """Given pixels stay as they are and say so; all others are copies, drawn from a pool."""
    trace = filled.trace
    np.testing.assert_array_equal(
        filled.images[:, known], np.broadcast_to(canvas[known], filled.images[:, known].shape)
    )
    for part in trace.arrays()[:3]:
        assert (part[:, known] == -1).all() and (part[:, ~known] >= 0).all()
    assert (trace.pool_size[:, known] == 0).all() and (trace.pool_size[:, ~known] > 0).all()
    np.testing.assert_array_equal(filled.replay(corpus), filled.images)


@pytest.fixture
def picture():
    y, x = np.mgrid[:30, :34]
    wave = 120 + 60 * np.sin(x / 2) + 40 * np.sign(np.sin(y / 2.5))
    return np.stack([wave, wave / 2, 255 - wave], -1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("model", ["local", "texture", "full"])
@pytest.mark.parametrize(
    "rects", [[(5, 5, 6, 7)], [(0, 0, 4, 16), (9, 3, 2, 2), (15, 15, 1, 1)], [(0, 0, 16, 8)]], ids=str
)
def test_holes_are_filled_from_a_corpus(digits, model, rects):
    canvas, known = digits.images[7].copy(), holed(16, 16, *rects)
    filled = run(digits, canvas, known, model=model, encoder="pixels")
    check(filled, canvas, known, digits)
    # What lay there does not matter, nor how many variants there are.
    canvas[~known] = 99
    again = run(digits, canvas, known, 1, model=model, encoder="pixels", threads=1)
    np.testing.assert_array_equal(again.images, filled.images[:1])
    if model == "local":
        # The image itself is in the corpus, and nothing differs from it.
        np.testing.assert_array_equal(filled.images[0], digits.images[7])
        shift = np.abs(filled.trace.y - np.arange(16)[:, None])
        assert shift[:, ~known].max() <= 2


def test_holes_are_filled_from_the_picture_itself(picture):
    known = holed(30, 34, (10, 12, 8, 9))
    filled = run(None, picture, known, 3, "texture", {"window": 7, "candidates": "all", "sweeps": 1})
    check(filled, picture, known)
    assert filled.picture == 0
    # Sources are centres of windows that were known as a whole.
    usable = whole_windows(known, 7)
    rows, columns = filled.trace.y[:, ~known], filled.trace.x[:, ~known]
    assert usable[rows, columns].all() and not usable.all()
    # A periodic picture is continued as it was.
    assert np.abs(filled.images[0].astype(int) - picture).mean() < 2


@pytest.mark.parametrize("instructions", npgen._core.instruction_sets())
def test_both_may_serve(colours, picture, instructions, monkeypatch):
    monkeypatch.setenv("NPGEN_SIMD", instructions)
    known = holed(30, 34, (10, 12, 8, 9))
    config = {"window": 5, "max_copy": 0.02, "epsilon": 2.0, "k_min": 30}
    filled = run(colours, picture, known, 2, "texture", config, sources="both")
    check(filled, picture, known, colours)
    assert filled.picture == len(colours)
    ids = filled.trace.image_id[:, ~known]
    assert (ids == filled.picture).any() and (ids < filled.picture).any()
    of_picture = filled.trace.image_id == filled.picture
    assert whole_windows(known, 5)[filled.trace.y[of_picture], filled.trace.x[of_picture]].all()
    monkeypatch.delenv("NPGEN_SIMD")
    again = run(colours, picture, known, 2, "texture", config, sources="both", threads=1)
    np.testing.assert_array_equal(again.trace.image_id, filled.trace.image_id)


def test_pictures_grow(picture):
    canvas, known = np.pad(picture, ((6, 6), (6, 6), (0, 0))), np.pad(np.ones((30, 34), bool), 6)
    filled = npgen.fill(None, canvas, known, config=npgen.Config(window=9, candidates="all"), progress=False)
    check(filled, canvas, known)


def test_nothing_is_done_where_everything_is_known(digits, picture):
    everything = np.ones((16, 16), bool)
    filled = run(digits, digits.images[3], everything)
    check(filled, digits.images[3], everything, digits)
    assert len(run(None, picture, np.ones((30, 34), bool), 4, "texture")) == 4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"known": np.zeros((16, 16), bool)},
            ValueError,
            "known must be a mask with at least one known pixel, got",
        ),
        ({"known": np.ones((16, 15), bool)}, ValueError, r"known must be of shape \(16, 16\), as the canvas"),
        (
            {"known": np.ones((16, 16), int)},
            TypeError,
            "known must be a 2-dimensional array of bool, got int64",
        ),
        ({"canvas": np.zeros((16, 16), np.uint8)}, TypeError, "canvas must be a 3-dimensional array of uint8"),
        ({"canvas": [0]}, TypeError, "canvas must be a 3-dimensional array of uint8, got list"),
        ({"canvas": np.zeros((16, 16, 3), np.uint8)}, ValueError, "canvas must be of 1 channels, as the corpus, got 3"),
        (
            {"canvas": np.zeros((17, 16, 1), np.uint8), "known": holed(17)},
            ValueError,
            "canvas must be 16×16, the",
        ),
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"model": "class"}, ValueError, "model must be one of 'full', 'local', 'texture', got 'class'"),
        ({"corpus": 3}, TypeError, "corpus must be of type Corpus"),
        (
            {"corpus": None, "sources": "both", "model": "texture"},
            ValueError,
            "corpus must be a corpus for sources",
        ),
        ({"corpus": None}, ValueError, "sources must be 'corpus' for a model with locality"),
        ({"sources": "all"}, ValueError, "sources must be one of 'corpus', 'picture', 'both', got 'all'"),
        ({"config": {"window": 17}}, ValueError, r"window must be odd, in 3..=16 \(the picture is 16×16\), got 17"),
        ({"config": {"gamma": 2}}, ValueError, "gamma must be None without tokens, got 2"),
        ({"config": {"window": 5, "shortlist": 61}, "model": "full"}, ValueError, r"shortlist must be in 1..=60"),
    ],
    ids=lambda value: "",
)
def test_what_does_not_fit_is_refused(digits, changes, error, message):
    arguments = {"corpus": digits, "canvas": digits.images[0], "known": holed(), "encoder": "pixels"} | changes
    with pytest.raises(error, match=message):
        run(**arguments)


def test_a_picture_without_a_whole_window_can_not_serve(picture):
    known = np.zeros((30, 34), bool)
    known[::3] = True
    with pytest.raises(ValueError, match="known must be a mask with a whole window of 7×7 known pixels, got 340"):
        run(None, picture, known, 1, "texture", {"window": 7})
    filled = run(None, picture, np.ones((30, 34), bool), 1, "texture", {"window": 7})
    filled.trace.image_id[0, 0, 0] = 5
    with pytest.raises(ValueError, match="corpus must be the one that the picture was filled from, got None"):
        filled.replay()


def test_windows_are_whole_where_all_inside_is_known():
    known = np.ones((6, 7), bool)
    known[2, 3] = False
    expected = np.ones((6, 7), bool)
    expected[1:4, 2:5] = False
    np.testing.assert_array_equal(whole_windows(known, 3), expected)
