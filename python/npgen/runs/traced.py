"""What metrics need of samples: that each pixel has a value and a source."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.runs.trace import Trace


class TracedSamples(Protocol):
    """Samples of either kind, as metrics take them: each pixel has a value and a source.

    `Samples` and `npgen.ScoreSamples` are such.
    """

    def __len__(self) -> int:
        """Return the number of samples n."""

    def __getitem__(self, part: slice) -> Self:
        """Return consecutive samples."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(n, H, W, C): the images as bytes."""

    @property
    def trace(self) -> Trace:
        """Where each pixel came from."""

    @property
    def first(self) -> int:
        """Index of the first of these samples in the run that the seed defines."""

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise ValueError unless the samples were made from this corpus, and every address in them exists."""

    def provenance(self) -> dict[str, Any]:
        """Return, JSON-able, what it takes to make the samples again."""

    def describe(self) -> dict[str, Any]:
        """Return, JSON-able, where the samples come from, as evaluations record it: model, config and seed."""


def check_traced(samples: TracedSamples, corpus: Corpus) -> None:
    """Raise TypeError or ValueError unless these are samples of either kind, made from this corpus."""
    if not all(hasattr(samples, name) for name in ("pixels", "trace", "check_corpus", "describe")):
        raise TypeError(f"samples must be of type Samples or ScoreSamples, got {type(samples).__name__}")
    samples.check_corpus(corpus)
