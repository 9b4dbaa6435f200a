"""How far images are from the corpus, and how much of a sample one source image accounts for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.errors import invalid
from npgen.evaluation.regions import connected_regions
from npgen.runs import Trace

# Pixel values are taken from −128 to 127. A dot product of so many of them is a whole number of at most 2²⁴,
# as is every partial sum: float32 holds it exactly, whatever the order of summation.
EXACT_VALUES = 1024
# Blocks hold at most so many images, and fewer if these are large.
QUERY_ROWS = 1024
SOURCE_ROWS = 4096
TRACE_ROWS = 256
BLOCK_VALUES = 1 << 24


def nearest_sources(
    images: NDArray[np.uint8],
    sources: NDArray[np.uint8],
    *,
    excluded: NDArray[np.int64] | None = None,
    quiet: bool = True,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the nearest source of each image in pixels, exactly.

    The sources are read once, front to back, in blocks: they may be a memory map larger than memory.

    Parameters
    ----------
    images
        (n, H, W, C) uint8.
    sources
        (N, H, W, C) uint8.
    excluded
        (n,) id of a source that each image is not to be compared with, itself if it is one; −1 for none.
    quiet
        Show no progress.

    Returns
    -------
    ids, squared
        (n,) int64 each: id of the nearest source, the lowest of several; its squared L2 distance.

    Raises
    ------
    ValueError
        If shapes differ, or `excluded` leaves no source.
    """
    if images.shape[1:] != sources.shape[1:]:
        raise invalid("images", f"of shape (n, {str(sources.shape[1:])[1:]}", images.shape)
    if len(sources) < (1 if excluded is None else 2):
        raise invalid("sources", "at least one besides the image itself", len(sources))
    ids = np.zeros(len(images), np.int64)
    squared = np.full(len(images), np.iinfo(np.int64).max)
    values = images[0].size if len(images) else 1
    source_rows, query_rows = _rows(SOURCE_ROWS, values), _rows(QUERY_ROWS, values)
    with tqdm(total=len(sources), desc="nearest", unit="image", disable=quiet) as bar:
        for start in range(0, len(sources), source_rows):
            block = _centred(sources[start : start + source_rows])
            for first in range(0, len(images), query_rows):
                rows = np.arange(first, min(first + query_rows, len(images)))
                distances = _squared_distances(_centred(images[rows]), block)
                if excluded is not None:
                    own = excluded[rows] - start
                    inside = (own >= 0) & (own < len(block))
                    distances[inside, own[inside]] = np.iinfo(np.int64).max
                best = distances.argmin(1)  # the first of equals
                found = distances[np.arange(len(rows)), best]
                closer = found < squared[rows]  # strict: an earlier block's id is lower
                ids[rows[closer]] = start + best[closer]
                squared[rows[closer]] = found[closer]
            bar.update(len(block))
    return ids, squared


def _rows(limit: int, values: int) -> int:
    return max(1, min(limit, BLOCK_VALUES // values))


def _centred(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) - np.float32(128)


def _squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    total = np.zeros((len(a), len(b)), np.int64)
    for start in range(0, a.shape[1], EXACT_VALUES):
        left, right = a[:, start : start + EXACT_VALUES], b[:, start : start + EXACT_VALUES]
        total += _norms(left)[:, None] + _norms(right) - 2 * (left @ right.T).astype(np.int64)
    return total


def _norms(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    norms: NDArray[np.int64] = np.einsum("np,np->n", rows, rows).astype(np.int64)
    return norms


def distances_to(
    images: NDArray[np.uint8], sources: NDArray[np.uint8], ids: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Measure how far each image is from one given source.

    Parameters
    ----------
    images
        (n, H, W, C) uint8.
    sources
        (N, H, W, C) uint8.
    ids
        (n,) a source for each image.

    Returns
    -------
    ndarray
        (n,) int64, squared L2 distances in grey levels.
    """
    squared = np.empty(len(images), np.int64)
    step = _rows(QUERY_ROWS, sources[0].size)
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        difference = images[part].astype(np.int64) - sources[ids[part]]
        squared[part] = (difference**2).sum((1, 2, 3))
    return squared


def largest_shares(trace: Trace) -> NDArray[np.float64]:
    """Measure how much of each sample its main source image accounts for.

    Parameters
    ----------
    trace
        Of n samples.

    Returns
    -------
    ndarray
        (n,) share of all pixels, the seed patch included, that come from one image, 0 to 1.
    """
    counts = [np.unique(ids, return_counts=True)[1].max() / ids.size for ids in trace.image_id]
    return np.array(counts, np.float64)


def longest_runs(trace: Trace, window: int, order: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """Count the longest verbatim run of each sample.

    A run is a stretch of drawn pixels, consecutive in fill order, that were copied from one image at one
    displacement: what was copied there is a piece of that image as it stands. The seed patch, which is always
    one, does not count.

    Parameters
    ----------
    trace
        Of n samples.
    window
        Side w of the context window in pixels, which the fill order depends on.
    order
        (P, 2) drawn pixels of all samples in fill order, (y, x). None: that of pixels around each sample's seed patch.

    Returns
    -------
    ndarray
        (n,) int64, pixels.
    """
    longest = np.zeros(len(trace.image_id), np.int64)
    known = trace.pool_size == 0  # (n, H, W)
    if order is not None:
        known = np.zeros((len(known), 1, 1), np.bool_)  # one order for all
    masks, of_mask = np.unique(known.reshape(len(known), -1), axis=0, return_inverse=True)
    for number, mask in enumerate(masks):
        members = np.flatnonzero(of_mask.reshape(-1) == number)
        pixels = _core.fill_order(mask.reshape(known.shape[1:]), window)[0] if order is None else order
        step = _rows(TRACE_ROWS, trace.image_id[0].size)
        for start in range(0, len(members), step):
            rows = members[start : start + step]
            longest[rows] = _longest_runs(_addresses(trace, rows)[:, pixels[:, 0], pixels[:, 1]])
    return longest


def _addresses(trace: Trace, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """Image and displacement (rows, H, W, 3) of each pixel: where equal, neighbours were neighbours there."""
    height, width = trace.image_id.shape[1:]
    down = trace.y[rows] - np.arange(height, dtype=np.int32)[:, None]
    right = trace.x[rows] - np.arange(width, dtype=np.int32)
    return np.stack([trace.image_id[rows], down, right], axis=-1)


def _longest_runs(addresses: NDArray[np.int32]) -> NDArray[np.int64]:
    """Length of the longest stretch of equal rows in each of (n, M, 3)."""
    count, pixels = addresses.shape[:2]
    if pixels == 0:
        return np.zeros(count, np.int64)
    begins = np.ones((count, pixels), np.bool_)
    begins[:, 1:] = (addresses[:, 1:] != addresses[:, :-1]).any(-1)
    at = np.arange(pixels)
    begun = np.maximum.accumulate(np.where(begins, at, 0), axis=1)  # where the run of each pixel began
    longest: NDArray[np.int64] = (at - begun).max(1) + 1
    return longest


def largest_regions(trace: Trace) -> NDArray[np.int64]:
    """Count the pixels of the largest verbatim region of each sample.

    A region is a 4-connected set of drawn pixels that were copied from one image at one displacement, in
    whatever order they were filled.

    Parameters
    ----------
    trace
        Of n samples.

    Returns
    -------
    ndarray
        (n,) int64, pixels.
    """
    count, height, width = trace.image_id.shape
    largest = np.zeros(count, np.int64)
    step = _rows(TRACE_ROWS, height * width)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        drawn = trace.pool_size[rows] > 0
        regions = connected_regions(_addresses(trace, rows), drawn).reshape(-1)
        sizes = np.bincount(regions[drawn.reshape(-1)], minlength=drawn.size)
        # A region bears the number of its first pixel, which lies in the sample itself.
        largest[rows] = sizes.reshape(len(rows), height * width).max(1)
    return largest
