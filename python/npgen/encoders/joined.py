"""Several encoders as one: `encoder="auto+smt"`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import check_number, invalid

# Images, spread evenly over the corpus, that weights are chosen on, and the shares of the second part that are tried.
SAMPLE = 2000
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Neighbours whose labels, or whose agreement, decide.
NEIGHBOURS = 15


class Part(Protocol):
    """An encoder, as a part of a joined one."""

    @property
    def id(self) -> str:
        """Identifies the function."""

    @property
    def dim(self) -> int:
        """Width of the embedding."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def symmetric(self) -> bool:
        """Whether the embedding of a wholly known canvas is the key of that image."""

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, of which only known pixels count."""


class JoinedEncoder:
    """Encoders whose products are added: one embedding, so that keys, queries and shortlists are as ever.

    ``φ(x) = [√w_1 φ_1(x), …, √w_P φ_P(x)]`` with Σ w_p = 1, so that ``φ(x)·φ(y) = Σ_p w_p φ_p(x)·φ_p(y)``.

    Parameters
    ----------
    parts
        Two or more encoders of images of the same channels.
    weights
        Their weights w, positive.

    Raises
    ------
    ValueError
        If there are fewer than two parts, or weights of another number or not positive.
    """

    def __init__(self, parts: Sequence[Part], weights: Sequence[float]) -> None:
        if len(parts) < 2 or len(weights) != len(parts):
            raise invalid("encoder", "made of two or more parts, each with a weight", f"{len(parts)} parts")
        if len({part.channels for part in parts}) > 1:
            raise invalid("encoder", "made of parts for images of the same channels", [part.channels for part in parts])
        for weight in weights:
            check_number("weight", weight, above=0)
        self.parts, self.weights = tuple(parts), tuple(float(weight) for weight in weights)
        self.metadata: dict[str, Any] = {"parts": [part.id for part in self.parts], "weights": list(self.weights)}
        self._id = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode() + b"joined 1").hexdigest()

    @property
    def id(self) -> str:
        """Sha256 over the ids and weights of the parts, 64 hexadecimal digits."""
        return self._id

    @property
    def dim(self) -> int:
        """Width of the embedding, D: the sum of the parts'."""
        return sum(part.dim for part in self.parts)

    @property
    def symmetric(self) -> bool:
        """Whether the embedding of a wholly known canvas is the key of that image: if every part's is."""
        return all(part.symmetric for part in self.parts)

    @property
    def channels(self) -> int:
        """Channels of an image, C."""
        return self.parts[0].channels

    def __repr__(self) -> str:
        """Show parts and weights."""
        parts = " + ".join(f"{weight:g}·{part!r}" for weight, part in zip(self.weights, self.parts, strict=True))
        return f"JoinedEncoder({parts})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, of which only known pixels count; see `Encoder.encode`."""
        embeddings = [part.encode(images, known, threads=threads) for part in self.parts]
        return joined(embeddings, self.weights)


def joined(embeddings: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Join embeddings (B, D_p) of length 1 into one (B, ΣD_p) of length 1."""
    total = sum(weights)
    pairs = zip(embeddings, weights, strict=True)
    rows = np.concatenate([np.float32((weight / total) ** 0.5) * part for part, weight in pairs], axis=1)
    # An embedding may be 0, where a part sees nothing.
    lengths = np.array([np.sqrt(np.dot(row, row)) for row in rows.astype(np.float64)])
    return (rows / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


def choose_weights(parts: Sequence[Part], corpus: Corpus, threads: int | None = None) -> tuple[float, ...]:
    """Choose the weights of two encoders on some of the corpus's images.

    With labels: those by which the most of the 15 nearest images have the label of the image. Without labels: those by
    which the 15 nearest have the most in common with the 15 nearest of either part, so that both count alike.

    Parameters
    ----------
    parts
        Two encoders.
    corpus
        N images; up to 2,000 of them, spread evenly, are compared with each other.
    threads
        CPU threads; None means one per core.

    Returns
    -------
    tuple
        Two weights, of sum 1.
    """
    if len(parts) != 2:
        return (1.0,) * len(parts)
    ids = np.linspace(0, len(corpus) - 1, min(len(corpus), SAMPLE)).round().astype(np.int64)
    images = np.asarray(corpus.images[ids])
    embeddings = [part.encode(images, threads=threads) for part in parts]
    labels = None if corpus.labels is None else corpus.labels[ids]
    alone = [_nearest(rows) for rows in embeddings]
    best, chosen = -1.0, SHARES[0]
    for share in SHARES:
        nearest = _nearest(joined(embeddings, (1 - share, share)))
        if labels is not None:
            score = float((labels[nearest] == labels[:, None]).mean())
        else:
            common = [np.mean([len(np.intersect1d(a, b)) for a, b in zip(nearest, one, strict=True)]) for one in alone]
            score = float(min(common))
        if score > best:
            best, chosen = score, share
    return 1 - chosen, chosen


def _nearest(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the 15 nearest others (n, 15) of each row (n, D); of equal ones, the first."""
    products = rows @ rows.T
    np.fill_diagonal(products, -np.inf)
    return np.argsort(-products, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
