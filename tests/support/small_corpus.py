"""A small corpus with labels, classes and held-out images."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgen.corpus.store import Corpus

CLASSES = ["a", "b", "c"]


def pixels(count: int = 6, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)


def small(count: int = 6, *, heldout: bool = True, **options: Any) -> Corpus:
    others = Corpus.from_arrays(pixels(3, seed=1), [0, 1, 2], CLASSES, name="others") if heldout else None
    return Corpus.from_arrays(pixels(count), np.arange(count) % 3, CLASSES, name="small", heldout=others, **options)
