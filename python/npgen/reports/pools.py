"""Candidate pools of all pixels of a sample, shortened for a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus
from npgen.inspection import Explainer, Explanation
from npgen.reports.packing import packed
from npgen.runs import Samples

# Number of candidates stored of each pool: the nearest ones, and always the one that was drawn.
STORED = 8


@dataclass(frozen=True, eq=False)
class StoredPools:
    """The stored candidates of all P drawn pixels of a sample, in fill order: M candidates.

    Attributes
    ----------
    ends
        (P,) end of each pixel's candidates.
    addresses
        (M, 3) int32: image, y, x.
    rank
        (M,) index in the pool.
    distance, probability
        (M,) distance and probability of each candidate.
    drawn
        (P,) index in the pool of the candidate that was copied.
    value_probability
        (P,) probability of the drawn value: the sum over all candidates of this value.
    """

    ends: NDArray[np.int64]
    addresses: NDArray[np.int32]
    rank: NDArray[np.int64]
    distance: NDArray[np.float64]
    probability: NDArray[np.float64]
    drawn: NDArray[np.int64]
    value_probability: NDArray[np.float64]

    def packed(self, index: Callable[[NDArray[np.integer[Any]]], NDArray[np.int64]]) -> dict[str, dict[str, str]]:
        """Return all arrays packed; `index` returns positions in the page's list of sources for ids of the corpus."""
        arrays = {name: array for name, array in vars(self).items() if name != "addresses"}
        arrays |= {"source": index(self.addresses[:, 0]), "y": self.addresses[:, 1], "x": self.addresses[:, 2]}
        return {name: packed(array) for name, array in arrays.items()}


def compute_pools(
    samples: Samples, corpus: Corpus, chosen: Iterable[int], order: NDArray[np.int32], progress: bool
) -> dict[int, StoredPools]:
    """Recompute the pool of every drawn pixel of some samples.

    Parameters
    ----------
    samples, corpus
        As for `npgen.explain`.
    chosen
        Indices of the samples.
    order
        (P, 2) drawn pixels of all samples, (y, x), in order.
    progress
        Show a progress bar.

    Returns
    -------
    dict
        The stored candidates by index of the sample.

    Raises
    ------
    ValueError, OSError
        If a pool can't be recomputed, or does not hold the pixel's source.
    """
    chosen = list(chosen)
    if not chosen or len(order) == 0:
        return {}
    explainer = Explainer(samples, corpus)
    found = {}
    with tqdm(total=len(chosen) * len(order), unit="pool", unit_scale=True, disable=not progress) as bar:
        for k in chosen:
            pixels = []
            for y, x in order.tolist():
                pixels.append(_shortened(explainer.explain(k, (y, x)), corpus))
                bar.update()
            found[k] = _joined(pixels)
    return found


def _shortened(explanation: Explanation, corpus: Corpus) -> tuple[NDArray[Any], ...]:
    """Return the arrays of `StoredPools`, in the order of `_joined`, of one pixel."""
    pool, drawn = explanation.pool, explanation.drawn
    rank = np.arange(min(STORED, len(pool)))
    if drawn >= STORED:
        rank[-1] = drawn
    values = corpus.images[pool.image_id, pool.y, pool.x]  # (M, C)
    same = (values == values[drawn]).all(1)
    addresses = np.stack([pool.image_id, pool.y, pool.x], axis=1)[rank]
    probability = explanation.probability
    return (
        rank,
        addresses,
        pool.distance[rank],
        probability[rank],
        np.array([drawn]),
        probability[same].sum(keepdims=True),
    )


def _joined(pixels: list[tuple[NDArray[Any], ...]]) -> StoredPools:
    rank, addresses, distance, probability, drawn, value_probability = (
        np.concatenate(part) for part in zip(*pixels, strict=True)
    )
    ends = np.cumsum([len(pixel[0]) for pixel in pixels])
    return StoredPools(ends, addresses, rank, distance, probability, drawn, value_probability)
