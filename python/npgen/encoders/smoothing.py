"""Smoothing over the graph of neighbours: `encoder="auto:smooth=20"`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.encoders.joined import Part
from npgen.errors import check_whole

# Queries that are smoothed at a time: their neighbours' keys are in memory together.
CHUNK = 1024


class SmoothedEncoder:
    """An encoder whose embeddings are moved towards those of the nearest images of a corpus.

    ``φ_s(x) = normalise(φ(x) + Σ_j w_j φ(j)),  w_j = max(0, φ(x)·φ(j))³``, over the n images j of the corpus whose keys
    are nearest to φ(x). Keys and queries are treated alike; an image of the corpus is its own first neighbour. The cube
    makes near neighbours count: with equal weights the nearest image is lost sooner than unlike images.

    Parameters
    ----------
    base
        The encoder φ.
    corpus
        N images.
    n
        Number of neighbours, 1 to N.
    base_keys
        Returns the corpus's keys (N, D) of `base`; called when they are needed.

    Raises
    ------
    ValueError
        If n is out of range.
    """

    def __init__(self, base: Part, corpus: Corpus, n: int, base_keys: Callable[[], NDArray[np.float32]]) -> None:
        check_whole("smooth", n, 1, len(corpus))
        self.base: Any = base  # of any kind; the union of kinds includes this class
        self.n, self.base_keys = int(n), base_keys
        self.corpus_hash = corpus.hash
        self.metadata: dict[str, Any] = {"base": base.id, "corpus": corpus.hash, "smooth": self.n}
        self._id = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode() + b"smoothed 1").hexdigest()

    @property
    def id(self) -> str:
        """Sha256 over the base encoder's id, the corpus's hash and n, 64 hexadecimal digits."""
        return self._id

    @property
    def dim(self) -> int:
        """Width of the embedding, D."""
        return int(self.base.dim)

    @property
    def symmetric(self) -> bool:
        """Whether the embedding of a wholly known canvas is the key of that image: if the base's is."""
        return bool(self.base.symmetric)

    @property
    def channels(self) -> int:
        """Channels of an image, C."""
        return int(self.base.channels)

    def __repr__(self) -> str:
        """Show base and number of neighbours."""
        return f"SmoothedEncoder({self.base!r}, n={self.n})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, of which only known pixels count.

        Parameters
        ----------
        images, known, threads
            As in `Encoder.encode`.

        Returns
        -------
        ndarray
            Embeddings (B, D), float32, of length 1; 0 where the base encoder's are.

        Raises
        ------
        TypeError, ValueError
            As in `Encoder.encode`.
        """
        rows: NDArray[np.float32] = self.base.encode(images, known, threads=threads)
        keys = self.base_keys()
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            rows[start : start + CHUNK] = smoothed(part, keys, self.n, threads)
        return rows


def smoothed(
    rows: NDArray[np.float32], keys: NDArray[np.float32], n: int, threads: int | None = None
) -> NDArray[np.float32]:
    """Smooth embeddings over their nearest keys.

    Parameters
    ----------
    rows
        Embeddings (B, D).
    keys
        (N, D).
    n
        Number of nearest keys that count.
    threads
        CPU threads of the search; None means one per core. No influence on the result.

    Returns
    -------
    ndarray
        (B, D), float32, of length 1; 0 where a row is 0.

    Examples
    --------
    >>> keys = np.eye(3, dtype=np.float32)
    >>> smoothed(np.float32([[0.8, 0.6, 0]]), keys, 1).round(3).tolist()  # + 0.8³ · (1, 0, 0)
    [[0.909, 0.416, 0.0]]
    """
    nobody = np.full(len(rows), -1, np.int32)
    ids, products = _core.shortlist(keys, np.ascontiguousarray(rows), n, nobody, threads or 0, None)  # (B, n) both
    weights = np.maximum(products.astype(np.float64), 0) ** 3
    sums = np.empty(rows.shape, np.float64)
    # Row by row: the sums of a row then have one order, whatever the batch.
    for b, row in enumerate(rows):
        total = row + weights[b] @ keys[ids[b]].astype(np.float64)
        length = np.sqrt(np.dot(total, total))
        sums[b] = total / (length if length > 0 else 1.0)
    return sums.astype(np.float32)
