"""Coarse pixels as a representation: the encoder of `encoder="pixels"`."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.encoders.places import PlaceGrid
from npgen.errors import check_threads, check_type, check_whole, invalid

PIXELS = "pixels"


class PixelEncoder:
    """Coarse pixels as a representation: it needs no training and no torch, and fits any corpus.

    An image is averaged over a grid of J cells. Let s be the cell means of a source image, c the means over the
    *known* pixels of each cell of a canvas, both scaled to [-1/2, 1/2], and m the known share of each cell. The masked
    distance is ``d² = Σ m (c − s)² = Σ m c² − (2 m c)·s + m·s²``, whose first term is the same for all sources. So with

        key(s)      = [s, s², r] / M,   r = √(M² − Σ s² − Σ s⁴),   M² = 5 J / 16 ≥ Σ s² + Σ s⁴
        query(c, m) = [2 m c, −m, 0] / its length

    the product key·query is a linear function of d², and falls as d² grows. The component r gives all keys length 1, so
    that the nearest keys by L2 distance are exactly the sources of the smallest masked distance.

    Keys and queries differ in form: `encode` makes keys if it is given no mask, and queries if it is given one, even
    one that is true everywhere.

    Parameters
    ----------
    height, width, channels
        Extents of the images.
    grid
        Cells along each side; fewer where an image has fewer pixels.

    Examples
    --------
    >>> encoder = npgen.PixelEncoder(28, 28, 1)
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> keys = encoder.encode(corpus.images[:100])
    >>> known = np.zeros((28, 28), bool)
    >>> known[10:18, 10:18] = True
    >>> query = encoder.encode(corpus.images[7:8], known)
    >>> keys.shape, int((keys @ query[0]).argmax())  # image 7 is its own nearest source
    ((100, 99), 7)
    """

    symmetric = False

    def __init__(self, height: int, width: int, channels: int, *, grid: int = 7) -> None:
        for name, number in (("height", height), ("width", width), ("channels", channels), ("grid", grid)):
            check_whole(name, number, 1, 2**31 - 1)
        self.shape = (int(height), int(width), int(channels))
        self.grid = (min(int(grid), self.shape[0]), min(int(grid), self.shape[1]))
        self.metadata: dict[str, Any] = {"kind": PIXELS, "shape": list(self.shape), "grid": list(self.grid)}
        self._id = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode() + b"1").hexdigest()

    @property
    def id(self) -> str:
        """Sha256 over image shape, grid and version of the equation, 64 hexadecimal digits."""
        return self._id

    @property
    def dim(self) -> int:
        """Width of the embedding, D."""
        return 2 * self.grid[0] * self.grid[1] * self.channels + 1

    @property
    def channels(self) -> int:
        """Channels of an image, C."""
        return self.shape[2]

    def __repr__(self) -> str:
        """Show image shape and grid."""
        return f"PixelEncoder(shape={self.shape}, grid={self.grid})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Make keys of source images, or queries of partly known canvases.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8. Unknown pixels may hold anything.
        known
            None for keys; for queries the known mask (B, H, W), or one (H, W) for all canvases, bool.
        threads
            Accepted as by `Encoder.encode`; a single thread computes.

        Returns
        -------
        ndarray
            Embeddings (B, D), float32, of length 1; a canvas without known pixels gets zeros, which are equally far
            from every key.

        Raises
        ------
        TypeError
            If `images` is not uint8 or `known` not bool.
        ValueError
            If shapes do not fit each other or the encoder.
        """
        mask = self._checked(images, known, threads)
        rows = np.empty((len(images), self.dim), np.float32)  # (B, D)
        for start in range(0, len(images), 256):
            part = slice(start, start + 256)
            rows[part] = self._encode_part(images[part], mask if mask.ndim == 2 else mask[part], known is None)
        return rows

    def places(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed the places of images: the mean colours of the cells, as vectors of length 1.

        ``[c / √(C/4), r]``, with the means c of the known pixels, scaled to [-1/2, 1/2], and what makes the length 1.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8. Unknown pixels may hold anything.
        known
            Known mask (B, H, W), or one (H, W) for all images, bool. None: all pixels are known.
        threads
            As in `encode`.

        Returns
        -------
        ndarray
            (B, h, w, C + 1), float32; 0 at cells without known pixels.

        Raises
        ------
        TypeError, ValueError
            As in `encode`.
        """
        mask = self._checked(images, known, threads)
        means, share = self._means(images, mask)  # (B, C, h, w) both
        colours = means / np.sqrt(self.channels / 4)
        rest = np.sqrt(np.maximum(0.0, 1 - (colours * colours).sum(1, keepdims=True)))
        vectors = np.where(share[:, :1] > 0, np.concatenate([colours, rest], 1), 0)
        return np.ascontiguousarray(np.moveaxis(vectors, 1, 3), np.float32)

    def grid_of_places(self, known: NDArray[np.bool_]) -> tuple[PlaceGrid, NDArray[np.float64]]:
        """Return where the cells lie, and which share (h, w) of each is known by a mask (H, W)."""
        (rows, columns), (height, width, _) = self.grid, self.shape
        down, across = _overlaps(height, rows), _overlaps(width, columns)
        step = height / rows, width / columns
        first = step[0] / 2 - 0.5, step[1] / 2 - 0.5
        return PlaceGrid(rows, columns, first, step), down @ known.astype(np.float64) @ across.T / (height * width)

    def _checked(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None, threads: int | None
    ) -> NDArray[np.bool_]:
        mask = check_input(images, known, threads, self.channels)
        if images.shape[1:] != self.shape:
            raise invalid("images", f"of shape (B, {', '.join(map(str, self.shape))})", images.shape)
        return mask

    def _means(
        self, images: NDArray[np.uint8], mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of each cell's known pixels, 0 without any, and its known share: (B, C, h, w) both."""
        down, across = (_overlaps(extent, cells) for extent, cells in zip(self.shape[:2], self.grid, strict=True))
        masks = np.broadcast_to(mask, images.shape[:3])
        # Sums of whole numbers below 2**53 are exact in float64, whatever the order of addition.
        areas = down @ masks.astype(np.float64) @ across.T  # (B, grid, grid)
        pixels = np.moveaxis(images, 3, 1) * masks[:, None]  # (B, C, H, W)
        sums = down @ pixels.astype(np.float64) @ across.T  # (B, C, grid, grid)
        share = np.broadcast_to(areas[:, None] / (self.shape[0] * self.shape[1]), sums.shape)
        # Cells without known pixels have weight 0, so that their mean does not matter.
        return np.where(share > 0, sums / np.maximum(areas, 1.0)[:, None] / 255 - 0.5, 0.0), share

    def _encode_part(self, images: NDArray[np.uint8], mask: NDArray[np.bool_], keys: bool) -> NDArray[np.float64]:
        means, share = self._means(images, mask)
        c, m = means.reshape(len(images), -1), share.reshape(len(images), -1)
        if keys:
            squares = c * c
            bound = 5 * c.shape[1] / 16
            remainder = bound - (squares + squares * squares).sum(1, keepdims=True)
            rows: NDArray[np.float64] = np.concatenate([c, squares, np.sqrt(np.maximum(remainder, 0.0))], 1)
            rows /= np.sqrt(bound)
            return rows
        rows = np.concatenate([2 * m * c, -m, np.zeros((len(images), 1))], 1)
        length = np.sqrt((rows * rows).sum(1, keepdims=True))
        rows /= np.where(length > 0, length, 1.0)
        return rows


def check_input(
    images: NDArray[np.uint8], known: NDArray[np.bool_] | None, threads: int | None, channels: int
) -> NDArray[np.bool_]:
    """Check the arguments of `encode`, and return the known mask: (H, W) or (B, H, W) bool."""
    check_type("images", images, np.ndarray)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    if images.ndim != 4 or images.shape[3] != channels or 0 in images.shape[1:]:
        raise invalid("images", f"of shape (B, H, W, {channels})", images.shape)
    check_threads(threads)
    if known is None:
        return np.ones(images.shape[1:3], np.bool_)
    check_type("known", known, np.ndarray)
    if known.dtype != np.bool_:
        raise TypeError(f"known must be bool, got {known.dtype}")
    if known.shape not in (images.shape[1:3], images.shape[:3]):
        raise invalid("known", f"of shape {images.shape[1:3]} or {images.shape[:3]}", known.shape)
    return known


def _overlaps(extent: int, cells: int) -> NDArray[np.float64]:
    """Return how much of each pixel lies in each cell, (cells, extent): whole numbers, in units of 1/cells pixel."""
    pixel = np.arange(extent) * cells
    cell = np.arange(cells)[:, None] * extent
    overlap = np.minimum(pixel + cells, cell + extent) - np.maximum(pixel, cell)
    positive: NDArray[np.float64] = np.maximum(overlap, 0).astype(np.float64)
    return positive
