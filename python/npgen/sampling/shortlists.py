"""Which images may serve a canvas: those of like meaning, or of the same label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.encoders import AnyEncoder
from npgen.runs import Samples
from npgen.sampling.library import Library

# Ids of the images that may serve each canvas of a batch, one canvas after another, and where each one's end.
Shortlists = tuple[NDArray[np.int32], NDArray[np.int64]]


class Queries:
    """Where a batch's canvases look for their like: between what they are so far and what their anchors are.

    ``query = normalise((1 − β)·φ(canvas) + β·φ(anchor))``
    """

    def __init__(self, encoder: AnyEncoder, anchors: NDArray[np.uint8], batch: Samples, threads: int | None) -> None:
        self.encoder, self.threads = encoder, threads
        self.weight = np.float32(batch.config.anchor_weight)
        self.images = batch.images
        if self.weight > 0:
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
    """Finds the images of like meaning: those whose keys are nearest to a query."""

    def __init__(self, library: Library, config: Config) -> None:
        self.library, self.config = library, config

    def find(self, queries: NDArray[np.float32], barred: NDArray[np.int32]) -> Shortlists:
        """List the images for each query (B, D), without those that are barred (B,); −1 bars none."""
        config = self.config
        ids, products = self.library.nearest(queries, config.shortlist, barred)  # (B, K)
        if config.semantic == "topk":
            return ids.ravel(), np.arange(1, len(ids) + 1) * config.shortlist
        lists, rest = list(ids), np.arange(len(ids))
        others = len(self.library.corpus) - config.exclude_seed_image
        while True:
            within = np.array([self._within(row) for row in products], np.int64)
            for b, row, count in zip(rest, ids, within, strict=True):
                lists[b] = row[: max(config.shortlist, count)]
            # All that were found are within: there may be more.
            unsure = within == ids.shape[1]
            if ids.shape[1] == others or not self.library.any(bool(unsure.any())):
                return joined(lists)
            rest = rest[unsure]
            ids, products = self.library.nearest(queries[rest], min(2 * ids.shape[1], others), barred[rest])

    def _within(self, products: NDArray[np.float32]) -> int:
        """How many of the nearest, in order, are within (1 + ε) of the first one's distance."""
        # Embeddings have length 1: d² = 2 − 2·product.
        squared = np.maximum(2 - 2 * products.astype(np.float64), 0)
        return int(np.searchsorted(squared, (1 + self.config.epsilon) ** 2 * squared[0], side="right"))


def joined(lists: list[NDArray[np.int32]]) -> Shortlists:
    """Put the lists of a batch's canvases one after another."""
    return np.concatenate([np.empty(0, np.int32), *lists]), np.cumsum([len(ids) for ids in lists], dtype=np.int64)
