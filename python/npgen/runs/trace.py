"""Where each pixel of some samples came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import invalid


@dataclass(frozen=True, eq=False)
class Trace:
    """The address of every pixel of n samples, (n, H, W) each.

    Attributes
    ----------
    image_id, y, x
        int32: the image in the corpus, and the pixel there, that was copied.
    distance
        float32: distance of the two windows when the pixel was drawn, in squared grey levels; 0 in the seed patch. With
        `Config.seams` the draw may have been of another source, see `Samples.grown`; so `pool_size`.
    pool_size
        int32: how many candidates it was drawn from; 0 in the seed patch, which was not drawn.
    """

    image_id: NDArray[np.int32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    distance: NDArray[np.float32]
    pool_size: NDArray[np.int32]

    def __post_init__(self) -> None:
        """Check types and shapes: all statements about samples rest on them."""
        shape = getattr(self.image_id, "shape", ())
        for name, dtype in TRACE_DTYPES.items():
            check_array(f"trace.{name}", getattr(self, name), dtype, 3, shape)

    def arrays(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        """Return the five arrays, in the order of the attributes."""
        return self.image_id, self.y, self.x, self.distance, self.pool_size

    def mapped(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Trace:
        """Return a trace with each array replaced by what `change` makes of it."""
        return Trace(*map(change, self.arrays()))

    def __getitem__(self, part: slice) -> Trace:
        return self.mapped(lambda array: array[part])


TRACE_DTYPES: dict[str, type[Any]] = {
    "image_id": np.int32,
    "y": np.int32,
    "x": np.int32,
    "distance": np.float32,
    "pool_size": np.int32,
}


def check_array(name: str, array: Any, dtype: type[Any], ndim: int, shape: tuple[int, ...]) -> None:
    """Raise an error unless an array has a type, a number of axes, and first extents `shape`."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a {ndim}-dimensional array of {np.dtype(dtype)}, got {got}")
    if array.shape[: len(shape)] != shape:
        raise invalid(name, f"of shape {shape}, as the others", array.shape)
