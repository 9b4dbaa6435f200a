"""The pools of whole samples, as far as a report keeps them."""

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

# Candidates kept of each pool: the nearest, and always the one that was drawn.
KEPT = 8


@dataclass(frozen=True, eq=False)
class KeptPools:
    """The kept candidates of all P drawn pixels of a sample, one pixel after another.

    Attributes
    ----------
    ends
        (P,) where each pixel's candidates end.
    addresses
        (M, 3) int32: image, y, x.
    rank
        (M,) place in the pool.
    distance, probability
        (M,) of each candidate.
    drawn
        (P,) place in the pool of the candidate that was copied.
    value_probability
        (P,) probability of the value that was drawn: of all candidates that hold it.
    """

    ends: NDArray[np.int64]
    addresses: NDArray[np.int32]
    rank: NDArray[np.int64]
    distance: NDArray[np.float64]
    probability: NDArray[np.float64]
    drawn: NDArray[np.int64]
    value_probability: NDArray[np.float64]

    def packed(self, index: Callable[[NDArray[np.integer[Any]]], NDArray[np.int64]]) -> dict[str, dict[str, str]]:
        """Pack all of it; `index` turns ids of the corpus into places on the page's list of sources."""
        arrays = {name: array for name, array in vars(self).items() if name != "addresses"}
        arrays |= {"source": index(self.addresses[:, 0]), "y": self.addresses[:, 1], "x": self.addresses[:, 2]}
        return {name: packed(array) for name, array in arrays.items()}


def open_pools(
    samples: Samples, corpus: Corpus, chosen: Iterable[int], order: NDArray[np.int32], progress: bool
) -> dict[int, KeptPools]:
    """Recompute the pool of every drawn pixel of some samples.

    Parameters
    ----------
    samples, corpus
        As for `npgen.explain`.
    chosen
        Indices of samples.
    order
        (P, 2) their drawn pixels in order.
    progress
        Show a progress bar.

    Returns
    -------
    dict
        What is kept, by sample.

    Raises
    ------
    ValueError, OSError
        If a pool can't be had again, or a trace doesn't fit its pool.
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
                pixels.append(_kept(explainer.explain(k, (y, x)), corpus))
                bar.update()
            found[k] = _joined(pixels)
    return found


def _kept(explanation: Explanation, corpus: Corpus) -> tuple[NDArray[Any], ...]:
    pool, drawn = explanation.pool, explanation.drawn
    rank = np.arange(min(KEPT, len(pool)))
    if drawn >= KEPT:
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


def _joined(pixels: list[tuple[NDArray[Any], ...]]) -> KeptPools:
    rank, addresses, distance, probability, drawn, value_probability = (
        np.concatenate(part) for part in zip(*pixels, strict=True)
    )
    ends = np.cumsum([len(pixel[0]) for pixel in pixels])
    return KeptPools(ends, addresses, rank, distance, probability, drawn, value_probability)
