"""What the γ study measures of samples, as cells of its rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from npgen.evaluation import (
    FrechetReference,
    Moments,
    Outputs,
    estimate,
    groups_of,
    inception_score,
    nearest_sources,
    without_each,
)
from npgen.output import Row
from npgen.studies.workbench import CONFIDENCE

# Zhao and Basu's bar, dB: a sample nearer than that to a training image is a copy of it.
COPY = 25.0
QUANTILES = (5, 50, 95)


def nearness(prefix: str, images: NDArray[np.uint8], sources: NDArray[np.uint8]) -> Row:
    """Measure how near images are to the nearest source, and how many are copies."""
    _, squared = nearest_sources(images, sources)
    # An identical image counts as off by one grey level in one value: a finite number.
    psnr = 10 * np.log10(255**2 * images[0].size / squared.clip(1))
    values = np.percentile(psnr, QUANTILES)
    row: Row = {f"{prefix}psnr_{q:02}": float(value) for q, value in zip(QUANTILES, values, strict=True)}
    return row | _share(f"{prefix}copies", int((psnr >= COPY).sum()), len(psnr))


def quality(outputs: Outputs, reference: FrechetReference, seed: int) -> Row:
    """Score what a network says of samples, with jackknife intervals."""
    groups = groups_of(len(outputs.features), seed)

    def frechet(keep: NDArray[np.bool_] | None = None) -> float:
        return reference.distance(Moments.of(outputs.features, keep).gaussian())

    scores = {"frechet": estimate([frechet()], [without_each(frechet, groups)])}
    chances = outputs.probabilities
    if chances is not None:
        left_out = without_each(lambda keep: inception_score(chances[keep]), groups)
        scores["inception_score"] = estimate([inception_score(chances)], [left_out])
    row: Row = {}
    for name, found in scores.items():
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def interval(key: str, values: NDArray[np.float64]) -> Row:
    """Return a mean with its interval."""
    mean, half = float(values.mean()), CONFIDENCE * float(values.std(ddof=1)) / len(values) ** 0.5
    return {key: mean, f"{key}_low": mean - half, f"{key}_high": mean + half}


def _share(key: str, count: int, n: int) -> Row:
    """Return a share with Wilson's interval, which holds where it is 0 or 1, too."""
    share, z2 = count / n, CONFIDENCE**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = CONFIDENCE * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # By rounding, an end at 0 or 1 may miss the share by a hair.
    return {key: share, f"{key}_low": max(0.0, min(share, middle - half)), f"{key}_high": max(share, middle + half)}
