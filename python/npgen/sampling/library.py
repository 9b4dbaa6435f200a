"""The corpus as a run reads it: images by their ids, the images to scan, and the nearest keys."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.runtime import Ranks
from npgen.storage import npy


class Library:
    """A corpus that this process reads all of.

    Parameters
    ----------
    corpus
        N images.
    keys
        The images' keys (N, D); None for a model without embedding.
    threads
        CPU threads of a search; None means one per core.
    from_file
        Read the images of a shortlist from the file into memory of their own instead of through the memory map, whose
        pages come in large pieces. Only for a corpus that is memory-mapped.

    Attributes
    ----------
    scanned, sizes
        The images that a scan of all images reads at this process, (M, H, W, C) uint8, and their sizes (M, 2) where
        these differ.
    elsewhere
        How many images other processes scan.
    """

    # Processes that share the corpus, and the id of this one's first image; None where it reads all of it.
    ranks: Ranks | None = None
    start = 0

    def __init__(
        self,
        corpus: Corpus,
        keys: NDArray[np.float32] | None = None,
        threads: int | None = None,
        from_file: bool = False,
    ) -> None:
        self.corpus, self.threads = corpus, threads
        self.scanned, self.sizes, self.elsewhere = corpus.images, corpus.sizes, 0
        self.from_file = from_file and isinstance(corpus.images, np.memmap)
        self._keys = keys

    @property
    def keys(self) -> NDArray[np.float32]:
        """Keys (N, D) of the images."""
        assert self._keys is not None, "a model without embedding has no keys"
        return self._keys

    def images(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Read images (M, H, W, C) by their ids (M,)."""
        return npy.read_rows(self.corpus.images, ids) if self.from_file else np.asarray(self.corpus.images[ids])

    def nearest(
        self,
        queries: NDArray[np.float32],
        count: int,
        barred: NDArray[np.int32],
        same_label: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the `count` keys nearest to each query (B, D), without those that are barred (B,); −1 bars none.

        With `same_label` (B,), ids of images, only keys of images of the same label as that one. Returns ids and
        products with the query, (B, count) each, nearest first; where a label has fewer images, ids −1 and products −∞
        follow.
        """
        labels = None if same_label is None else (self.labels, self.labels[same_label])
        return _core.shortlist(self.keys, queries, count, barred, self.threads or 0, labels)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """The images' labels (N,), numbered from 0."""
        assert self.corpus.labels is not None, "the plan has checked that there are labels"
        return np.unique(self.corpus.labels, return_inverse=True)[1].astype(np.int32)

    def any(self, flag: bool) -> bool:
        """Return True if the flag is True at any of the processes that search together."""
        return flag


class SharedLibrary(Library):
    """A corpus of which each rank reads a part, images and keys; ranks fetch other images from each other.

    All ranks call each method at the same time, even those that need nothing.

    Parameters
    ----------
    corpus
        N images, N at least the number of ranks.
    ranks
        The processes that share it.
    keys
        The images' keys (N, D); None for a model without embedding.
    threads
        CPU threads of a search.
    """

    ranks: Ranks

    def __init__(
        self,
        corpus: Corpus,
        ranks: Ranks,
        keys: NDArray[np.float32] | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(corpus, keys, threads)
        self.from_file = True
        self.ranks = ranks
        self.bounds = ranks.bounds(len(corpus))
        self.start, self.end = ranks.own_range(len(corpus))
        own = slice(self.start, self.end)
        self.scanned = corpus.images[own]
        self.sizes = None if corpus.sizes is None else corpus.sizes[own]
        self.elsewhere = len(corpus) - len(self.scanned)
        # Images of the last stage: the next stage uses most of them again.
        self.held = np.empty(0, np.int32)
        self.held_images = np.empty((0, *corpus.images.shape[1:]), np.uint8)

    def images(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Read images (M, H, W, C) by their ids (M,); those of other ranks are sent by these."""
        wanted, places = np.unique(ids, return_inverse=True)
        new = np.setdiff1d(wanted, self.held, assume_unique=True)  # ascending, so owner after owner
        asked = self.ranks.all_to_all(np.split(new, np.searchsorted(new, self.bounds[1:-1])))
        sent = self.ranks.all_to_all([npy.read_rows(self.corpus.images, theirs) for theirs in asked])
        images = np.empty((len(wanted), *self.held_images.shape[1:]), np.uint8)
        old = np.isin(wanted, self.held, assume_unique=True)
        images[old] = self.held_images[np.searchsorted(self.held, wanted[old])]
        images[~old] = np.concatenate(sent)
        self.held, self.held_images = wanted, images
        return images[places]

    def nearest(
        self,
        queries: NDArray[np.float32],
        count: int,
        barred: NDArray[np.int32],
        same_label: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the keys nearest to each query, over all ranks; see `Library.nearest`.

        Every rank searches its part for the queries of all ranks; each rank merges what was found for its own.
        """
        askers = self.ranks.all_to_all([queries] * self.ranks.count)
        together = np.concatenate(askers)  # (all B, D)
        # One more than `count`: a barred image, not known here, must not push out another one.
        length, own = min(count + 1, int(np.diff(self.bounds).max())), self.end - self.start
        ids = np.full((len(together), length), np.iinfo(np.int32).max, np.int32)
        products = np.full((len(together), length), -np.inf, np.float32)
        no_bar, keys = np.full(len(together), -1, np.int32), self.keys[self.start : self.end]
        labels = None
        if same_label is not None:
            wanted = np.concatenate(self.ranks.all_to_all([self.labels[same_label]] * self.ranks.count))
            labels = self.labels[self.start : self.end], wanted
        local, products[:, :own] = _core.shortlist(keys, together, min(length, own), no_bar, self.threads or 0, labels)
        ids[:, :own] = np.where(local < 0, ids[:, :own], local + np.int32(self.start))
        cuts = np.cumsum([len(asker) for asker in askers])[:-1]
        found = [self.ranks.all_to_all(np.split(array, cuts)) for array in (ids, products)]
        return _nearest_of(np.concatenate(found[0], 1), np.concatenate(found[1], 1), count, barred)

    def any(self, flag: bool) -> bool:
        """Return True if the flag is True at any rank."""
        return self.ranks.any(flag)


def _nearest_of(
    ids: NDArray[np.int32], products: NDArray[np.float32], count: int, barred: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of the matches of each query, (B, M) each in any order, the `count` best that are not barred (B,).

    Where there are fewer, ids −1 and products −∞ follow.
    """
    products = np.where(ids == barred[:, None], np.float32(-np.inf), products)
    bits = products.view(np.int32)
    # The core's total order of floats: −0 comes before +0.
    rising = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    order = np.lexsort((ids, -rising), axis=1)[:, :count]
    ids, products = np.take_along_axis(ids, order, 1), np.take_along_axis(products, order, 1)
    return np.where(np.isneginf(products), np.int32(-1), ids), products
