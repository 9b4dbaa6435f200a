"""Images of several sizes in one array: each fills the upper left of a frame they share, and goes on as its edges do.

Windows see past the edges of an image in just this way, so what is stored beyond them is what a scan looks up anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from npgen.corpus.checks import checked_images
from npgen.errors import check_type, invalid

# All images at the size of the largest may take so many bytes, or else so many times their own: one huge picture among
# many small ones would fill the disk with copies of edges, and most of every scan would pass over these.
FREE_BYTES = 1 << 28
MOST_TIMES = 4


def common_frame(sizes: npt.NDArray[np.int32], channels: int, where: Callable[[int], str]) -> tuple[int, int]:
    """Find the frame that images share.

    Parameters
    ----------
    sizes
        (N, 2) height and width of each image.
    channels
        C, of all of them.
    where
        What to call the image of an index in a message.

    Returns
    -------
    int, int
        The largest height and the largest width.

    Raises
    ------
    ValueError
        If all images at that size took far more bytes than they have of their own.
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


def extended(pixels: npt.NDArray[np.uint8], frame: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Let an image (h, w, C) go on to the right and downwards as its edges do, (H, W, C)."""
    down, right = (side - own for side, own in zip(frame, pixels.shape, strict=False))
    return np.pad(pixels, ((0, down), (0, right), (0, 0)), "edge")


def side_by_side(images: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32] | None]:
    """Put images of any sizes into one array.

    Parameters
    ----------
    images
        A sequence of N images, each (h, w), (h, w, 1) or (h, w, 3): whole numbers from 0 to 255.

    Returns
    -------
    np.ndarray
        (N, H, W, C) uint8, read-only.
    np.ndarray or None
        (N, 2) int32, height and width of each image; None if all have the same.

    Raises
    ------
    ValueError
        If a value or a shape is not as above, channels differ, or sizes do too much.
    TypeError
        If a dtype is not as above, or it is no sequence.
    """
    check_type("images", images, list, tuple, np.ndarray)
    pictures = [_picture(image, number) for number, image in enumerate(images)]
    if not pictures:
        raise invalid("images", "at least one image of at least one pixel", ())
    kinds = sorted({picture.shape[2] for picture in pictures})
    if len(kinds) > 1:
        raise ValueError(f"images must be all grey or all RGB, got some of {kinds[0]} and some of {kinds[1]} channels")
    sizes = np.array([picture.shape[:2] for picture in pictures], np.int32)
    frame = common_frame(sizes, kinds[0], lambda number: f"image {number}")
    array = np.empty((len(pictures), *frame, kinds[0]), np.uint8)
    for row, picture in zip(array, pictures, strict=True):
        row[...] = extended(picture, frame)
    array.flags.writeable = False
    return array, unless_one(sizes)


def _picture(image: npt.ArrayLike, number: int) -> npt.NDArray[np.uint8]:
    try:
        picture: npt.NDArray[np.uint8] = checked_images(np.asarray(image)[np.newaxis])[0]
    except (ValueError, TypeError) as error:
        raise type(error)(f"image {number}: {error}") from error
    return picture


def unless_one(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
    """Return sizes (N, 2), or None if there is one only: then the array of images tells it."""
    return None if (sizes == sizes[0]).all() else sizes


def checked_sizes(sizes: npt.NDArray[np.int32], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless sizes (N, 2) are those of images in an array of `shape` (N, H, W, C)."""
    frame = shape[1:3]
    if sizes.shape != (shape[0], 2):
        raise invalid("sizes", f"of shape ({shape[0]}, 2)", sizes.shape)
    if sizes.min() < 1 or tuple(sizes.max(0)) != frame:
        allowed = f"from 1x1 on, the largest height and width {frame[0]}x{frame[1]}"
        low, high = ("x".join(map(str, part)) for part in (sizes.min(0), sizes.max(0)))
        raise ValueError(f"sizes must be {allowed}, got {low} to {high}")
    if unless_one(sizes) is None:
        raise invalid("sizes", "of which some differ", "one only")


def misfits(images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32]) -> Iterator[int]:
    """Go through the images (N, H, W, C) that don't go on beyond their own size (N, 2) as their edges do."""
    for number, (image, (height, width)) in enumerate(zip(images, sizes.tolist(), strict=True)):
        rows, columns = image[height:, :width], image[:, width:]
        if (rows != image[height - 1, :width]).any() or (columns != image[:, width - 1 : width]).any():
            yield number


def range_of(sizes: npt.NDArray[Any]) -> str:
    """Say between which sizes (N, 2) images are."""
    low, high = sizes.min(0), sizes.max(0)
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
