"""Checks of what goes into a corpus: images, labels, class names and source, each converted to its stored form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npgen.corpus.values import doubtful_range, scaled
from npgen.errors import check_type, invalid, is_text
from npgen.storage import parse_json

# Labels are indices into tables of counts and colours. A larger number is rather an identifier than a class.
MAX_LABEL = 999_999
# Images (N, H, 3) or (N, H, 4) that are higher than this are rather one picture (H, W, 3) or (H, W, 4).
NARROW = 8


def checked_images(images: npt.ArrayLike, white: float | None = None, *, settled: bool = True) -> npt.NDArray[np.uint8]:
    """Convert images to the form in which a corpus holds them.

    Parameters
    ----------
    images
        (N, H, W), (N, H, W, 1) or (N, H, W, 3): whole numbers from 0 to 255 of any integer or float dtype; with
        `white`, any numbers from 0 to `white`; or booleans, of which True is white.
    white
        The value that stands for white; None if values are grey levels as they are.
    settled
        Whether the caller knows that these images form a set of grey levels; else one picture and images whose values
        are all 0 or 1 are refused, unless `white` is given.

    Returns
    -------
    np.ndarray
        (N, H, W, C) uint8, a copy unless `images` is such an array and read-only.

    Raises
    ------
    ValueError
        If a value or a shape is not as above, or there are no pixels.
    TypeError
        If the dtype is not as above.
    """
    if isinstance(images, (list, tuple)) and images:
        sizes = [np.shape(image) for image in images]
        other = next((size for size in sizes if size != sizes[0]), None)
        if other is not None:
            hint = "; keep_sizes=True lets them differ"
            raise ValueError(f"images must be all of one size, got {sizes[0]} and {other}{hint}")
    array = np.asarray(images)
    if array.dtype.kind not in "uifb":
        raise TypeError(f"images must be uint8, or another integer or float dtype, got {array.dtype}")
    if not settled and array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[1] > NARROW:
        raise ValueError(
            f"images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), got shape {array.shape}, which rather is one "
            "picture (H, W, C): images[np.newaxis] is a set of one, images[..., np.newaxis] are grey images so narrow"
        )
    if array.ndim == 3:
        array = array[..., np.newaxis]  # (N, H, W, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        shape = np.shape(images)
        hint = "; move the channels last" if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise ValueError(f"images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), got shape {shape}{hint}")
    if array.size == 0:
        raise invalid("images", "at least one image of at least one pixel", array.shape)
    if array.dtype == np.bool_:
        return array.astype(np.uint8, order="C") * np.uint8(255)
    if white is not None:
        array = scaled(array, white)
    elif array.dtype != np.uint8:
        array = _whole_numbers(array)
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C")
    if white is None and not settled and array.max() == 1:
        raise doubtful_range("this array")
    return array


def checked_labels(labels: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Convert labels to the form in which a corpus holds them.

    Parameters
    ----------
    labels
        (N,) integers, 0 to `MAX_LABEL`.
    count
        N, the number of images.

    Returns
    -------
    np.ndarray
        A copy, (N,) int64.

    Raises
    ------
    ValueError
        If a value or the shape is not as above.
    TypeError
        If they are not integers.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        raise TypeError(f"labels must be integers, got {array.dtype}")
    if array.shape != (count,):
        raise invalid("labels", f"one per image, of shape ({count},)", array.shape)
    if array.min() < 0:
        raise invalid("labels", "0 or more", int(array.min()))
    if array.max() > MAX_LABEL:
        raise invalid("labels", f"at most {MAX_LABEL}", int(array.max()))
    return np.array(array, np.int64, order="C")


def checked_classes(classes: Sequence[str], labels: npt.NDArray[np.int64] | None) -> tuple[str, ...]:
    """Check class names, and that there is one for each label.

    Parameters
    ----------
    classes
        One name per label value, all different.
    labels
        (N,) int64 from `checked_labels`; or None, which allows no class names.

    Returns
    -------
    tuple of str
        The names.

    Raises
    ------
    ValueError
        If there are no labels, two names are equal, or a label has no name.
    TypeError
        If they are not strings.
    """
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes must be a list of strings, got {classes!r}")
    names = tuple(str(name) for name in classes)
    if not all(map(is_text, names)):
        raise invalid("classes", "Unicode text", names)
    if labels is None:
        raise invalid("classes", "None where there are no labels", names)
    if len(set(names)) != len(names):
        raise invalid("classes", "all different", names)
    if labels.max() >= len(names):
        raise invalid("labels", f"less than {len(names)}, the number of classes", int(labels.max()))
    return names


def checked_source(source: dict[str, Any]) -> dict[str, Any]:
    """Copy the description of where images came from, as a manifest would return it.

    Parameters
    ----------
    source
        A JSON-able dict.

    Returns
    -------
    dict
        The copy.

    Raises
    ------
    ValueError
        If it cannot be written as JSON, such as not-a-number and circular references, or is nested too deep.
    TypeError
        If it is not a dict, or holds values that are not JSON-able.
    """
    check_type("source", source, dict)
    try:
        copied: dict[str, Any] = parse_json(json.dumps(source, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"source must be a JSON-able dict, got one that can't be written: {error}") from error
    return copied


def _whole_numbers(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = array.min(), array.max()  # not-a-number if any value is not-a-number
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"images must be finite, got values from {low} to {high}")
    if low < 0 or high > 255:
        raise ValueError(f"images must be from 0 to 255, got values from {low} to {high}")
    pixels = array.astype(np.uint8, order="C")
    if array.dtype.kind == "f" and not np.array_equal(pixels, array):
        hint = "--white 1 scales them (white=1)" if high <= 1 else "Round first, or give their white"
        raise ValueError(f"images must be whole numbers, got fractions from {low} to {high}. {hint}")
    return pixels
