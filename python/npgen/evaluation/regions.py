"""Connected regions of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def connected_regions(values: NDArray[np.integer], inside: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Label the 4-connected regions of equal values of each map.

    Parameters
    ----------
    values
        (n, H, W) integers, or (n, H, W, k) vectors of integers.
    inside
        (n, H, W) pixels that are joined to regions; each other pixel is a region of its own. None means all pixels.

    Returns
    -------
    ndarray
        (n, H, W) int64, for each pixel the number of its region's first pixel, counted through all maps.
    """
    vectors = values[..., None] if values.ndim == 3 else values
    shape = vectors.shape[:3]
    number = np.arange(np.prod(shape)).reshape(shape)
    pairs = []
    for here, there in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :, 1:], np.s_[:, :, :-1]),
    ):
        joined = (vectors[here] == vectors[there]).all(-1)
        if inside is not None:
            joined &= inside[here] & inside[there]
        pairs.append(np.stack([number[here][joined], number[there][joined]]))
    return _components(number.size, *np.concatenate(pairs, axis=1)).reshape(shape)


def _components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each node of a graph with edges a[i]–b[i] the lowest node that it is connected with."""
    lowest = np.arange(count)
    while True:
        left, right = lowest[a], lowest[b]
        if np.array_equal(left, right):
            return lowest
        # Make the lower of two roots the parent of the higher one, then point every node to its root.
        np.minimum.at(lowest, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(root := lowest[lowest], lowest):
            lowest = root
