"""Measurements of samples as cells of a study's rows, with their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.evaluation import WINDOW, entropy
from npgen.output import Row
from npgen.runs import Samples

# Quantiles of pool sizes in a row, in per cent.
POOL_QUANTILES = (5, 25, 50, 75, 95)
# Half of a 95 % confidence interval, in standard errors.
CONFIDENCE = 1.96


def mean_cells(key: str, values: NDArray[np.float64]) -> Row:
    """Return the mean of values (n,), 0 or more, under a key, and its 95 % interval under `<key>_low`, `<key>_high`.

    A single value has no interval.
    """
    mean = float(values.mean())
    if len(values) < 2:
        return {key: mean, f"{key}_low": None, f"{key}_high": None}
    half = CONFIDENCE * float(values.std(ddof=1)) / len(values) ** 0.5
    return {key: mean, f"{key}_low": max(0.0, mean - half), f"{key}_high": mean + half}


def describe(samples: Samples, corpus: Corpus) -> Row:
    """Measure entropies and pools, which need no real images.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.

    Returns
    -------
    dict
        `image_id_entropy`, `class_entropy` (Table 2 of the paper; nats), each with a 95 % interval `…_low` to `…_high`;
        `pool_05` to `pool_95`, quantiles of pool sizes over drawn pixels; `pool_one`, the share of drawn pixels with
        one candidate; `fallbacks`, the share of draws whose candidate sets had no common member, None if not counted.
    """
    entropies = entropy(samples, corpus, min(WINDOW, *samples.images.shape[1:3]))
    row: Row = {}
    for name, values in (("image_id", entropies.image_id), ("class", entropies.class_map)):
        key = f"{name}_entropy"
        row |= {key: None, f"{key}_low": None, f"{key}_high": None} if values is None else mean_cells(key, values)
    pools = samples.trace.pool_size
    drawn = pools[pools > 0]  # without the seed patch
    quantiles = np.percentile(drawn, POOL_QUANTILES) if drawn.size else np.zeros(len(POOL_QUANTILES))
    row |= {f"pool_{q:02}": float(value) for q, value in zip(POOL_QUANTILES, quantiles, strict=True)}
    row["pool_one"] = float((drawn == 1).mean()) if drawn.size else 0.0
    draws = drawn.size * (1 + samples.config.sweeps)
    counted = samples.config.tolerance == "corpus"
    row["fallbacks"] = float(samples.fallbacks.sum() / max(1, draws)) if counted else None
    return row
