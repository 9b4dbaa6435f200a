"""Which images may serve as sources of a canvas: those of similar meaning, or of the same label."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.encoders import AnyEncoder
from npgen.errors import invalid
from npgen.runs import Samples
from npgen.sampling.library import Library

# Ids of the images that may serve each canvas of a batch, one canvas after another, and where the ids of each end.
Shortlists = tuple[NDArray[np.int32], NDArray[np.int64]]


class CanvasQueries:
    """Queries of a batch's canvases: a blend of canvas and anchor embeddings, recorded in the batch.

    ``q = normalise((1 − β)·φ(canvas) + β·φ(anchor))``; then, with `Config.query_expansion`, the nearest images'
    embeddings are added: ``query = normalise(q + Σ_j φ(j))``.

    Parameters
    ----------
    encoder
        φ.
    anchors
        Embeddings of the anchors (B, D), as `embed_anchors` returns them.
    batch
        B canvases; its `queries` (B, S, D) take what is computed.
    threads
        CPU threads; None means one per core.
    nearest_keys
        Returns, of queries (B, D), the keys of the nearest images that may serve, one array (≤ n, D) per query.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        anchors: NDArray[np.float32],
        batch: Samples,
        threads: int | None,
        nearest_keys: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]],
    ) -> None:
        assert batch.queries is not None
        self.encoder, self.anchors, self.threads, self.nearest_keys = encoder, anchors, threads, nearest_keys
        self.expands = batch.config.query_expansion > 0
        self.weight = np.float32(batch.config.anchor_weight)
        self.images, self.rows = batch.images, batch.queries

    def __call__(self, stage: int, known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the queries (B, D) of a stage, from canvases of which the mask (H, W) is known."""
        at = min(stage, self.rows.shape[1] - 1)
        if stage == at:  # with β = 1 the first query holds for all stages
            queries = self._blended(known)
            if self.expands:
                queries = expanded(queries, self.nearest_keys)
            self.rows[:, at] = queries
        return np.ascontiguousarray(self.rows[:, at])

    def _blended(self, known: NDArray[np.bool_]) -> NDArray[np.float32]:
        if self.weight == 1:
            return self.anchors
        queries = self.encoder.encode(self.images, known, threads=self.threads)
        if self.weight == 0:
            return queries
        return _normalised((1 - self.weight) * queries + self.weight * self.anchors)


def expanded(
    queries: NDArray[np.float32], nearest_keys: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
) -> NDArray[np.float32]:
    """Add to each query (B, D) the embeddings of the nearest images, and scale it to length 1."""
    sums = [q + keys.sum(0, np.float64) for q, keys in zip(queries, nearest_keys(queries), strict=True)]
    return _normalised(np.array(sums).reshape(queries.shape))


def _normalised(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale rows (B, D) to length 1; rows of zeros stay as they are."""
    # Row by row: a sum over an axis may be split differently for another batch.
    lengths = np.array([np.sqrt(np.dot(row, row)) for row in rows.astype(np.float64)])
    return (rows / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


def embed_anchors(
    encoder: AnyEncoder, library: Library, anchor: NDArray[np.int32], threads: int | None
) -> NDArray[np.float32]:
    """Embed the anchors (B,) as wholly known canvases, (B, D).

    Where this is what their keys are, nothing is computed.
    """
    if encoder.symmetric:
        return library.keys[anchor]
    images = library.images(anchor)
    return encoder.encode(images, np.ones(images.shape[1:3], np.bool_), threads=threads)


class RecordedQueries:
    """Queries that a batch holds already, as its run recorded them: no encoder is needed."""

    def __init__(self, batch: Samples) -> None:
        assert batch.queries is not None
        self.rows = batch.queries

    def __call__(self, stage: int, known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the queries (B, D) of a stage."""
        return np.ascontiguousarray(self.rows[:, min(stage, self.rows.shape[1] - 1)])


class Shortlister:
    """Lists the images of similar meaning: those whose keys are nearest to a query."""

    def __init__(self, library: Library, config: Config) -> None:
        self.library, self.config = library, config

    def find(
        self, queries: NDArray[np.float32], barred: NDArray[np.int32], same_label: NDArray[np.int32] | None = None
    ) -> Shortlists:
        """List the images for each query (B, D), without those that are barred (B,); −1 bars none.

        With `same_label` (B,), ids of images, only images of the same label as that one.

        Raises
        ------
        ValueError
            If a canvas is left without an image.
        """
        lists = self._lists(queries, barred, same_label)
        if any(len(ids) == 0 for ids in lists):
            raise invalid("corpus", "at least 2 images of each label, as the seed's own is barred", "1 of a label")
        return chained(lists)

    def nearest_keys(
        self, queries: NDArray[np.float32], barred: NDArray[np.int32], same_label: NDArray[np.int32] | None = None
    ) -> list[NDArray[np.float32]]:
        """Return the keys (≤ n, D) of the n images of `Config.query_expansion` nearest to each query (B, D)."""
        others = len(self.library.corpus) - self.config.exclude_seed_image
        ids, _ = self.library.nearest(queries, min(self.config.query_expansion, others), barred, same_label)
        return [self.library.keys[row[row >= 0]] for row in ids]

    def _lists(
        self, queries: NDArray[np.float32], barred: NDArray[np.int32], same_label: NDArray[np.int32] | None
    ) -> list[NDArray[np.int32]]:
        config = self.config
        length = config.halves * config.shortlist
        ids, products = self.library.nearest(queries, length, barred, same_label)  # (B, K)
        if config.semantic == "topk":
            return [row[row >= 0] for row in ids]
        lists, rest = list(ids), np.arange(len(ids))
        others = len(self.library.corpus) - config.exclude_seed_image
        while True:
            within = np.array([self._within(row) for row in products], np.int64)
            for b, row, count in zip(rest, ids, within, strict=True):
                lists[b] = row[: max(length, count)]
            # Where all that were found are within the threshold there may be more: search again, twice as far.
            unsure = within == ids.shape[1]
            if ids.shape[1] == others or not self.library.any(bool(unsure.any())):
                return [row[row >= 0] for row in lists]
            rest = rest[unsure]
            of_rest = None if same_label is None else same_label[rest]
            ids, products = self.library.nearest(queries[rest], min(2 * ids.shape[1], others), barred[rest], of_rest)

    def _within(self, products: NDArray[np.float32]) -> int:
        """Count how many of the nearest, in order, are within (1 + ε) of the first one's distance."""
        # Embeddings have length 1: d² = 2 − 2·product.
        squared = np.maximum(2 - 2 * products.astype(np.float64), 0)
        return int(np.searchsorted(squared, (1 + self.config.epsilon) ** 2 * squared[0], side="right"))


def same_label(
    members: dict[int, NDArray[np.int32]], labels: NDArray[np.int64], barred: NDArray[np.int32]
) -> Shortlists:
    """List all images of each canvas's label.

    Parameters
    ----------
    members
        Ids of the images of each label.
    labels
        (B,): the label of each canvas's anchor.
    barred
        (B,): image that may not serve, −1 for none. It stays on the list, so that all canvases of a label share one.

    Raises
    ------
    ValueError
        If a canvas is left without an image.
    """
    lists = [members[label] for label in labels.tolist()]
    if any(np.array_equal(ids, [bar]) for ids, bar in zip(lists, barred, strict=True)):
        raise invalid("corpus", "at least 2 images of each label, as the seed's own is barred", "1 of a label")
    return chained(lists)


def chained(lists: list[NDArray[np.int32]]) -> Shortlists:
    """Put the lists of a batch's canvases one after another."""
    return np.concatenate([np.empty(0, np.int32), *lists]), np.cumsum([len(ids) for ids in lists], dtype=np.int64)


def listed(shortlists: Shortlists) -> list[NDArray[np.int32]]:
    """Return the ids of each canvas's images."""
    ids, ends = shortlists
    return [ids[start:end] for start, end in pairwise([0, *ends.tolist()])]


def ascending(shortlists: Shortlists) -> Shortlists:
    """Sort the ids of each canvas."""
    return chained([np.sort(part) for part in listed(shortlists)])
