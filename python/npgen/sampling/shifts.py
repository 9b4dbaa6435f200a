"""How much may be copied in one piece: the shift from a pixel to its source, and the quota of pixels per shift.

All pixels of a sample with the same source image and the same shift are one part of that image, copied as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.corpus import Corpus


def bars_seed_shift(corpus: Corpus, config: Config) -> bool:
    """Return True if the seed's image is not barred as a whole, as there is no other, but by the seed patch's shift.

    Then the patch can't be continued as it goes on in the image.
    """
    return config.exclude_seed_image and len(corpus) == 1


def copy_quota(corpus: Corpus, config: Config, frame: tuple[int, int], locality: bool) -> int | None:
    """Return how many pixels of a frame (height, width) may come from one image by one shift; None for no limit.

    There is no limit where images have too few pixels that may serve a pixel: then all of them could be used up.
    """
    most = config.copy_quota(frame)
    if most is None:
        return None
    used_up = (frame[0] * frame[1] - 1) // most + bars_seed_shift(corpus, config)
    return most if fewest_sources(corpus, config, frame, locality) > used_up else None


def fewest_sources(corpus: Corpus, config: Config, frame: tuple[int, int], locality: bool) -> int:
    """Return the least number of pixels of an image that may serve a pixel of a frame."""
    if locality:  # images have the frame's size: a pixel at its corner
        side = config.locality + 1
        return min(side, frame[0]) * min(side, frame[1])
    if corpus.sizes is not None:
        return int(corpus.sizes.prod(1, dtype=np.int64).min())
    return int(corpus.images.shape[1]) * int(corpus.images.shape[2])


def shifts_of(sources: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Return the shifts of pixels: image, and y and x of the source less the pixel's own.

    Parameters
    ----------
    sources
        Image ids, y and x of the sources, (..., H, W) each.

    Returns
    -------
    array
        (..., H, W, 3) int64.
    """
    image_id, y, x = (np.asarray(part, np.int64) for part in sources)
    rows, columns = np.indices(image_id.shape[-2:])
    return np.stack([image_id, y - rows, x - columns], axis=-1)


def seed_shifts(sources: Sequence[NDArray[np.int32]], rect: tuple[int, int, int, int]) -> NDArray[np.int32]:
    """Return the shifts (B, 3) of the seed patches at `rect`, given image ids, y and x of sources, (B, H, W) each."""
    return np.ascontiguousarray(shifts_of(sources)[:, rect[0], rect[1]], np.int32)


def barred_sources(
    sources: Sequence[NDArray[np.int32]],
    known: NDArray[np.bool_],
    pixel: tuple[int, int],
    corpus: Corpus,
    quota: int | None,
    seed_shift: NDArray[np.int32] | None,
) -> NDArray[np.int32]:
    """List the source pixels that may not be copied to a pixel: by shifts that are used up, and by the seed's.

    Parameters
    ----------
    sources
        Image ids, y and x of a canvas's sources, (H, W) each.
    known
        (H, W) bool, the known pixels without the pixel itself.
    pixel
        (y, x).
    corpus
        The corpus.
    quota
        Pixels that may come from one image by one shift; None for no limit.
    seed_shift
        (3,): a shift that is barred; None for none.

    Returns
    -------
    array
        (M, 3) int32, image, y and x, ascending.
    """
    barred: list[NDArray[Any]] = [np.empty((0, 3), np.int64)]
    if quota is not None:
        shifts, counts = np.unique(shifts_of(sources)[known], axis=0, return_counts=True)
        barred.append(shifts[counts >= quota])
    if seed_shift is not None:
        barred.append(seed_shift[None].astype(np.int64))
    found = np.unique(np.concatenate(barred) + np.array([0, *pixel]), axis=0)
    inside = corpus.holds(*(np.clip(part, -1, 2**31 - 1) for part in found.T))
    return np.ascontiguousarray(found[inside], np.int32)
