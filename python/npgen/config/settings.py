"""Settings of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import npgen._core as _core
import npgen.config.choices as choices
from npgen.errors import check_choice, check_number, check_odd, check_type, check_whole, check_whole_tuple, invalid


@dataclass(frozen=True)
class Config:
    """Settings of a run. Immutable; all values are checked when it is made.

    Attributes
    ----------
    window
        Side w of the context window in pixels, odd, at least 3.
    sigma
        Standard deviation σ of the window's Gaussian in pixels; None means 3 w / 13. (Efros and Leung 1999: w / 6.4.)
    locality
        Locality radius R: largest Chebyshev distance between a pixel and its source, in pixels.
    epsilon
        choices.Tolerance ε: the pool holds the candidates whose distance is within (1 + ε) of the smallest one.
    tolerance
        What the smallest distance is taken over. "candidates": the candidates, so the pool is never empty. "corpus":
        all windows of all images (R_SSD in the paper's text); where no candidate is within the tolerance, the pool
        holds the `k_min` nearest candidates, and `Samples.fallbacks` counts the pixel. As slow as model "texture".
        With `candidates="all"` and `semantic="threshold"`, pools are the sets that the paper's text defines.
    k_min
        The pool holds at least this many candidates, or all if there are fewer.
    quota
        At most this many of the known pixels in a window may come from one image: images that have reached the quota
        offer no candidates for the window's centre. It limits how much is copied in one piece, and so bounds the
        image-ID entropy from below. None sets no limit. Without effect where there are fewer than w² / quota candidate
        images (with `max_share`, w² / quota + 1 / max_share), and in models that compare no windows.
    max_share
        Largest share of the frame that may come from one image, above 0, at most 1: images that gave so many pixels,
        those of the seed patch included, offer no candidates. It limits how much of an image is copied without forcing
        more seams than needed. None sets no limit. Without effect where there are fewer than 1 / max_share
        candidate images.
    max_copy
        Largest share of the frame that may come from one image by one shift (place of the source less that of the
        pixel), above 0, at most 1: shifts that gave so many pixels, those of the seed patch included, offer no
        candidates. No region that is copied as it is can be larger. None sets no limit. Without effect where images
        have too few pixels that may serve a pixel: no more than 1 / max_copy.
    shortlist
        Length K of the shortlist of semantically similar images; with `semantic="threshold"`, its smallest length.
    semantic
        "topk": the shortlist holds the K images whose embeddings are nearest to the query. "threshold": all images
        whose embedding is within (1 + ε) of the nearest one's distance (the paper's text), and at least K.
    candidates
        "best": the nearest position of each image only; "all": every position.
    anchor_weight
        Weight β of the anchor image's embedding in the query, 0 to 1; the canvas's embedding has weight 1 − β.
    query_expansion
        Number of nearest images whose embeddings are added to the query before the shortlist is found (average query
        expansion, Chum et al. 2007): ``q' = normalise(q + Σ_j φ(j))``. 0 adds none. Fewer where fewer may serve.
    select
        Number of draws M of each sample, of which the one of the highest density in the embedding is kept: mean product
        of its embedding with those of the 20 nearest images, the anchor and its duplicates left out. Each draw uses a
        random half of a shortlist of 2·K images. The densities are recorded. Only for models with an embedding.
    semantic_weight
        Weight of a semantic distance that is added to a window's: how unlike in meaning the surroundings of the pixel
        and of the source are (d_SSL(φ(ω(p)), φ(ω′)) in the paper), 1 − cosine of embeddings of places. In squared grey
        levels, the unit of windows' distances; at most 10⁶, 0 adds none. Only for models with embedding and windows,
        with an encoder that embeds places. Canvases are embedded once per stage.
    levels
        Number of levels L of a pyramid: level l has 1/2^l of the resolution, by means over squares. The coarsest is
        generated first; at each finer level the window of a pixel sees the whole coarser canvas around it, beside the
        known part of its own level. Locality, quotas and `max_share` hold at each level; sweeps and semantic distances
        are of the finest. Only for models with embedding and windows, with β = 1. Coarser canvases are kept.
    coarse_weight
        Weight of the distance of the coarser canvas's windows, which is added to that of the own level's, 0 to 10⁶.
    seed_size
        Side s of the seed patch in pixels.
    seed_at
        Upper left corner (y, x) of the seed patch; None means centred.
    exclude_seed_image
        Whether to exclude the image that the seed patch comes from, which would match itself at distance 0. Of a corpus
        of one image, which serves models without locality alone, only the shift of the seed patch is excluded.
    sweeps
        How often all filled pixels are drawn again after the first pass, in a random order, now with completely known
        windows (Gibbs sampling). 0 to 1,000.
    seams
        Whether the borders between sources are cut anew when a canvas is full: for one source after another, a minimum
        cut chooses the pixels that it takes so that ‖I_a(p) − I_b(p)‖ + ‖I_a(q) − I_b(q)‖, summed over all neighbours p
        and q of sources a and b, becomes smallest. The seed patch and the pixels well inside a source stay. No image
        gets more than `max_share`; `quota` limits the growth alone. See `Samples.grown`.
    size
        Height and width of the samples in pixels; None means those of the corpus. Only models without locality support
        another size; their seed patches come from any position of their images.
    stage_pixels
        Number of pixels after which queries are computed again, at most a ring; None means once per ring.
    gamma
        Tokens only: observation range γ in cells. The context of a cell is the known cells within γ of it; None means
        all known cells.
    metric
        Tokens only: distance that γ refers to, "chebyshev" (a square) or "l2" (a disc).
    order
        Tokens only: "rings" around a seed patch, as for pixels; or "raster", row by row from an empty canvas, so that
        contexts are causal. With "raster", `seed_size`, `seed_at` and `exclude_seed_image` have no effect.
    draw
        Tokens only: "pool" draws uniformly from a pool given by `epsilon` and `k_min`, as for pixels. "histogram" draws
        from p(x | context) ∝ Σ_n (P̄/P)^d_n · P̄^ham(x, z_n) · P^(bits − ham(x, z_n)), P = 1 − P̄: source n at
        Hamming distance d_n is drawn with weight (P̄/P)^d_n, then each of its bits is flipped with probability P̄
        (local autoregression).
    flip
        Tokens only: bit-flip probability P̄ of the histogram, 0 to 0.5.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range.

    Examples
    --------
    >>> config = npgen.Config(window=7, shortlist=50)
    >>> round(config.gaussian_sigma, 3)
    1.615
    >>> npgen.Config.from_json({"window": 7, "shortlist": 50}) == config
    True
    >>> npgen.Config(window=4)
    Traceback (most recent call last):
    ...
    ValueError: window must be odd, at least 3, got 4
    """

    window: int = 13
    sigma: float | None = None
    locality: int = 1
    epsilon: float = 0.1
    tolerance: choices.Tolerance = "candidates"
    k_min: int = 1
    quota: int | None = None
    max_share: float | None = 0.33
    max_copy: float | None = None
    shortlist: int = 15
    semantic: choices.Semantic = "topk"
    candidates: choices.Candidates = "best"
    anchor_weight: float = 1.0
    query_expansion: int = 50
    select: int = 1
    semantic_weight: float = 0.0
    levels: int = 1
    coarse_weight: float = 0.1
    seed_size: int = 8
    seed_at: tuple[int, int] | None = None
    exclude_seed_image: bool = True
    sweeps: int = 0
    seams: bool = False
    size: tuple[int, int] | None = None
    stage_pixels: int | None = None
    gamma: int | None = None
    metric: choices.Metric = "chebyshev"
    order: choices.Order = "rings"
    draw: choices.Draw = "pool"
    flip: float = 0.002  # 1 − Φ(1 / 0.3474), to four digits

    def __post_init__(self) -> None:
        """Check all values; replace NumPy numbers and JSON lists by plain numbers and tuples."""
        self._set("window", check_odd("window", self.window, 3))
        for name, least in (
            ("locality", 0),
            ("k_min", 1),
            ("shortlist", 1),
            ("query_expansion", 0),
            ("seed_size", 1),
        ):
            self._set(name, check_whole(name, getattr(self, name), least))
        self._set("sweeps", check_whole("sweeps", self.sweeps, 0, choices.MOST_SWEEPS))
        self._set("select", check_whole("select", self.select, 1, choices.MOST_DRAWS))
        for name in ("quota", "stage_pixels", "gamma"):
            if getattr(self, name) is not None:
                self._set(name, check_whole(name, getattr(self, name), 1, allowed="at least 1 or None"))
        if self.sigma is not None:
            self._set("sigma", check_number("sigma", self.sigma, above=0, allowed="a positive number or None"))
        for name in ("max_share", "max_copy"):
            if getattr(self, name) is not None:
                allowed = "a number above 0, at most 1, or None"
                self._set(name, check_number(name, getattr(self, name), most=1, above=0, allowed=allowed))
        self._set("epsilon", check_number("epsilon", self.epsilon, 0))
        self._set("anchor_weight", check_number("anchor_weight", self.anchor_weight, 0, 1))
        self._set("levels", check_whole("levels", self.levels, 1, choices.MOST_LEVELS))
        for name in ("semantic_weight", "coarse_weight"):
            self._set(name, check_number(name, getattr(self, name), 0, choices.MOST_WEIGHT))
        self._set("flip", check_number("flip", self.flip, 0, 0.5))
        for name, allowed_values in choices.CHOICES.items():
            check_choice(name, getattr(self, name), get_args(allowed_values))
        for name in ("exclude_seed_image", "seams"):
            check_type(name, getattr(self, name), bool)
        if self.seed_at is not None:
            self._set("seed_at", check_whole_tuple("seed_at", self.seed_at, "y, x"))
        if self.size is not None:
            self._set("size", check_whole_tuple("size", self.size, "height, width", 1))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen

    def check_ignored_settings(self, tokens: bool) -> None:
        """Raise ValueError unless the settings that a run of tokens or pixels ignores have their default values."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in (choices.PIXEL_SETTINGS if tokens else choices.TOKEN_SETTINGS) and value != field.default:
                raise invalid(field.name, f"{field.default!r} {'with' if tokens else 'without'} tokens", value)

    def frame_quota(self, frame: tuple[int, int]) -> int | None:
        """Return how many pixels of a frame (height, width) may come from one image: `max_share` of it, at least 1."""
        return _share_of(self.max_share, frame)

    def copy_quota(self, frame: tuple[int, int]) -> int | None:
        """Return how many pixels of a frame may come from one image by one shift: `max_copy` of it, at least 1."""
        return _share_of(self.max_copy, frame)

    def quotas(self, frame: tuple[int, int], candidates: int, low_level: bool) -> tuple[int | None, int | None]:
        """Return the quotas of window and frame that are in effect, None for one that is not.

        Parameters
        ----------
        frame
            Height and width of the canvas.
        candidates
            Images that may serve it.
        low_level
            Whether the model compares windows.
        """
        quota, frame_quota = self.quota if low_level else None, self.frame_quota(frame)
        in_effect = _core.quotas_in_effect(
            candidates, window=self.window, quota=quota, frame=frame, frame_quota=frame_quota
        )
        return quota if in_effect[0] else None, frame_quota if in_effect[1] else None

    @classmethod
    def preset(cls, name: str) -> Config:
        """Return named settings.

        Parameters
        ----------
        name
            "quality": the defaults, chosen for samples that look like real images. "recombination": more sources in
            each window, as in the paper's Table 2 (image-ID entropy of 2.5 nats or more); it costs quality. "texture":
            the defaults of the model "texture", by which one image gives textures that are new.

        Raises
        ------
        ValueError
            If there are no settings of this name.

        Examples
        --------
        >>> npgen.Config.preset("quality") == npgen.Config()
        True
        >>> npgen.Config.preset("recombination").quota
        4
        """
        check_choice("preset", name, tuple(choices.PRESETS))
        return cls(**choices.PRESETS[name])

    @classmethod
    def of_model(cls, model: str) -> Config:
        """Return the settings of a model of pixels where none are given: those of its preset."""
        return cls.preset(choices.PRESET_OF_MODEL.get(model, "quality"))

    @property
    def halves(self) -> int:
        """1, or 2 if each draw uses a random half of a shortlist twice as long."""
        return 2 if self.select > 1 else 1

    @property
    def gaussian_sigma(self) -> float:
        """Standard deviation of the window's Gaussian in pixels: `sigma`, or 3 w / 13 if that is None."""
        return self.window / choices.WINDOW_PER_SIGMA if self.sigma is None else self.sigma

    def at_level(self, level: int, frame: tuple[int, int]) -> Config:
        """Return the settings of a level of a pyramid.

        Parameters
        ----------
        level
            0 is the finest, whose settings these are; level l has 1/2^l of the resolution.
        frame
            Height and width of the level: its window fits, the Gaussian and the seed patch are in proportion.
        """
        window = min(self.window, (min(frame) - 1) // 2 * 2 + 1)
        return dataclasses.replace(
            self,
            window=window,
            sigma=self.gaussian_sigma * window / self.window,
            seed_size=-(-self.seed_size // 2**level),
            seed_at=None if self.seed_at is None else (self.seed_at[0] >> level, self.seed_at[1] >> level),
            select=1,
            seams=False,
            sweeps=0,
            semantic_weight=0,
            levels=1,
        )

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
            (y, x, height, width) in cells: the smallest square that holds `seed_size` × `seed_size` pixels. All 0 in
            raster order, which has no seed patch.

        Raises
        ------
        ValueError
            If the patch is not inside the grid, or `seed_at` is not the corner of a cell.
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
        """Raise ValueError unless window and seed patch fit into a frame of this size in pixels."""
        limit = min(height, width)
        if self.window > limit:
            raise invalid("window", f"odd, in 3..={limit} (the image is {height}×{width})", self.window)
        self.seed_rect(height, width)

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON-able values, but for later ones at their defaults; `from_json` reads them."""
        values = dataclasses.asdict(self)
        return {
            name: value for name, value in values.items() if name not in choices.LATER or value != choices.LATER[name]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Config:
        """Make a configuration from settings as `to_json` returns them.

        Parameters
        ----------
        values
            Settings by name; those left out have their defaults.

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


def _share_of(share: float | None, frame: tuple[int, int]) -> int | None:
    if share is None:
        return None
    # 0.29 · 100 is 28.999999999999996: a share of a hundredth means whole pixels.
    return max(1, math.floor(round(share * frame[0] * frame[1], 6)))
