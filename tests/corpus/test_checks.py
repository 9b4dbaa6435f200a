"""Checks of images, labels, classes and sources, as `Corpus.from_arrays` makes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from small_corpus import CLASSES, pixels, small

from npgen.corpus.checks import checked_classes, checked_images, checked_labels, checked_source
from npgen.corpus.store import Corpus

pytestmark = pytest.mark.usefixtures("own_home")


RAMP = np.arange(256).reshape(16, 4, 4)

BAD_IMAGES = [
    (pixels() / 255.0, ValueError, "images must be whole numbers, got fractions from 0.0"),
    (pixels() / 255.0, ValueError, "--white 1 scales them"),
    (pixels() * 0.7, ValueError, "Round first"),
    (RAMP * 2.0, ValueError, "images must be from 0 to 255, got values from 0.0 to 510.0"),
    (RAMP - 1, ValueError, "images must be from 0 to 255, got values from -1 to 254"),
    (np.where(RAMP > 9, np.nan, 0), ValueError, "images must be finite, got values from nan to nan"),
    (np.where(RAMP > 9, np.inf, 0), ValueError, "images must be finite, got values from 0.0 to inf"),
    (pixels() * 1j, TypeError, "images must be uint8, or another integer or float dtype, got complex128"),
    (pixels().astype(object), TypeError, "got object"),
    (["a"], TypeError, "images must be uint8, or another integer or float dtype, got <U1"),
    (
        np.zeros((0, 4, 4), np.uint8),
        ValueError,
        "images must be at least one image of at least one pixel, got (0, 4",
    ),
    (
        np.zeros((2, 0, 4), np.uint8),
        ValueError,
        "images must be at least one image of at least one pixel, got (2, 0",
    ),
    ([], ValueError, "got shape (0,)"),
    (
        np.zeros((4, 4), np.uint8),
        ValueError,
        "images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), got shape (4, 4)",
    ),
    (np.zeros((2, 4, 4, 4), np.uint8), ValueError, "got shape (2, 4, 4, 4)"),
    (np.zeros((2, 3, 4, 4), np.uint8), ValueError, "got shape (2, 3, 4, 4); move the channels last"),
    (
        [np.zeros((4, 4)), np.zeros((4, 5))],
        ValueError,
        "images must be all of one size, got (4, 4) and (4, 5)",
    ),
]


@pytest.mark.parametrize(("images", "error", "message"), BAD_IMAGES)
def test_bad_images(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Corpus.from_arrays(images)


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"labels": [0] * 5}, ValueError, "labels must be one per image, of shape (6,), got (5,)"),
    ({"labels": [[0]] * 6}, ValueError, "labels must be one per image, of shape (6,), got (6, 1)"),
    ({"labels": [0.0] * 6}, TypeError, "labels must be integers, got float64"),
    ({"labels": ["a"] * 6}, TypeError, "labels must be integers, got <U1"),
    ({"labels": [0, 0, -2, 0, 0, 0]}, ValueError, "labels must be 0 or more, got -2"),
    ({"labels": np.full(6, 2**63, np.uint64)}, ValueError, "labels must be at most 999999"),
    (
        {"labels": [0, 1, 2, 3, 0, 0], "classes": CLASSES},
        ValueError,
        "labels must be less than 3, the number of",
    ),
    ({"classes": CLASSES}, ValueError, "classes must be None where there are no labels"),
    ({"labels": [0] * 6, "classes": ["a", "a"]}, ValueError, "classes must be all different, got ('a', 'a')"),
    ({"labels": [0] * 6, "classes": "abc"}, TypeError, "classes must be a list of strings, got 'abc'"),
    ({"labels": [0] * 6, "classes": [1]}, TypeError, "classes must be a list of strings, got [1]"),
    ({"name": ""}, ValueError, "name must be one path component, got ''"),
    ({"name": "../x"}, ValueError, "name must be one path component, got '../x'"),
    ({"source": {"a": float("nan")}}, ValueError, "JSON"),
    ({"heldout": small()}, ValueError, "heldout must be unlabelled, with classes None, got labelled"),
    (
        {"heldout": Corpus.from_arrays(pixels(2, 3))},
        ValueError,
        "heldout must be images of shape (5, 4, 1), got",
    ),
    (
        {"labels": [0] * 6, "classes": CLASSES, "heldout": small()},
        ValueError,
        "heldout must be without held-out images of its own",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Corpus.from_arrays(pixels(), **options)


def test_a_read_only_array_is_not_copied() -> None:
    images = pixels()
    assert not np.shares_memory(checked_images(images), images)
    images.flags.writeable = False
    assert np.shares_memory(checked_images(images), images)


def test_each_has_its_stored_form() -> None:
    labels = checked_labels(np.array([0, 2], np.uint8), 2)
    assert (labels.dtype, labels.tolist()) == (np.int64, [0, 2])
    assert checked_classes(["a", "b", "c"], labels) == ("a", "b", "c")
    source = {"a": (1, 2), "b": {"c": None}}
    assert checked_source(source) == {"a": [1, 2], "b": {"c": None}}


def test_a_source_that_cannot_be_written_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    for source in ({"x": float("nan")}, circle):
        with pytest.raises(ValueError, match="source must be a JSON-able dict, got one that can't be written"):
            checked_source(source)
    with pytest.raises(TypeError, match="not JSON serializable"):
        checked_source({"x": {1, 2}})
