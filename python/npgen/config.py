"""What may be chosen about a run, checked once and written into everything the run leaves behind."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from npgen import _core
from npgen.errors import invalid

Candidates = Literal["best", "all"]
Semantic = Literal["topk", "threshold"]
Tolerance = Literal["candidates", "corpus"]
Semantics = Literal["embedding", "label"]
Order = Literal["rings", "raster"]
Metric = Literal["chebyshev", "l2"]
Draw = Literal["pool", "histogram"]

# Efros and Leung's ratio of window side to the Gaussian's standard deviation.
WINDOW_PER_SIGMA = 6.4
# Settings that say something of pixels alone, and of tokens alone; of the other kind of run they keep their defaults.
OF_PIXELS = (
    "window",
    "sigma",
    "locality",
    "tolerance",
    "quota",
    "shortlist",
    "semantic",
    "candidates",
    "anchor_weight",
    "size",
    "stage_pixels",
)
OF_TOKENS = ("gamma", "metric", "order", "draw", "flip")


@dataclass(frozen=True)
class Model:
    """Which of the three image statistics of the paper are switched on.

    Attributes
    ----------
    semantics
        Sources come from a shortlist of images of like meaning (H in the paper): of near "embedding", or of the same
        "label" as the seed's image. None: from all images.
    locality
        Sources lie near the pixel they serve (NS in the paper); else anywhere in the frame.
    low_level
        Sources look like what is known around the pixel (L in the paper); else all positions of all sources are
        equally good.
    """

    semantics: Semantics | None
    locality: bool
    low_level: bool


MODELS: dict[str, Model] = {
    "full": Model(semantics="embedding", locality=True, low_level=True),
    "local": Model(semantics=None, locality=True, low_level=True),
    "texture": Model(semantics=None, locality=False, low_level=True),
    "semantic": Model(semantics="embedding", locality=True, low_level=False),
    "class": Model(semantics="label", locality=True, low_level=True),
}


def find_model(name: str) -> Model:
    """Return the model of that name.

    Parameters
    ----------
    name
        A key of `MODELS`.

    Raises
    ------
    ValueError
        If there is no such model; the message lists those there are.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise invalid("model", "one of " + ", ".join(map(repr, MODELS)), name)
    return MODELS[name]


@dataclass(frozen=True)
class Config:
    """Settings of a run. Immutable; every value is checked when it is made.

    Attributes
    ----------
    window
        Side w of the context window in pixels, odd, at least 3.
    sigma
        Standard deviation σ of the window's Gaussian in pixels; None means w / 6.4 (Efros and Leung 1999).
    locality
        Largest Chebyshev distance R between a pixel and its source, in pixels.
    epsilon
        Tolerance ε: the pool holds candidates within (1 + ε) of the nearest.
    tolerance
        What that nearest is. "candidates": of the candidates, so that there always are some. "corpus": of all windows
        of all images, wherever they lie (R_SSD in the paper's text); where no candidate is as near, the `k_min` nearest
        candidates serve, and `Samples.fallbacks` counts it. As slow as `texture`. With "all" candidates and the
        semantic "threshold" these are the paper's literal sets.
    k_min
        The pool holds at least this many candidates (if there are as many).
    quota
        At most this many of the known pixels that a window sees may come from one image: what has served so many has
        no more to offer to that pixel. Bounds how much is copied in one piece, and with it the image-ID entropy from
        below. None sets no limit; neither do candidates from fewer than w² / quota images, nor a model that looks at
        no window.
    shortlist
        Length K of the shortlist of images of like meaning; with the semantic "threshold", its least length.
    semantic
        "topk": the shortlist is the K images of nearest meaning. "threshold": all images whose embedding is within
        (1 + ε) of the nearest one's distance from the query (the paper's text), and never fewer than K.
    candidates
        "best": of each image only its nearest position; "all": every position.
    anchor_weight
        Weight β of the anchor image's embedding in the query, 0 to 1; the canvas's has 1 − β.
    seed_size
        Side s of the seed patch in pixels.
    seed_at
        Upper left corner (y, x) of the seed patch; None means the centre.
    exclude_seed_image
        Bar the image that the seed patch comes from, which would match itself at distance 0.
    sweeps
        How many times the filled pixels are visited again, in a random order, each drawn anew with its whole window
        known: Gibbs sampling. At most 1,000.
    size
        Height and width of the samples in pixels; None means the corpus's. Only a model without locality takes
        another size; its seed patches come from anywhere in their images.
    stage_pixels
        At most so many pixels are filled between two queries; None means a whole ring.
    gamma
        Of tokens: the observation range γ in cells. A cell's context is what is known within it. None sees everything.
    metric
        Of tokens: what is within γ, by "chebyshev" distance (a square) or "l2" (a disc).
    order
        Of tokens: "rings" around a seed patch, as pixels are; or "raster", row by row from nothing, so that contexts
        are causal. Then `seed_size`, `seed_at` and `exclude_seed_image` play no part.
    draw
        Of tokens: "pool", uniform as of pixels, by `epsilon` and `k_min`; or "histogram", the noisy copies of
        p(x | context) ∝ Σ_n P̄^d_n · P̄^ham(x, z_n) · P^(bits − ham): source n at Hamming distance d_n is drawn with
        weight (P̄/P)^d_n, then each of its bits is flipped with probability P̄, P = 1 − P̄ (local autoregression).
    flip
        Of tokens: the bit-flip probability P̄ of the histogram, 0 to 0.5.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range.
    """

    window: int = 9
    sigma: float | None = None
    locality: int = 2
    epsilon: float = 0.1
    tolerance: Tolerance = "candidates"
    k_min: int = 1
    quota: int | None = 30
    shortlist: int = 100
    semantic: Semantic = "topk"
    candidates: Candidates = "best"
    anchor_weight: float = 0.5
    seed_size: int = 8
    seed_at: tuple[int, int] | None = None
    exclude_seed_image: bool = True
    sweeps: int = 0
    size: tuple[int, int] | None = None
    stage_pixels: int | None = None
    gamma: int | None = None
    metric: Metric = "chebyshev"
    order: Order = "rings"
    draw: Draw = "pool"
    flip: float = 0.002  # 1 − Φ(1 / 0.3474), to four digits

    def __post_init__(self) -> None:
        """Check all values, and bring NumPy's numbers and JSON's lists into plain Python."""
        self._whole("window", 3, "odd, at least 3", odd=True)
        if self.sigma is not None:
            self._number("sigma", "a positive number or None", lambda value: value > 0)
        self._whole("locality", 0, "at least 0")
        self._number("epsilon", "a number ≥ 0", lambda value: value >= 0)
        self._whole("k_min", 1, "at least 1")
        if self.quota is not None:
            self._whole("quota", 1, "at least 1 or None")
        self._whole("shortlist", 1, "at least 1")
        if self.tolerance not in get_args(Tolerance):
            raise invalid("tolerance", "'candidates' or 'corpus'", self.tolerance)
        if self.candidates not in get_args(Candidates):
            raise invalid("candidates", "'best' or 'all'", self.candidates)
        if self.semantic not in get_args(Semantic):
            raise invalid("semantic", "'topk' or 'threshold'", self.semantic)
        self._number("anchor_weight", "in 0…1", lambda value: 0 <= value <= 1)
        self._whole("seed_size", 1, "at least 1")
        if self.seed_at is not None:
            object.__setattr__(self, "seed_at", _pair("seed_at", "(y, x)", self.seed_at))
        if not isinstance(self.exclude_seed_image, bool):
            raise TypeError(f"exclude_seed_image must be True or False, got {self.exclude_seed_image!r}")
        self._whole("sweeps", 0, "in 0…1000")
        if self.sweeps > 1000:
            raise invalid("sweeps", "in 0…1000", self.sweeps)
        if self.size is not None:
            object.__setattr__(self, "size", _pair("size", "(height, width)", self.size))
            if min(self.size) < 1:
                raise invalid("size", "at least 1 along each side", self.size)
        if self.stage_pixels is not None:
            self._whole("stage_pixels", 1, "at least 1 or None")
        if self.gamma is not None:
            self._whole("gamma", 1, "at least 1 or None")
        for name, choices in (("metric", Metric), ("order", Order), ("draw", Draw)):
            if getattr(self, name) not in get_args(choices):
                raise invalid(name, " or ".join(map(repr, get_args(choices))), getattr(self, name))
        self._number("flip", "in 0…0.5", lambda value: 0 <= value <= 0.5)

    def _whole(self, name: str, least: int, allowed: str, *, odd: bool = False) -> None:
        value = getattr(self, name)
        if not _is_whole(value):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least or (odd and value % 2 == 0):
            raise invalid(name, allowed, value)
        object.__setattr__(self, name, int(value))

    def _number(self, name: str, allowed: str, holds: Callable[[float], bool]) -> None:
        value = getattr(self, name)
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number, got {value!r}")
        number = float(value)
        if not math.isfinite(number) or not holds(number):
            raise invalid(name, allowed, value)
        object.__setattr__(self, name, number)

    def check_space(self, tokens: bool) -> None:
        """Raise ValueError where a setting that a run of tokens, or of pixels, has no use for is not its default."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in (OF_PIXELS if tokens else OF_TOKENS) and value != field.default:
                raise invalid(field.name, f"{field.default!r} {'with' if tokens else 'without'} tokens", value)

    def limited(self, choice: int) -> bool:
        """Tell whether the quota limits candidates from so many images."""
        return self.quota is not None and _core.quota_limits(self.quota, self.window, choice)

    @property
    def gaussian_sigma(self) -> float:
        """Standard deviation of the window's Gaussian in pixels, σ or its default w / 6.4."""
        return self.window / WINDOW_PER_SIGMA if self.sigma is None else self.sigma

    def seed_rect(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Place the seed patch in a frame.

        Parameters
        ----------
        height, width
            Size of the frame in pixels.

        Returns
        -------
        tuple
            (y, x, height, width) of the patch in pixels.

        Raises
        ------
        ValueError
            If the patch is not inside the frame.
        """
        size = self.seed_size
        y, x = ((height - size) // 2, (width - size) // 2) if self.seed_at is None else self.seed_at
        if y < 0 or x < 0 or y + size > height or x + size > width:
            raise invalid("seed rectangle", f"inside the {height}×{width} frame", (y, x, size, size))
        return y, x, size, size

    def seed_cells(self, grid: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
        """Place the seed patch on a grid of tokens.

        Parameters
        ----------
        grid
            Extents of the grid in cells, (h, w).
        stride
            Side of a cell in pixels.

        Returns
        -------
        tuple
            (y, x, height, width) in cells that hold `seed_size` pixels a side; of no cell in raster order.

        Raises
        ------
        ValueError
            If the patch is not inside the grid, or its corner not that of a cell.
        """
        if self.order == "raster":
            return 0, 0, 0, 0
        size = -(-self.seed_size // stride)
        y, x = ((extent - size) // 2 for extent in grid)
        if self.seed_at is not None:
            if self.seed_at[0] % stride or self.seed_at[1] % stride:
                raise invalid("seed_at", f"a corner of a cell of {stride}×{stride} pixels", self.seed_at)
            y, x = (at // stride for at in self.seed_at)
        if min(y, x) < 0 or y + size > grid[0] or x + size > grid[1]:
            raise invalid("seed rectangle", f"inside the grid of {grid[0]}×{grid[1]} cells", (y, x, size, size))
        return y, x, size, size

    def check_shape(self, height: int, width: int) -> None:
        """Raise ValueError unless window and seed patch fit a frame of that size in pixels."""
        limit = min(height, width)
        if self.window > limit:
            raise invalid("window", f"odd, in 3..={limit} (the image is {height}×{width})", self.window)
        self.seed_rect(height, width)

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON-able values; `from_json` reads them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Config:
        """Make a configuration of what `to_json` gave, or of some of it.

        Parameters
        ----------
        values
            Settings by name; those left out take their defaults.

        Raises
        ------
        TypeError, ValueError
            If a name is unknown or a value out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise invalid("config", "made of " + ", ".join(names), name)
        return cls(**values)


def known_rect(shape: tuple[int, int], rect: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Make the mask (H, W) of which just the rectangle (y, x, height, width) is true."""
    y, x, height, width = rect
    known = np.zeros(shape, np.bool_)
    known[y : y + height, x : x + width] = True
    return known


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _pair(name: str, meaning: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_whole, value)):
        raise TypeError(f"{name} must be two whole numbers {meaning} or None, got {value!r}")
    return int(value[0]), int(value[1])
