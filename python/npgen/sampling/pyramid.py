"""Coarse to fine: images of lower resolution, and what a finer level sees of the coarser canvas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen.sampling.library import Library
from npgen.sampling.meaning import MOST_ADDED, UNITS
from npgen.sampling.plan import PixelPlan
from npgen.sampling.shortlists import Shortlists, listed

# Weights of the Gaussian are rounded to multiples of 1 / SCALE along each axis: sums of squares then are whole numbers
# below 2⁵³, exact in double precision in whatever order a library adds them.
SCALE = 256


def shrink(images: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Shrink images to 1/2^level of their resolution, by means over squares.

    Parameters
    ----------
    images
        (N, H, W, C) uint8; H and W multiples of 2^level.
    level
        How often the resolution is halved; 0 returns the images.

    Returns
    -------
    ndarray
        (N, H / 2^level, W / 2^level, C) uint8: means of the images' own pixels, halves rounded up.

    Examples
    --------
    >>> shrink(np.arange(8, dtype=np.uint8).reshape(1, 2, 4, 1), 1)[0, :, :, 0].tolist()
    [[3, 5]]
    """
    if level == 0:
        return images
    count, height, width, channels = images.shape
    side = 1 << level
    sums = np.full((count, height >> level, width >> level, channels), side * side // 2, np.uint32)
    for dy, dx in np.ndindex(side, side):
        sums += images[:, dy::side, dx::side]
    means: NDArray[np.uint8] = (sums >> 2 * level).astype(np.uint8)
    return means


class Guide:
    """What a level sees of the coarser canvas: distances of its windows from those of sources.

    ``d(p, i, q) = Σ_δ G(δ) mean_c (canvas(P + δ) − image_i(Q + δ))² / Σ_δ G(δ)``, on the coarser level, whose pixels P
    and Q hold p and q. The canvas is finished there, so δ runs over the whole window inside the frame, its centre
    included; beyond their edges, sources repeat their outermost pixels.

    Parameters
    ----------
    plan
        Of the finer level.
    coarser
        Of the level above it, with its window and Gaussian.
    canvases
        The finished canvases of that level, (B, h, w, C) uint8.
    library
        The corpus.
    """

    def __init__(self, plan: PixelPlan, coarser: PixelPlan, canvases: NDArray[np.uint8], library: Library) -> None:
        self.plan, self.coarser, self.canvases, self.library = plan, coarser, canvases, library
        self._tables: list[NDArray[np.uint32]] | None = None

    def added(self, pixels: NDArray[np.int32], shortlists: Shortlists) -> NDArray[np.uint32]:
        """Return what is added to the distances of a stage's candidates.

        Parameters
        ----------
        pixels
            (P, 2), the pixels of the stage, of the finer level.
        shortlists
            Ids of the images that may serve each canvas: the same in all stages.

        Returns
        -------
        ndarray
            (ids, P, 2R + 1, 2R + 1): for each id of the shortlists, pixel and displacement of the source, from −R to R,
            the distance times `Config.coarse_weight` in 1/256 squared grey levels, rounded.
        """
        if self._tables is None:
            self._tables = self._compute(shortlists)
        reach = np.arange(-self.plan.radius, self.plan.radius + 1)
        parents = pixels >> 1  # (P, 2)
        moved = ((pixels[:, :, None] + reach) >> 1) - parents[:, :, None] + self._most  # (P, 2, 2R + 1)
        down, right = moved[:, 0, :, None], moved[:, 1, None, :]
        rows, columns = parents[:, 0, None, None], parents[:, 1, None, None]
        empty = np.empty((0, len(pixels), len(reach), len(reach)), np.uint32)
        return np.concatenate([empty, *(table[:, down, right, rows, columns] for table in self._tables)])

    @property
    def _most(self) -> int:
        """Largest displacement on the coarser level."""
        return (self.plan.radius + 1) // 2

    def _compute(self, shortlists: Shortlists) -> list[NDArray[np.uint32]]:
        """Compute the tables of the canvases: images, displacements on the coarser level, and its pixels."""
        ids = np.unique(shortlists[0])
        images = shrink(self.library.images(ids), self.coarser.level)  # (M, h, w, C)
        down, across = map(self._weights, self.coarser.shape)
        pairs = zip(self.canvases, listed(shortlists), strict=True)
        return [self._table(canvas, images[np.searchsorted(ids, own)], down, across) for canvas, own in pairs]

    def _table(
        self,
        canvas: NDArray[np.uint8],
        images: NDArray[np.uint8],
        down: NDArray[np.float64],
        across: NDArray[np.float64],
    ) -> NDArray[np.uint32]:
        most, (height, width) = self._most, self.coarser.shape
        padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge").astype(np.float64)
        norm = down.sum(1)[:, None] * across.sum(1) * images.shape[3]  # (h, w)
        side = 2 * most + 1
        table = np.empty((len(images), side, side, height, width), np.uint32)
        for dy, dx in np.ndindex(side, side):
            differences = padded[:, dy : dy + height, dx : dx + width] - canvas
            squares = np.einsum("kyxc,kyxc->kyx", differences, differences)  # whole numbers
            distances = (down @ squares @ across.T) / norm
            units = np.rint(distances * (self.plan.config.coarse_weight * UNITS))
            table[:, dy, dx] = units.clip(max=MOST_ADDED).astype(np.uint32)
        return table

    def _weights(self, extent: int) -> NDArray[np.float64]:
        """Return the Gaussian around each place along an axis, (extent, extent): whole numbers, 0 beyond the window."""
        apart = np.arange(extent)[:, None] - np.arange(extent)
        config = self.coarser.config
        weights: NDArray[np.float64] = np.rint(SCALE * np.exp(-(apart**2) / (2 * config.gaussian_sigma**2)))
        return np.where(abs(apart) <= config.window // 2, weights, 0)
