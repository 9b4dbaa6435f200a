"""A level of samples that were generated coarse to fine, as samples of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from npgen.errors import check_whole
from npgen.runs.coarse import level_shape
from npgen.runs.samples import Samples


def at_level(samples: Samples, level: int) -> Samples:
    """Return a level of samples: its canvases, and where in the images of that level their pixels came from.

    Parameters
    ----------
    samples
        n samples of pixels.
    level
        0 is the finest, the samples themselves; level l has 1/2^l of the resolution.

    Returns
    -------
    Samples
        n samples of the level's frame and settings. Their addresses are those of the level: no images of the corpus.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    check_whole("level", level, 0, samples.config.levels - 1)
    if samples.coarse is None or level == 0:
        return samples
    frame = (samples.images.shape[1], samples.images.shape[2])
    images, trace = samples.coarse.level(frame, level)
    config = samples.config.at_level(level, level_shape(frame, level))
    none = np.zeros_like(samples.fallbacks)
    return Samples(replace(samples.facts, config=config), images, trace, samples.anchor, none)
