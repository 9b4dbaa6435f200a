"""Connected regions of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def connected_regions(values: NDArray[np.integer], inside: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Name the 4-connected regions of equal values of each map.

    Parameters
    ----------
    values
        (n, H, W) integers, or (n, H, W, k) of which all k must be equal.
    inside
        (n, H, W) pixels that may be in a region; each other one is its own. None takes all.

    Returns
    -------
    ndarray
        (n, H, W) the number of each region's first pixel, counted through all maps.
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
    """Name each node of a graph of edges a[i]–b[i] after the lowest node that it is connected with."""
    lowest = np.arange(count)
    while True:
        left, right = lowest[a], lowest[b]
        if np.array_equal(left, right):
            return lowest
        # Hook the higher of two roots under the lower one, then let every node point to its root again.
        np.minimum.at(lowest, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(root := lowest[lowest], lowest):
            lowest = root
