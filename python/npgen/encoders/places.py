"""Embeddings of places: what an image means around each place of a grid, the paper's φ(ω(p)).

An encoder that embeds places has, besides `encode`, two methods: `places`, their embeddings, and `grid_of_places`,
where they lie. `place_encoder` finds it among the parts of a composed encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlaceGrid:
    """Where the places of an image lie.

    Attributes
    ----------
    rows, columns
        Extents of the grid, (h, w).
    first, step
        Centre of place (0, 0) and distance between two places, in pixels, each (y, x).

    Examples
    --------
    >>> PlaceGrid(4, 4, (3.5, 3.5), (8.0, 8.0)).centres[5].tolist()
    [11.5, 11.5]
    """

    rows: int
    columns: int
    first: tuple[float, float]
    step: tuple[float, float]

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centres (h · w, 2) of the places, (y, x) in pixels, row by row."""
        at = np.indices((self.rows, self.columns)).reshape(2, -1).T
        centres: NDArray[np.float64] = np.array(self.first) + at * np.array(self.step)
        return centres


@runtime_checkable
class PlaceEncoder(Protocol):
    """An encoder that embeds places."""

    @property
    def id(self) -> str:
        """Identifies the function."""

    def places(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed the places of images (B, H, W, C), of which only known pixels count, (H, W) for all or (B, H, W).

        Returns (B, h, w, E) float32: of length 1, or 0 at places of which nothing can be said.
        """

    def grid_of_places(self, known: NDArray[np.bool_]) -> tuple[PlaceGrid, NDArray[np.float64]]:
        """Return where the places of an image lie, and which share of each (h, w) a mask (H, W) makes known."""


def place_encoder(encoder: Any) -> PlaceEncoder | None:
    """Find what embeds places: the encoder itself, or of its parts the one of the most places; None if none does."""
    if isinstance(encoder, PlaceEncoder):
        return encoder
    composed_of = getattr(encoder, "parts", [encoder.base] if hasattr(encoder, "base") else [])
    parts = [place_encoder(part) for part in composed_of]
    return max((part for part in parts if part is not None), key=_fineness, default=None)


def _fineness(encoder: PlaceEncoder) -> int:
    shape = getattr(encoder, "shape", (64, 64))
    grid, _ = encoder.grid_of_places(np.ones(shape[:2], np.bool_))
    return grid.rows * grid.columns
