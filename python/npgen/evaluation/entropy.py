"""How mixed the sources of samples are: the paper's signature of part–whole generalisation (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.runs import TracedSamples, check_traced

WINDOW = 7


@dataclass(frozen=True, eq=False)
class Entropies:
    """Sliding-window entropies of n samples, in nats.

    Attributes
    ----------
    image_id
        (n,) float64: of the image-ID maps. High where a region is put together from many images.
    class_map
        (n,) float64: of the class maps, or None if the corpus has no labels. Low where a region is of one class.
    """

    image_id: NDArray[np.float64]
    class_map: NDArray[np.float64] | None

    @property
    def mean_image_id(self) -> float:
        """Mean of `image_id` over the samples."""
        return float(self.image_id.mean())

    @property
    def mean_class(self) -> float | None:
        """Mean of `class_map` over the samples, or None."""
        return None if self.class_map is None else float(self.class_map.mean())


def entropy_map(labels: NDArray[np.integer], window: int = WINDOW) -> NDArray[np.float64]:
    """Measure how mixed a map of labels is, window by window.

    ``H = −Σ_ℓ p(ℓ) ln p(ℓ)`` over the labels ℓ of each window, stride 1.

    Parameters
    ----------
    labels
        (H, W) integers.
    window
        Side of the window in pixels.

    Returns
    -------
    ndarray
        (H − window + 1, W − window + 1) float64, nats.

    Raises
    ------
    ValueError
        If the window is larger than the map or below 1.
    """
    return _core.sliding_entropy(np.ascontiguousarray(labels, np.int64), window)


def entropy(samples: TracedSamples, corpus: Corpus, window: int = WINDOW) -> Entropies:
    """Measure the entropy of image-ID maps and class maps.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they were made from.
    window
        Side of the sliding window in pixels; the paper's is 7.

    Returns
    -------
    Entropies
        One value a sample and map, each the mean over all windows; and their means.

    Raises
    ------
    ValueError
        If it is another corpus, or the window larger than the images.
    """
    check_traced(samples, corpus)
    ids = samples.trace.image_id

    def means(maps: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.array([entropy_map(one, window).mean() for one in maps])

    return Entropies(means(ids), None if corpus.labels is None else means(corpus.labels[ids]))
