"""Sliding-window entropies of source maps: the paper's signature of part–whole generalisation (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.runs import TracedSamples, check_traced

# Side of the sliding window in pixels, as in the paper.
WINDOW = 7


@dataclass(frozen=True, eq=False)
class Entropies:
    """Sliding-window entropies of n samples, in nats.

    Attributes
    ----------
    image_id
        (n,) float64, entropies of the image-ID maps. High if the pixels of a window come from many images.
    class_map
        (n,) float64, entropies of the class maps, or None if the corpus has no labels. Low if the pixels of a window
        come from images of one class.
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
    """Compute the entropy of the labels in each window of a map.

    ``H = −Σ_ℓ p(ℓ) ln p(ℓ)``, where p(ℓ) is the share of label ℓ in the window; stride 1.

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

    Examples
    --------
    Two labels in equal shares have the entropy ln 2:

    >>> npgen.entropy_map(np.array([[0, 0, 1], [0, 0, 1]]), window=2).round(3)
    array([[0.   , 0.693]])
    """
    return _core.sliding_entropy(np.ascontiguousarray(labels, np.int64), window)


def entropy(samples: TracedSamples, corpus: Corpus, window: int = WINDOW) -> Entropies:
    """Compute the mean sliding-window entropy of each sample's image-ID map and class map.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    window
        Side of the sliding window in pixels; 7 in the paper.

    Returns
    -------
    Entropies
        One value per sample and kind of map, the mean over all windows.

    Raises
    ------
    ValueError
        If the samples were made from another corpus, or the window is larger than the images.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 2, "class", npgen.Config(window=5), progress=False)
    >>> found = npgen.entropy(samples, corpus)
    >>> found.image_id.shape, found.mean_class  # all sources are of the seed's class
    ((2,), 0.0)
    """
    check_traced(samples, corpus)
    ids = samples.trace.image_id

    def means(maps: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.array([entropy_map(one, window).mean() for one in maps])

    return Entropies(means(ids), None if corpus.labels is None else means(corpus.labels[ids]))
