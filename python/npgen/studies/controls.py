"""Controls of the frontier: images that need no sampler, made of the anchor's nearest training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.runs import Trace

# Control by name, and what it is.
CONTROLS: dict[str, str] = {
    "nearest image": "the nearest image, copied whole",
    "halves": "left and right half of the two nearest images",
    "minimum cut": "the two nearest images, joined along the cheapest cut from top to bottom",
    "cross-fade": "the two nearest images, faded into each other over half of the width",
}


@dataclass(frozen=True, eq=False)
class ControlImages:
    """Images of one control. Metrics take them as they take samples.

    Attributes
    ----------
    name
        A key of `CONTROLS`.
    pixels
        (n, H, W, C) uint8.
    trace
        Which image each pixel is a copy of; of a cross-fade, the image of the larger weight. Distances and pool sizes
        are 0, as nothing was drawn.
    corpus_hash
        The corpus.
    first
        0: the index of the first image.
    """

    name: str
    pixels: NDArray[np.uint8]
    trace: Trace
    corpus_hash: str
    first: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> ControlImages:
        """Return consecutive images."""
        return ControlImages(self.name, self.pixels[part], self.trace[part], self.corpus_hash)

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise ValueError unless the images were made from this corpus."""
        if corpus.hash != self.corpus_hash:
            raise invalid("corpus", f"the one of the controls, {self.corpus_hash[:16]}", corpus.hash[:16])

    def provenance(self) -> dict[str, Any]:
        """Return, JSON-able, what the images are."""
        return {"control": self.name, "corpus": self.corpus_hash}

    def describe(self) -> dict[str, Any]:
        """Return, JSON-able, where the images come from, as evaluations record it."""
        return {"model": f"control {self.name}", "config": {}, "model_seed": 0}


def make_control(name: str, corpus: Corpus, keys: NDArray[np.float32], anchor: NDArray[np.int32]) -> ControlImages:
    """Make the images of a control.

    Parameters
    ----------
    name
        A key of `CONTROLS`.
    corpus
        N images of one size.
    keys
        Keys (N, D) of the images; nearest are those of the largest products with the anchor's.
    anchor
        (n,) ids of the anchors, which are barred.

    Returns
    -------
    ControlImages
        One per anchor.
    """
    queries = np.ascontiguousarray(keys[anchor])
    ids, _ = _core.shortlist(keys, queries, 2, anchor, 0)  # (n, 2)
    left, right = (np.asarray(corpus.images[ids[:, side]]) for side in (0, 1))  # (n, H, W, C) each
    weight = np.stack([_weight(name, a, b) for a, b in zip(left, right, strict=True)])  # (n, H, W): of the left one
    blend = weight[..., None] * left + (1 - weight[..., None]) * right.astype(np.float64)
    of_left = weight >= 0.5
    image_id = np.where(of_left, ids[:, 0, None, None], ids[:, 1, None, None]).astype(np.int32)
    y, x = np.indices(of_left.shape[1:], np.int32)
    trace = Trace(
        image_id,
        np.broadcast_to(y, of_left.shape),
        np.broadcast_to(x, of_left.shape),
        distance=np.zeros(of_left.shape, np.float32),
        pool_size=np.zeros(of_left.shape, np.int32),
    )
    return ControlImages(name, np.rint(blend).astype(np.uint8), trace, corpus.hash)


def _weight(name: str, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the weight (H, W) of the left image at each pixel."""
    height, width = left.shape[:2]
    columns = np.arange(width)
    if name == "nearest image":
        return np.ones((height, width))
    if name == "halves":
        return np.broadcast_to((columns < width // 2).astype(np.float64), (height, width))
    if name == "cross-fade":
        inside = max(1, width // 2)
        fade = np.clip((width // 4 + inside - 0.5 - columns) / inside, 0, 1)
        return np.broadcast_to(fade, (height, width))
    return (columns < minimum_cut(left, right)[:, None]).astype(np.float64)


def minimum_cut(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find the cheapest cut from top to bottom between two images.

    ``cost = Σ_rows |A(p) − B(p)| + |A(q) − B(q)|`` over the two pixels p, q on either side of the cut (Kwatra et al.
    2003), where the cut moves by at most one column from row to row and stays in the middle half of the width.

    Parameters
    ----------
    left, right
        (H, W, C) uint8 each.

    Returns
    -------
    ndarray
        (H,) int64: the first column of each row that is the right image's.
    """
    height, width = left.shape[:2]
    difference = np.abs(left.astype(np.float64) - right).sum(-1)  # (H, W)
    first, last = max(1, width // 4), max(1, min(width - 1, width - width // 4))
    # Cost of a cut before each column from `first` to `last`, and the cheapest path to it.
    edge = difference[:, first - 1 : last] + difference[:, first : last + 1]
    total, back = edge.copy(), np.zeros(edge.shape, np.int64)
    for row in range(1, height):
        padded = np.pad(total[row - 1], 1, constant_values=np.inf)
        moves = np.stack([padded[:-2], padded[1:-1], padded[2:]])  # from the left, from above, from the right
        back[row] = moves.argmin(0) - 1
        total[row] += moves.min(0)
    cut = np.zeros(height, np.int64)
    cut[-1] = total[-1].argmin()
    for row in range(height - 1, 0, -1):
        cut[row - 1] = cut[row] + back[row, cut[row]]
    cut += first
    return cut
