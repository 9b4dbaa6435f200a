"""Novelty: how far images are from the corpus, and how much of a sample is copied from one source image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.errors import invalid
from npgen.evaluation.regions import connected_regions
from npgen.runs import Trace

# Smallest PSNR of a copy to its source image, dB; the threshold of Zhao and Basu.
COPY = 25.0
# Pixel values are shifted to −128…127. A dot product of 1,024 of them, and every partial sum, is an integer of at most
# 2²⁴: float32 represents it exactly in every order of summation.
EXACT_VALUES = 1024
# Largest number of images in a block, and of values in a block of large images.
QUERY_ROWS = 1024
SOURCE_ROWS = 4096
TRACE_ROWS = 256
BLOCK_VALUES = 1 << 24


def psnr(squared: NDArray[np.int64], values: int) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio (n,) in dB of images at a squared distance (n,) from another.

    It is ``10 log₁₀(255² m / d²)`` for images of m values; an identical image counts as different by one grey level in
    one value, so that its ratio is finite.
    """
    ratio: NDArray[np.float64] = 10 * np.log10(255**2 * values / squared.clip(1))
    return ratio


def are_copies(squared: NDArray[np.int64], values: int) -> NDArray[np.bool_]:
    """Return which images (n,) are copies: identical to a source image, or within a PSNR of `COPY` dB.

    This is the one rule of evaluations and of γ studies.

    Parameters
    ----------
    squared
        (n,) squared distances to the nearest source image.
    values
        Number of values of an image, H·W·C.
    """
    copies: NDArray[np.bool_] = (squared == 0) | (psnr(squared, values) >= COPY)
    return copies


def nearest_sources(
    images: NDArray[np.uint8],
    sources: NDArray[np.uint8],
    *,
    excluded: NDArray[np.int64] | None = None,
    quiet: bool = True,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the nearest source of each image in pixel distance, exactly.

    The sources are read once, in order and in blocks: they may be a memory map larger than memory.

    Parameters
    ----------
    images
        (n, H, W, C) uint8.
    sources
        (N, H, W, C) uint8.
    excluded
        (n,) int64, id of a source that each image is not compared with (its own, for a training image); −1 for none.
    quiet
        Show no progress bar.

    Returns
    -------
    ids, squared
        (n,) int64 each: id of the nearest source (of several, the lowest), and its squared L2 distance in grey levels.

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
                best = distances.argmin(1)  # the first of equal ones
                found = distances[np.arange(len(rows)), best]
                closer = found < squared[rows]  # strictly: ids of earlier blocks are lower
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
    """Compute the distance of each image to a given source.

    Parameters
    ----------
    images
        (n, H, W, C) uint8.
    sources
        (N, H, W, C) uint8.
    ids
        (n,) id of a source per image.

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


def effective_sources(trace: Trace) -> NDArray[np.float64]:
    """Measure from how many source images each sample comes, in effect: exp of the entropy of their shares.

    ``exp(−Σ_i p_i log p_i)``, p_i the share of the frame that comes from image i: m images of equal shares count as m,
    wherever their pixels lie. Unlike the image-ID entropy of windows, it does not count seams.

    Parameters
    ----------
    trace
        Trace of n samples.

    Returns
    -------
    ndarray
        (n,) float64, from 1 to the number of pixels.
    """
    counts = [np.unique(ids, return_counts=True)[1] for ids in trace.image_id]
    shares = [count / count.sum() for count in counts]
    return np.array([np.exp(-(share * np.log(share)).sum()) for share in shares], np.float64)


def largest_shares(trace: Trace) -> NDArray[np.float64]:
    """Measure the share of each sample that comes from its main source image.

    Parameters
    ----------
    trace
        Trace of n samples.

    Returns
    -------
    ndarray
        (n,) float64, share of all pixels, the seed patch included, between 0 and 1.
    """
    counts = [np.unique(ids, return_counts=True)[1].max() / ids.size for ids in trace.image_id]
    return np.array(counts, np.float64)


def longest_runs(trace: Trace, window: int, order: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """Measure the longest verbatim run of each sample.

    A verbatim run is a sequence of drawn pixels, consecutive in fill order, that were copied from one image at one
    displacement: together they are an unchanged piece of that image. The seed patch does not count.

    Parameters
    ----------
    trace
        Trace of n samples.
    window
        Side w of the context window in pixels, which the fill order depends on.
    order
        (P, 2) drawn pixels of all samples in fill order, (y, x). None computes the order from each sample's seed patch.

    Returns
    -------
    ndarray
        (n,) int64, pixels.
    """
    longest = np.zeros(len(trace.image_id), np.int64)
    known = trace.pool_size == 0  # (n, H, W)
    if order is not None:
        known = np.zeros((len(known), 1, 1), np.bool_)  # all samples have the given order
    # Samples with the same known pixels have the same order.
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
    """Return image and displacement (rows, H, W, 3) of each pixel: equal ones keep their places to each other."""
    height, width = trace.image_id.shape[1:]
    down = trace.y[rows] - np.arange(height, dtype=np.int32)[:, None]
    right = trace.x[rows] - np.arange(width, dtype=np.int32)
    return np.stack([trace.image_id[rows], down, right], axis=-1)


def _longest_runs(addresses: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the length (n,) of the longest sequence of equal addresses in each of (n, M, 3)."""
    count, pixels = addresses.shape[:2]
    if pixels == 0:
        return np.zeros(count, np.int64)
    begins = np.ones((count, pixels), np.bool_)
    begins[:, 1:] = (addresses[:, 1:] != addresses[:, :-1]).any(-1)
    at = np.arange(pixels)
    start = np.maximum.accumulate(np.where(begins, at, 0), axis=1)  # (n, M) of each pixel's run
    longest: NDArray[np.int64] = (at - start).max(1) + 1
    return longest


def largest_regions(trace: Trace) -> NDArray[np.int64]:
    """Measure the largest verbatim region of each sample.

    A verbatim region is a 4-connected set of drawn pixels that were copied from one image at one displacement, in any
    fill order.

    Parameters
    ----------
    trace
        Trace of n samples.

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
        # A region has the number of its first pixel, which lies in its sample.
        largest[rows] = sizes.reshape(len(rows), height * width).max(1)
    return largest
