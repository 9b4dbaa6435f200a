"""In which order the cells of a run of tokens are drawn, and the pixels of any run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen import _core
from npgen.config import Config
from npgen.errors import invalid
from npgen.filling import FillOrder, fill_order
from npgen.trace import Samples


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
    """Order the pixels of samples as they were filled: of tokens, those of one cell after those of another.

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
    return FillOrder(spread(order.pixels, stride), order.stages * stride**2)


def drawn_order(samples: Samples) -> FillOrder:
    """Order the pixels of samples as they were last drawn: the draw that the trace is of.

    Parameters
    ----------
    samples
        Samples, which share one order.

    Returns
    -------
    FillOrder
        Pixels (P, 2) in order; of tokens, those of one cell after those of another. After a sweep there is one stage.
    """
    order, sweeps = filled_order(samples), samples.config.sweeps
    if not sweeps:
        return order
    stride = 1 if samples.grid is None else samples.images.shape[1] // samples.grid[0]
    places = np.ascontiguousarray(order.pixels[:: stride**2] // stride)
    places = _core.sweep_order(places, samples.seed, sweeps)
    return FillOrder(spread(places, stride), np.array([0, len(order.pixels)]))


def spread(cells: NDArray[np.int32], stride: int) -> NDArray[np.int32]:
    """List the pixels (P · s², 2) of some cells (P, 2) of s pixels a side, cell after cell."""
    inside = np.stack(np.divmod(np.arange(stride**2, dtype=np.int32), np.int32(stride)), axis=1)  # (s², 2)
    return np.ascontiguousarray((cells[:, None] * np.int32(stride) + inside).reshape(-1, 2))
