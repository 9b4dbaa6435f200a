"""Which images may serve a canvas: those of like meaning, or of the same label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen import _core
from npgen.config import Config
from npgen.corpus import Corpus
from npgen.encoder import AnyEncoder
from npgen.errors import invalid
from npgen.trace import Samples

# Ids of the images that may serve each canvas of a batch, one canvas after another, and where each one's end.
Shortlists = tuple[NDArray[np.int32], NDArray[np.int64]]


class Queries:
    """Where a batch's canvases look for their like: between what they are so far and what their anchors are.

    ``query = normalise((1 − β)·φ(canvas) + β·φ(anchor))``
    """

    def __init__(self, encoder: AnyEncoder, corpus: Corpus, batch: Samples, threads: int | None) -> None:
        self.encoder, self.threads = encoder, threads
        self.weight = np.float32(batch.config.anchor_weight)
        self.images = batch.images
        if self.weight > 0:
            anchors = np.asarray(corpus.images[batch.anchor])
            everything = np.ones(anchors.shape[1:3], np.bool_)
            self.anchors = encoder.encode(anchors, everything, threads=threads)  # (B, D)

    def __call__(self, known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Embed the canvases as far as they are known, (B, D)."""
        if self.weight == 1:
            return self.anchors
        queries = self.encoder.encode(self.images, known, threads=self.threads)
        if self.weight == 0:
            return queries
        mixed = (1 - self.weight) * queries + self.weight * self.anchors
        # Row by row: a sum over an axis may be split differently for another batch.
        lengths = np.array([np.sqrt(np.dot(row, row)) for row in mixed.astype(np.float64)])
        return (mixed / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


class Shortlister:
    """Finds the images of like meaning: those whose keys (N, D) are nearest to a query."""

    def __init__(self, keys: NDArray[np.float32], config: Config, threads: int | None) -> None:
        self.keys, self.config, self.threads = keys, config, threads

    def find(self, queries: NDArray[np.float32], barred: NDArray[np.int32]) -> Shortlists:
        """List the images for each query (B, D), without those that are barred (B,); −1 bars none."""
        config = self.config
        ids, products = _core.shortlist(self.keys, queries, config.shortlist, barred, self.threads or 0)  # (B, K)
        if config.semantic == "topk":
            return ids.ravel(), np.arange(1, len(ids) + 1) * ids.shape[1]
        lists = [
            self._within(query, barred[b : b + 1], ids[b], products[b]) for b, query in enumerate(queries[:, None])
        ]
        return joined(lists)

    def _within(
        self,
        query: NDArray[np.float32],
        barred: NDArray[np.int32],
        ids: NDArray[np.int32],
        products: NDArray[np.float32],
    ) -> NDArray[np.int32]:
        """All images within (1 + ε) of the nearest's distance, at least those given: more until one lies beyond."""
        # Embeddings have length 1: d² = 2 − 2·product.
        squared = np.maximum(2 - 2 * products.astype(np.float64), 0)
        limit = (1 + self.config.epsilon) ** 2 * squared[0]
        others = len(self.keys) - int(barred[0] >= 0)
        while squared[-1] <= limit and len(ids) < others:
            length = min(2 * len(ids), others)
            found, more = _core.shortlist(self.keys, query, length, barred, self.threads or 0)
            ids, squared = found[0], np.maximum(2 - 2 * more[0].astype(np.float64), 0)
        return ids[: max(self.config.shortlist, int(np.searchsorted(squared, limit, side="right")))]


def members(corpus: Corpus) -> dict[int, NDArray[np.int32]]:
    """Ids of the images of each label, ascending."""
    if corpus.labels is None:
        raise invalid("corpus", "one with labels, for the model 'class'", corpus.name)
    return {int(label): np.flatnonzero(corpus.labels == label).astype(np.int32) for label in np.unique(corpus.labels)}


def joined(lists: list[NDArray[np.int32]]) -> Shortlists:
    """Put the lists of a batch's canvases one after another."""
    return np.concatenate(lists), np.cumsum([len(ids) for ids in lists])
