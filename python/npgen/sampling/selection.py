"""Which of several draws of a sample is kept: the one of the highest density in the embedding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen.encoders import AnyEncoder
from npgen.sampling.library import Library
from npgen.sampling.shortlists import embed_anchors

# Images that a density is the mean over.
NEIGHBOURS = 20
# An image is a duplicate of another one if their embeddings have at least this product. So many are looked for.
DUPLICATE_PRODUCT = 0.99
MOST_DUPLICATES = 10


class Densities:
    """Densities of finished canvases in the embedding, for one batch.

    ``density(c) = 1/k · Σ_j φ(c)·φ(j)`` over the k = 20 nearest images j of the corpus. The anchor and its duplicates
    are left out, so that a canvas is not dense for being like its anchor.

    Parameters
    ----------
    library
        The corpus and its keys.
    encoder
        φ.
    anchor
        (B,): ids of the anchors.
    threads
        CPU threads; None means one per core.
    """

    def __init__(self, library: Library, encoder: AnyEncoder, anchor: NDArray[np.int32], threads: int | None) -> None:
        self.library, self.encoder, self.anchor, self.threads = library, encoder, anchor, threads
        others = len(library.corpus) - 1
        queries = embed_anchors(encoder, library, anchor, threads)
        ids, products = library.nearest(queries, min(MOST_DUPLICATES, others), anchor)
        self.left_out = np.where(products >= DUPLICATE_PRODUCT, ids, -1)  # (B, 10)
        self.count = min(NEIGHBOURS + MOST_DUPLICATES, others)

    def __call__(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the densities (B,) of canvases (B, H, W, C)."""
        everything = np.ones(canvases.shape[1:3], np.bool_)
        queries = self.encoder.encode(canvases, everything, threads=self.threads)  # (B, D)
        ids, products = self.library.nearest(queries, self.count, self.anchor)  # (B, 30)
        densities = np.zeros(len(canvases), np.float32)
        for b, (row, left_out) in enumerate(zip(products, self.left_out, strict=True)):
            counted = row[~np.isin(ids[b], left_out)][:NEIGHBOURS].astype(np.float64)
            if len(counted):
                densities[b] = counted.mean()
        return densities
