"""The order in which the pixels of a frame, or the cells of a grid of tokens, are filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config
from npgen.errors import check_whole, check_whole_tuple, invalid
from npgen.runs import Samples


def cell_order(config: Config, grid: tuple[int, int], stride: int) -> FillOrder:
    """Order the cells of a grid (h, w) of tokens of `stride` pixels a side, as a run fills them.

    Parameters
    ----------
    config
        Settings: the order, and with rings the seed patch and γ, whose square stands for the window of pixels.
    grid
        Extents in cells.
    stride
        Side of a cell in pixels.

    Returns
    -------
    FillOrder
        Cells (P, 2) in order; a stage is a ring or, in raster order, a row.

    Raises
    ------
    ValueError
        If the seed patch is not inside the grid, or there is no room for rings.
    """
    height, width = grid
    rect = config.seed_cells(grid, stride)
    if config.order == "raster":
        cells = np.stack(np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width)), axis=1)
        return FillOrder(cells, np.arange(0, height * width + 1, width, dtype=np.int64))
    widest = (min(grid) - 1) // 2 * 2 + 1  # odd
    if widest < 3:
        raise invalid("order", f"'raster' on a grid of {height}×{width} cells", config.order)
    return fill_order(height, width, rect, widest if config.gamma is None else min(2 * config.gamma + 1, widest))


def filled_order(samples: Samples) -> FillOrder:
    """Order the pixels of samples as they were filled; for tokens, cell by cell.

    Parameters
    ----------
    samples
        Samples, which share one order.

    Returns
    -------
    FillOrder
        Pixels (P, 2) in order, and its stages.
    """
    height, width = samples.images.shape[1:3]
    if samples.grid is None:
        return fill_order(height, width, samples.config.seed_rect(height, width), samples.config.window)
    stride = height // samples.grid[0]
    order = cell_order(samples.config, samples.grid, stride)
    return FillOrder(pixels_of_cells(order.pixels, stride), order.stages * stride**2)


def drawn_order(samples: Samples) -> FillOrder:
    """Order the pixels of samples as they were last drawn, by the draws that the trace records.

    Parameters
    ----------
    samples
        Samples, which share one order.

    Returns
    -------
    FillOrder
        Pixels (P, 2) in order; for tokens, cell by cell. After a sweep there is one stage.
    """
    order, sweeps = filled_order(samples), samples.config.sweeps
    if not sweeps:
        return order
    stride = 1 if samples.grid is None else samples.images.shape[1] // samples.grid[0]
    places = np.ascontiguousarray(order.pixels[:: stride**2] // stride)
    places = _core.sweep_order(places, samples.seed, sweeps)
    return FillOrder(pixels_of_cells(places, stride), np.array([0, len(order.pixels)]))


def pixels_of_cells(cells: NDArray[np.int32], stride: int) -> NDArray[np.int32]:
    """List the pixels (P · s², 2) of some cells (P, 2) of s pixels a side, cell after cell."""
    inside = np.stack(np.divmod(np.arange(stride**2, dtype=np.int32), np.int32(stride)), axis=1)  # (s², 2)
    return np.ascontiguousarray((cells[:, None] * np.int32(stride) + inside).reshape(-1, 2))


def known_rect(shape: tuple[int, int], rect: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Make the mask (H, W) of which just the rectangle (y, x, height, width) is true."""
    y, x, height, width = rect
    known = np.zeros(shape, np.bool_)
    known[y : y + height, x : x + width] = True
    return known


# Larger frames are refused: they would take more memory and time than there is.
MOST_PIXELS = 1 << 28


@dataclass(frozen=True, eq=False)
class FillOrder:
    """The order in which the unknown pixels of a frame are filled.

    Attributes
    ----------
    pixels
        (P, 2) int32, (y, x) of each pixel in fill order; P = H·W − s² for a seed patch of side s.
    stages
        (S + 1,) int64; stage s is ``pixels[stages[s]:stages[s + 1]]``, one ring.
    """

    pixels: NDArray[np.int32]
    stages: NDArray[np.int64]


def fill_order(height: int, width: int, seed_rect: tuple[int, int, int, int], window: int) -> FillOrder:
    """Order the pixels of a frame as they are filled around a seed patch (section 2.3 of the paper).

    Rings of equal Chebyshev distance to the seed rectangle, from the inside out; in a ring always the pixel whose
    window holds the most known pixels, ties by (y, x).

    Parameters
    ----------
    height, width
        Size of the frame in pixels.
    seed_rect
        (y, x, height, width) of the seed patch in pixels.
    window
        Side w of the context window in pixels.

    Returns
    -------
    FillOrder
        Pixels in order, and where each ring ends.

    Raises
    ------
    ValueError
        If the rectangle is not inside the frame, or the window is even, below 3 or larger than the frame.

    Examples
    --------
    >>> order = npgen.fill_order(8, 8, seed_rect=(2, 2, 4, 4), window=5)
    >>> len(order.pixels), np.diff(order.stages)  # two rings around a 4×4 patch
    (48, array([20, 28]))
    """
    for name, extent in (("height", height), ("width", width)):
        check_whole(name, extent, 1, MOST_PIXELS)
    if height * width > MOST_PIXELS:
        raise invalid("frame", f"of at most {MOST_PIXELS} pixels", f"{height}×{width}")
    y, x, rect_height, rect_width = check_whole_tuple(
        "seed_rect", seed_rect, "y, x, height, width", -(2**31), 2**31 - 1
    )
    rect = y, x, rect_height, rect_width
    inside = min(y, x) >= 0 and min(rect_height, rect_width) >= 1
    if not inside or y + rect_height > height or x + rect_width > width:
        raise invalid("seed rectangle", f"inside the {height}×{width} frame", rect)
    return FillOrder(*_core.fill_order(known_rect((int(height), int(width)), rect), window))
