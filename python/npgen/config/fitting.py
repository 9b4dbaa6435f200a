"""Defaults that fit small corpora and small images."""

from __future__ import annotations

import dataclasses
from typing import Any

from npgen.config.settings import Config
from npgen.errors import invalid

# Smallest side of a window.
LEAST_WINDOW = 3


def fitted(config: Config, images: int, side: int) -> Config:
    """Return settings whose defaults fit a corpus: a default that is too large is not the user's mistake.

    Settings that differ from their defaults stay as they are, and are refused later where they don't fit.

    Parameters
    ----------
    config
        Settings.
    images
        Number of images in the corpus.
    side
        Shortest side of images and samples, pixels.

    Returns
    -------
    Config
        With the longest `shortlist`, the widest `window` and the largest `seed_size` that fit, where these have their
        defaults and the defaults don't fit; else `config` itself.

    Raises
    ------
    ValueError
        If the images are too small for any window.

    Examples
    --------
    >>> small = fitted(Config(), 12, 11)
    >>> small.shortlist, small.window, small.seed_size
    (11, 11, 8)
    """
    defaults = Config()
    if side < LEAST_WINDOW:
        allowed = f"of images of at least {LEAST_WINDOW}×{LEAST_WINDOW} pixels, the smallest window"
        raise invalid("corpus", allowed, f"a side of {side}")
    limits = {
        "shortlist": (images - config.exclude_seed_image) // config.halves,
        "window": side if side % 2 else side - 1,
        "seed_size": side // 2 if side < defaults.seed_size else side,
    }
    changes: dict[str, Any] = {
        name: limit for name, limit in limits.items() if getattr(config, name) == getattr(defaults, name) > limit >= 1
    }
    return dataclasses.replace(config, **changes) if changes else config
