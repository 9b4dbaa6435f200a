"""What settings may be: choices, limits, named settings, and which settings which runs use."""

from __future__ import annotations

from typing import Any, Literal

Candidates = Literal["best", "all"]
Semantic = Literal["topk", "threshold"]
Tolerance = Literal["candidates", "corpus"]
Order = Literal["rings", "raster"]
Metric = Literal["chebyshev", "l2"]
Draw = Literal["pool", "histogram"]

# Ratio of window side to the Gaussian's standard deviation. Efros and Leung's 6.4 predicts a single pixel better, but
# switches sources more often, and errors add up where a canvas is grown.
WINDOW_PER_SIGMA = 13 / 3
MOST_SWEEPS = 1000
MOST_DRAWS = 1000
MOST_WEIGHT = 10**6
MOST_LEVELS = 8
CHOICES: dict[str, Any] = {
    "tolerance": Tolerance,
    "semantic": Semantic,
    "candidates": Candidates,
    "metric": Metric,
    "order": Order,
    "draw": Draw,
}
# Named settings, as changes to the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "quality": {},
    "recombination": {
        "window": 9,
        "sigma": 1.4,
        "locality": 2,
        "quota": 4,
        "max_share": None,
        "shortlist": 100,
        "anchor_weight": 0.5,
    },
    "texture": {"candidates": "all", "seed_size": 3, "max_copy": 0.05},
}
# The preset that a model's settings are by default; "quality" for all others.
PRESET_OF_MODEL = {"texture": "texture"}
# Settings that only runs of pixels use, and those that only runs of tokens use.
PIXEL_SETTINGS = (
    "window",
    "sigma",
    "locality",
    "tolerance",
    "quota",
    "max_share",
    "max_copy",
    "shortlist",
    "semantic",
    "candidates",
    "anchor_weight",
    "query_expansion",
    "select",
    "semantic_weight",
    "levels",
    "coarse_weight",
    "seams",
    "size",
    "stage_pixels",
)
# Settings of a later version, with their defaults. JSON does not name them where they have these: so runs that don't
# use them have the bytes that they had.
LATER: dict[str, Any] = {
    "semantic_weight": 0.0,
    "levels": 1,
    "coarse_weight": 0.1,
    "seams": False,
    "max_copy": None,
}
TOKEN_SETTINGS = ("gamma", "metric", "order", "draw", "flip")
