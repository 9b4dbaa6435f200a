"""Filling from all images where each rank looks at a part of them: pools are merged, pixel after pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.runtime import Ranks
from npgen.sampling.shortlists import Shortlists

# Members of one rank's pool of one canvas that are equally near.
RUN = np.dtype([("canvas", "i8"), ("rank", "i8"), ("distance", "f8"), ("count", "i8"), ("place", "i8")])


class SharedFiller:
    """Fills the same canvases at every rank, from the images of all.

    For each pixel every rank finds the pools over its own images, and tells the others how many candidates it has at
    which distances. As ranks hold images in order, that says of every member of the whole pool who has it; the owner of
    the drawn one tells where it is from and its value. Only counts travel, as pools can hold every image there is.

    Parameters
    ----------
    filler
        The core, for this rank's images.
    images
        These images, (M, H, W, C) uint8.
    start
        Id of the first of them.
    ranks
        Who fills together.
    """

    def __init__(self, filler: _core.Filler, images: NDArray[np.uint8], start: int, ranks: Ranks) -> None:
        self.filler, self.images, self.start, self.ranks = filler, images, start, ranks

    def fill(
        self,
        canvases: NDArray[np.uint8],
        trace: tuple[NDArray[Any], ...],
        *,
        pixels: NDArray[np.int32],
        known: NDArray[np.bool_],
        seed: int,
        sweep: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
        shortlists: Shortlists | None,
    ) -> NDArray[np.int32]:
        """Fill `pixels` (P, 2) of canvases (B, H, W, C) in place, with their traces; see `_core.Filler.fill`."""
        assert shortlists is None, "shortlisted images are copied to the rank that fills the canvas"
        image_id, source_y, source_x, distance, pool_size = trace
        known, here = known.copy(), self._local(image_id)
        for y, x in pixels.tolist():
            pools = self.filler.pools(
                canvases,
                (here, source_y, source_x, distance, pool_size),
                pixel=(y, x),
                known=known,
                barred=self._local(barred),
            )
            runs, before, taken = self._merged(self.ranks.all_gather(self._runs(pools)))
            sizes = np.bincount(runs["canvas"], taken, len(canvases)).astype(np.int64)
            drawn = _core.draw_members(seed, sweep, samples, y * canvases.shape[2] + x, sizes)  # (B,)
            inside = drawn[runs["canvas"]] - before
            chosen = runs[(inside >= 0) & (inside < taken)]  # (B,), one a canvas, in their order
            chosen["place"] += inside[(inside >= 0) & (inside < taken)]
            told = self.ranks.all_gather(self._members(pools, chosen[chosen["rank"] == self.ranks.rank]))
            b = told[:, 0]
            image_id[b, y, x], source_y[b, y, x], source_x[b, y, x] = told[:, 1:4].T
            canvases[b, y, x] = told[:, 4:]
            distance[:, y, x], pool_size[:, y, x] = chosen["distance"], sizes
            here[:, y, x] = self._local(image_id[:, y, x])
            known[y, x] = True
        return np.zeros(len(canvases), np.int32)

    def _local(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Ids as this rank counts its images; −1 for those of others."""
        own = (ids >= self.start) & (ids < self.start + len(self.images))
        return np.where(own, ids - self.start, -1).astype(np.int32)

    def _runs(self, pools: _core.Pools) -> NDArray[Any]:
        canvases, distances, counts, places = pools.runs()
        runs = np.empty(len(distances), RUN)
        runs["canvas"], runs["rank"] = canvases, self.ranks.rank
        runs["distance"], runs["count"], runs["place"] = distances, counts, places
        return runs

    def _merged(self, runs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Sort all ranks' runs as the whole pools have them; with the members before each, and those that it takes."""
        columns = (np.ascontiguousarray(runs[name]) for name in ("canvas", "distance", "count"))
        order, before, taken = self.filler.merge_runs(*columns)
        return runs[order], before, taken

    def _members(self, pools: _core.Pools, chosen: NDArray[Any]) -> NDArray[np.int32]:
        """Look up what this rank was asked for: canvas, image, y, x and value, (M, 4 + C)."""
        members = pools.members(*(np.ascontiguousarray(chosen[name]) for name in ("canvas", "place")))  # (M, 3)
        values = self.images[tuple(members.T)]  # (M, C)
        members[:, 0] += np.int32(self.start)
        return np.concatenate([chosen["canvas"][:, None].astype(np.int32), members, values], 1, dtype=np.int32)
