"""Images of several sizes in one array: each fills the upper left of a common frame and is padded by edge replication.

This is also how windows extend images beyond their edges, so a scan needs no special case for the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from npgen.corpus.checks import checked_images
from npgen.corpus.values import doubtful_range
from npgen.errors import check_type, invalid

# Padded to the common frame, images may take FREE_BYTES, or MOST_TIMES their own bytes if that is more. One huge image
# among many small ones would fill the disk with padding, and scans would spend most of their time on it.
FREE_BYTES = 1 << 28
MOST_TIMES = 4


def common_frame(sizes: npt.NDArray[np.int32], channels: int, where: Callable[[int], str]) -> tuple[int, int]:
    """Return the smallest frame that all images fit into.

    Parameters
    ----------
    sizes
        (N, 2) height and width of each image.
    channels
        Channels C of all images.
    where
        Returns how to name the image of an index in a message.

    Returns
    -------
    int, int
        The largest height and the largest width.

    Raises
    ------
    ValueError
        If padding would take far more bytes than the images themselves.
    """
    areas = sizes.prod(1, dtype=np.int64)
    height, width = map(int, sizes.max(0))
    own, total = channels * int(areas.sum()), len(sizes) * height * width * channels
    if total > max(FREE_BYTES, MOST_TIMES * own):
        largest = int(areas.argmax())
        raise ValueError(
            f"images must be so alike in size that all of them at {height}x{width}, as they are stored, take at most "
            f"{MOST_TIMES} times their own {own:,} bytes, got {total:,}: {where(largest)} is "
            f"{sizes[largest, 0]}x{sizes[largest, 1]}. Leave out or cut up what is so large, or resize all to one size"
        )
    return height, width


def pad_to(frame: tuple[int, int], image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pad an image (h, w, C) on the right and at the bottom to a frame (H, W), by edge replication: (H, W, C)."""
    bottom, right = frame[0] - image.shape[0], frame[1] - image.shape[1]
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), "edge")


def stack_images(images: Any, white: float | None = None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32] | None]:
    """Put images of any sizes into one array, padded to a common frame.

    Parameters
    ----------
    images
        A sequence of N images, each (h, w), (h, w, 1) or (h, w, 3): whole numbers from 0 to 255.
    white
        As for `checked_images`.

    Returns
    -------
    np.ndarray
        (N, H, W, C) uint8, read-only.
    np.ndarray or None
        (N, 2) int32, height and width of each image; None if all are equal.

    Raises
    ------
    ValueError
        If a value or a shape is not as above, channels differ, or sizes differ too much.
    TypeError
        If a dtype is not as above, or `images` is not a sequence.
    """
    check_type("images", images, list, tuple, np.ndarray)
    checked = [_checked(image, number, white) for number, image in enumerate(images)]  # each (h, w, C)
    if not checked:
        raise invalid("images", "at least one image of at least one pixel", ())
    channels = sorted({image.shape[2] for image in checked})
    if len(channels) > 1:
        got = f"some of {channels[0]} and some of {channels[1]} channels"
        raise ValueError(f"images must be all grey or all RGB, got {got}")
    sizes = np.array([image.shape[:2] for image in checked], np.int32)  # (N, 2)
    frame = common_frame(sizes, channels[0], lambda number: f"image {number}")
    array = np.empty((len(checked), *frame, channels[0]), np.uint8)  # (N, H, W, C)
    for padded, image in zip(array, checked, strict=True):
        padded[...] = pad_to(frame, image)
    if white is None and array.max() == 1 and not all(np.asarray(image).dtype == np.bool_ for image in images):
        raise doubtful_range("this list")
    array.flags.writeable = False
    return array, none_if_equal(sizes)


def _checked(image: npt.ArrayLike, number: int, white: float | None) -> npt.NDArray[np.uint8]:
    try:
        checked: npt.NDArray[np.uint8] = checked_images(np.asarray(image)[np.newaxis], white)[0]
    except (ValueError, TypeError) as error:
        raise type(error)(f"image {number}: {error}") from error
    return checked


def none_if_equal(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
    """Return sizes (N, 2); None if all are equal, as the shape of the images' array implies them then."""
    return None if (sizes == sizes[0]).all() else sizes


def check_sizes(sizes: npt.NDArray[np.int32], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless sizes (N, 2) can be those of images in an array of `shape` (N, H, W, C)."""
    frame = shape[1:3]
    if sizes.shape != (shape[0], 2):
        raise invalid("sizes", f"of shape ({shape[0]}, 2)", sizes.shape)
    if sizes.min() < 1 or tuple(sizes.max(0)) != frame:
        allowed = f"from 1x1 on, the largest height and width {frame[0]}x{frame[1]}"
        low, high = ("x".join(map(str, part)) for part in (sizes.min(0), sizes.max(0)))
        raise ValueError(f"sizes must be {allowed}, got {low} to {high}")
    if none_if_equal(sizes) is None:
        raise invalid("sizes", "of which some differ", "one only")


def badly_padded(images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32]) -> Iterator[int]:
    """Yield the indices of images (N, H, W, C) that do not repeat their edges beyond their own sizes (N, 2)."""
    for number, (image, (height, width)) in enumerate(zip(images, sizes.tolist(), strict=True)):
        rows, columns = image[height:, :width], image[:, width:]
        if (rows != image[height - 1, :width]).any() or (columns != image[:, width - 1 : width]).any():
            yield number


def describe_sizes(sizes: npt.NDArray[Any]) -> str:
    """Return the smallest and largest height and width in sizes (N, 2), as text for messages."""
    low, high = sizes.min(0), sizes.max(0)
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
