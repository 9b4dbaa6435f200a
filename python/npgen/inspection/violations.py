"""Pixels that break a rule, and the first rule: their sources exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.runs import Samples

# Place of a pixel: sample of the block, y, x.
Place = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Violation:
    """Pixels that break one rule.

    Attributes
    ----------
    where
        (n, H, W) bool, True for these pixels.
    reason
        Returns what is wrong with the pixel at a place, as a phrase.
    """

    where: NDArray[np.bool_]
    reason: Callable[[Place], str]


def inside_corpus(samples: Samples, corpus: Corpus) -> NDArray[np.bool_]:
    """Return (n, H, W) bool: True for pixels whose addresses exist in the corpus."""
    return corpus.holds(samples.trace.image_id, samples.trace.y, samples.trace.x)


def outside_corpus(samples: Samples, corpus: Corpus) -> Violation:
    """List the pixels whose addresses don't exist in the corpus."""
    return Violation(~inside_corpus(samples, corpus), lambda at: "there is no such pixel in the corpus")
