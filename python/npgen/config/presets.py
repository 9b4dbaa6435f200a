"""Named settings, and which settings pixels and tokens use."""

from __future__ import annotations

from typing import Any

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
    "size",
    "stage_pixels",
)
TOKEN_SETTINGS = ("gamma", "metric", "order", "draw", "flip")
