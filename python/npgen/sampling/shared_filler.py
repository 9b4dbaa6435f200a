"""Filling from all images where each rank scans a part of them: the ranks merge their pools, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.runtime import Ranks
from npgen.sampling.shortlists import Shortlists

# One run of a pool: members of one rank's pool of one canvas that have the same distance. `place` is the first one's
# place in that rank's pool.
RUN = np.dtype([("canvas", "i8"), ("rank", "i8"), ("distance", "f8"), ("count", "i8"), ("place", "i8")])


class SharedFiller:
    """Fills the same canvases at every rank, from the images of all ranks.

    Only distances and counts are exchanged, not the members: a pool can hold every image of the corpus.

    Parameters
    ----------
    filler
        The core's filler for this rank's images.
    images
        This rank's images, (M, H, W, C) uint8, consecutive ones of the corpus.
    start
        Id of the first of them.
    ranks
        The processes that fill the same canvases.
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
            # 1. Find the pools over this rank's images.
            pools = self.filler.pools(
                canvases,
                (here, source_y, source_x, distance, pool_size),
                pixel=(y, x),
                known=known,
                barred=self._local(barred),
            )
            # 2. Merge the pools of all ranks. As ranks hold images in order, ties by image id stay ties by rank.
            runs, before, taken = self._merged(self.ranks.all_gather(self._runs(pools)))
            sizes = np.bincount(runs["canvas"], taken, len(canvases)).astype(np.int64)
            # 3. Draw a member of each canvas's pool: the same one at every rank.
            drawn = _core.draw_members(seed, sweep, samples, y * canvases.shape[2] + x, sizes)  # (B,)
            inside = drawn[runs["canvas"]] - before
            chosen = runs[(inside >= 0) & (inside < taken)]  # (B,), one per canvas, in the canvases' order
            chosen["place"] += inside[(inside >= 0) & (inside < taken)]
            # 4. The rank that holds the member sends its address and value; all ranks write pixel and trace.
            found = self.ranks.all_gather(self._members(pools, chosen[chosen["rank"] == self.ranks.rank]))
            b = found[:, 0]
            image_id[b, y, x], source_y[b, y, x], source_x[b, y, x] = found[:, 1:4].T
            canvases[b, y, x] = found[:, 4:]
            distance[:, y, x], pool_size[:, y, x] = chosen["distance"], sizes
            here[:, y, x] = self._local(image_id[:, y, x])
            known[y, x] = True
        return np.zeros(len(canvases), np.int32)

    def _local(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Convert ids to positions among this rank's images; −1 for images of other ranks."""
        own = (ids >= self.start) & (ids < self.start + len(self.images))
        return np.where(own, ids - self.start, -1).astype(np.int32)

    def _runs(self, pools: _core.Pools) -> NDArray[Any]:
        canvases, distances, counts, places = pools.runs()
        runs = np.empty(len(distances), RUN)
        runs["canvas"], runs["rank"] = canvases, self.ranks.rank
        runs["distance"], runs["count"], runs["place"] = distances, counts, places
        return runs

    def _merged(self, runs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Sort the runs of all ranks as in the merged pools; return also how many members precede each, and it has."""
        columns = (np.ascontiguousarray(runs[name]) for name in ("canvas", "distance", "count"))
        order, before, taken = self.filler.merge_runs(*columns)
        return runs[order], before, taken

    def _members(self, pools: _core.Pools, chosen: NDArray[Any]) -> NDArray[np.int32]:
        """Look up drawn members that this rank holds: canvas, image, y, x and value, (M, 4 + C)."""
        members = pools.members(*(np.ascontiguousarray(chosen[name]) for name in ("canvas", "place")))  # (M, 3)
        values = self.images[tuple(members.T)]  # (M, C)
        members[:, 0] += np.int32(self.start)
        return np.concatenate([chosen["canvas"][:, None].astype(np.int32), members, values], 1, dtype=np.int32)
