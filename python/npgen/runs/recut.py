"""Samples before the borders between their sources were cut anew (`Config.seams`), and what the cuts changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.runs.samples import Samples


def recut_pixels(samples: Samples) -> NDArray[np.bool_]:
    """Return (n, H, W): pixels that got another source when the borders between sources were cut anew."""
    if samples.grown is None:
        return np.zeros(samples.trace.image_id.shape, np.bool_)
    recut: NDArray[np.bool_] = (samples.grown != np.stack(samples.trace.arrays()[:3], axis=-1)).any(axis=-1)
    return recut


def before_seams(samples: Samples, corpus: Corpus) -> Samples:
    """Return samples as they were before the borders between sources were cut anew; if none were, the samples.

    Raises
    ------
    ValueError
        If the corpus has no such pixels.
    """
    if samples.grown is None:
        return samples
    image_id, y, x = (np.ascontiguousarray(samples.grown[..., part]) for part in range(3))
    if not corpus.holds(image_id, y, x).all():
        raise invalid("grown", "of pixels inside their images (see npgen verify)", "some beyond")
    return replace(
        samples,
        facts=replace(samples.facts, config=replace(samples.config, seams=False)),
        images=np.asarray(corpus.images[image_id, y, x]),
        trace=replace(samples.trace, image_id=image_id, y=y, x=x),
        grown=None,
        seam_energy=None,
    )
