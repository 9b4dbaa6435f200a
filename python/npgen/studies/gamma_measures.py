"""Measurements of the γ study, as cells of its rows: distances to source images, copies, and quality scores."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from npgen.evaluation import (
    FEWEST_FOR_INTERVALS,
    FrechetReference,
    Outputs,
    are_copies,
    estimate,
    groups_of,
    inception,
    nearest_sources,
    psnr,
)
from npgen.output import Row
from npgen.studies.measures import CONFIDENCE

# Quantiles of the PSNR in a row, in per cent.
QUANTILES = (5, 50, 95)


def nearness(prefix: str, images: NDArray[np.uint8], sources: NDArray[np.uint8]) -> Row:
    """Return quantiles of the images' PSNR to the nearest source, and the share of copies, under prefixed keys."""
    _, squared = nearest_sources(images, sources)
    values = np.percentile(psnr(squared, images[0].size), QUANTILES)
    row: Row = {f"{prefix}psnr_{q:02}": float(value) for q, value in zip(QUANTILES, values, strict=True)}
    return row | _share(f"{prefix}copies", int(are_copies(squared, images[0].size).sum()), len(squared))


def quality(outputs: Outputs, reference: FrechetReference, seed: int) -> Row:
    """Return Fréchet distance and Inception Score of samples from a network's outputs, with jackknife intervals.

    Too few images have none.
    """
    groups = groups_of(len(outputs.features), seed)
    scores = {"frechet": (reference.frechet(outputs.features, groups), 0.0, math.inf)}
    if outputs.probabilities is not None:
        classes = outputs.probabilities.shape[1]
        scores["inception_score"] = inception(outputs.probabilities, groups), 1.0, float(classes)
    row: Row = {}
    for name, ((value, left_out), least, most) in scores.items():
        found = estimate([value], [left_out], least, most)
        enough = len(outputs.features) >= FEWEST_FOR_INTERVALS
        row |= {
            name: found.value,
            f"{name}_low": found.low if enough else None,
            f"{name}_high": found.high if enough else None,
        }
    return row


def _share(key: str, count: int, n: int) -> Row:
    """Return a share with Wilson's interval, which is valid for shares of 0 and 1 too."""
    share, z2 = count / n, CONFIDENCE**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = CONFIDENCE * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # Rounding must not exclude a share of 0 or 1 from its interval.
    return {key: share, f"{key}_low": max(0.0, min(share, middle - half)), f"{key}_high": max(share, middle + half)}
