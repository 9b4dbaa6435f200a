"""The corpus as a run sees it: images by their ids, and ids by their meaning, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen import _core, npy
from npgen.config import Config
from npgen.corpus import Corpus
from npgen.ranks import Ranks
from npgen.shared_filler import SharedFiller


class Library:
    """A corpus that this process reads all of.

    Parameters
    ----------
    corpus
        N images.
    threads
        CPU threads of a search; None means one a core.
    apart
        Whether a stage's images are read into memory of their own, not through the memory map, whose pages come in
        large pieces.
    """

    keys: NDArray[np.float32]  # (N, D)

    def __init__(self, corpus: Corpus, threads: int | None = None, apart: bool = False) -> None:
        self.corpus, self.threads = corpus, threads
        self.apart = apart and isinstance(corpus.images, np.memmap)

    def images(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Read images (M, H, W, C) by their ids (M,)."""
        return npy.read_rows(self.corpus.images, ids) if self.apart else np.asarray(self.corpus.images[ids])

    def nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the `count` keys nearest to each query (B, D), without those that are barred (B,); −1 bars none.

        Returns ids and products with the query, (B, count) each, nearest first.
        """
        return _core.shortlist(self.keys, queries, count, barred, self.threads or 0)

    def any(self, flag: bool) -> bool:
        """Whether it is so at any of the processes that search together."""
        return flag

    def filler(self, make: Callable[..., _core.Filler], config: Config) -> _core.Filler:
        """Fill canvases from all images, by way of what `make` gives for some of them."""
        return make(self.corpus.images, sizes=self.corpus.sizes)


class SharedLibrary(Library):
    """A corpus of which each rank reads a part, images and keys; ranks ask each other for what they want of it.

    All ranks call each method together, even those that want nothing.

    Parameters
    ----------
    corpus
        N images, N at least the number of ranks.
    ranks
        Who shares it.
    threads
        CPU threads of a search.
    """

    def __init__(self, corpus: Corpus, ranks: Ranks, threads: int | None = None) -> None:
        super().__init__(corpus, threads)
        self.apart = True
        self.ranks = ranks
        self.bounds = ranks.bounds(len(corpus))
        self.start, self.end = ranks.share(len(corpus))
        # What the last stage used: the next one wants most of it again.
        self.held = np.empty(0, np.int32)
        self.held_images = np.empty((0, *corpus.images.shape[1:]), np.uint8)

    def images(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Read images (M, H, W, C) by their ids (M,): those of other ranks from these."""
        wanted, places = np.unique(ids, return_inverse=True)
        new = np.setdiff1d(wanted, self.held, assume_unique=True)  # ascending, so owner after owner
        asked = self.ranks.exchange(np.split(new, np.searchsorted(new, self.bounds[1:-1])))
        sent = self.ranks.exchange([npy.read_rows(self.corpus.images, theirs) for theirs in asked])
        images = np.empty((len(wanted), *self.held_images.shape[1:]), np.uint8)
        old = np.isin(wanted, self.held, assume_unique=True)
        images[old] = self.held_images[np.searchsorted(self.held, wanted[old])]
        images[~old] = np.concatenate(sent)
        self.held, self.held_images = wanted, images
        return images[places]

    def nearest(
        self, queries: NDArray[np.float32], count: int, barred: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the keys nearest to each query, over all ranks; see `Library.nearest`.

        Every rank searches its part for all ranks' queries; who asked merges what they found.
        """
        askers = self.ranks.exchange([queries] * self.ranks.count)
        together = np.concatenate(askers)  # (all B, D)
        # One more than asked for, so that a barred image, unknown here, takes no other's place.
        length, own = min(count + 1, int(np.diff(self.bounds).max())), self.end - self.start
        ids = np.full((len(together), length), np.iinfo(np.int32).max, np.int32)
        products = np.full((len(together), length), -np.inf, np.float32)
        nobody, keys = np.full(len(together), -1, np.int32), self.keys[self.start : self.end]
        local, products[:, :own] = _core.shortlist(keys, together, min(length, own), nobody, self.threads or 0)
        ids[:, :own] = local + np.int32(self.start)
        cuts = np.cumsum([len(asker) for asker in askers])[:-1]
        found = [self.ranks.exchange(np.split(array, cuts)) for array in (ids, products)]
        return _nearest_of(np.concatenate(found[0], 1), np.concatenate(found[1], 1), count, barred)

    def any(self, flag: bool) -> bool:
        """Whether it is so at any rank."""
        return self.ranks.any(flag)

    def filler(self, make: Callable[..., _core.Filler], config: Config) -> Any:
        """Fill canvases from all images, each rank looking at its part; see `SharedFiller`."""
        own, sizes = slice(self.start, self.end), self.corpus.sizes
        part = self.corpus.images[own]
        filler = make(part, elsewhere=len(self.corpus) - len(part), sizes=None if sizes is None else sizes[own])
        return SharedFiller(filler, part, self.start, self.ranks)


def _nearest_of(
    ids: NDArray[np.int32], products: NDArray[np.float32], count: int, barred: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of the matches of each query, (B, M) each in any order, the `count` best that are not barred (B,)."""
    bits = products.view(np.int32)
    # The core's total order of floats: −0 comes before +0.
    rising = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    order = np.lexsort((ids, -rising, ids == barred[:, None]), axis=1)[:, :count]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(products, order, 1)
