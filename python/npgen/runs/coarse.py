"""The coarser levels of samples that were generated coarse to fine (`Config.levels`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import invalid
from npgen.runs.trace import Trace, check_array

# Names of the arrays of a shard, by those of the attributes.
COARSE_ARRAYS = {"images": "coarse_images", "sources": "coarse_sources", "distances": "coarse_distances"}


def coarse_forms(n: int) -> dict[str, tuple[type[Any], tuple[int | None, ...]]]:
    """Return type and shape of the arrays of a shard of n samples, by their names."""
    return {
        "coarse_images": (np.uint8, (n, None, None)),
        "coarse_sources": (np.int32, (n, None, 4)),
        "coarse_distances": (np.float32, (n, None)),
    }


def coarse_of(arrays: dict[str, NDArray[Any]]) -> CoarseLevels | None:
    """Take the arrays of the coarser levels from those of a shard; None where it has none."""
    if not any(name in arrays for name in COARSE_ARRAYS.values()):
        return None
    missing = [name for name in COARSE_ARRAYS.values() if name not in arrays]
    if missing:
        raise ValueError(f"a shard must have all arrays of its coarser levels, got one without {missing[0]!r}")
    return CoarseLevels(*(arrays.pop(name) for name in COARSE_ARRAYS.values()))


def level_shape(frame: tuple[int, int], level: int) -> tuple[int, int]:
    """Return height and width of a level: those of the frame halved as often as the level says."""
    return frame[0] >> level, frame[1] >> level


@dataclass(frozen=True, eq=False)
class CoarseLevels:
    """The canvases of n samples at the coarser levels, and where their pixels came from.

    Level l has 1/2^l of the resolution. The Q pixels of all levels lie one after another: those of level 1 row by row,
    then those of level 2, and so on.

    Attributes
    ----------
    images
        (n, Q, C) uint8.
    sources
        (n, Q, 4) int32: image in the corpus; y and x there, in pixels of the level; size of the pool.
    distances
        (n, Q) float32: distance when the pixel was drawn, in squared grey levels.

    Raises
    ------
    TypeError, ValueError
        If types or shapes do not fit, as these may come from a file.

    Examples
    --------
    >>> coarse = CoarseLevels.empty(5, (32, 32), 3, levels=3)
    >>> coarse.images.shape, coarse.level((32, 32), 2)[0].shape
    ((5, 320, 3), (5, 8, 8, 3))
    """

    images: NDArray[np.uint8]
    sources: NDArray[np.int32]
    distances: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check types and shapes."""
        shape = getattr(self.distances, "shape", ())
        check_array("coarse.distances", self.distances, np.float32, 2, shape)
        check_array("coarse.images", self.images, np.uint8, 3, shape)
        check_array("coarse.sources", self.sources, np.int32, 3, (*shape, 4))

    @classmethod
    def empty(cls, n: int, frame: tuple[int, int], channels: int, levels: int) -> CoarseLevels:
        """Make room for the coarser ones of so many levels of n samples of a frame (H, W)."""
        pixels = sum(np.prod(level_shape(frame, level)) for level in range(1, levels))
        return cls(
            np.zeros((n, pixels, channels), np.uint8),
            np.zeros((n, pixels, 4), np.int32),
            np.zeros((n, pixels), np.float32),
        )

    def check(self, frame: tuple[int, int, int, int], levels: int) -> None:
        """Raise ValueError unless these are so many levels of samples of a frame (n, H, W, C)."""
        n, height, width, channels = frame
        wanted = CoarseLevels.empty(0, (height, width), channels, levels).images.shape[1:]
        if self.images.shape != (n, *wanted):
            raise invalid("coarse", f"of shape {(n, *wanted)}", self.images.shape)

    def level(self, frame: tuple[int, int], level: int) -> tuple[NDArray[np.uint8], Trace]:
        """Return canvases (n, h, w, C) and trace of a level, 1 or more, of samples of a frame (H, W)."""
        part, shape = self._part(frame, level)
        n, _, channels = self.images.shape
        image_id, y, x, pool_size = np.moveaxis(self.sources[:, part], 2, 0).reshape(4, n, *shape)
        distance = self.distances[:, part].reshape(n, *shape)
        images = self.images[:, part].reshape(n, *shape, channels)
        return images, Trace(image_id, y, x, distance, pool_size)

    def put(self, frame: tuple[int, int], level: int, images: NDArray[np.uint8], trace: Trace) -> None:
        """Write canvases (n, h, w, C) and trace of a level."""
        part, (height, width) = self._part(frame, level)
        n, area = len(self.images), height * width
        self.images[:, part] = images.reshape(n, area, images.shape[3])
        sources = np.stack([trace.image_id, trace.y, trace.x, trace.pool_size], axis=-1)
        self.sources[:, part] = sources.reshape(n, area, 4)
        self.distances[:, part] = trace.distance.reshape(n, area)

    @staticmethod
    def _part(frame: tuple[int, int], level: int) -> tuple[slice, tuple[int, int]]:
        shape = level_shape(frame, level)
        start = sum(int(np.prod(level_shape(frame, finer))) for finer in range(1, level))
        return slice(start, start + shape[0] * shape[1]), shape

    def arrays(self) -> list[NDArray[Any]]:
        """Return the three arrays, in the order of the attributes."""
        return [self.images, self.sources, self.distances]

    def mapped(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> CoarseLevels:
        """Return levels with each array replaced by what `change` makes of it."""
        return CoarseLevels(*map(change, self.arrays()))
