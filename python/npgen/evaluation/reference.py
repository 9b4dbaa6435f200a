"""What samples and sets of real images are compared with: features of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.evaluation.features import Outputs
from npgen.evaluation.likelihood import feature_likelihood
from npgen.evaluation.metrics import (
    FrechetReference,
    KernelReference,
    Moments,
    NeighbourReference,
    Score,
    estimate,
    inception,
)

# KID is measured against at most this many images: their error is the same for all rows, and all pairs take time.
KERNEL_IMAGES = 10_000
# Images whose Gaussians the feature likelihood is of, at most: their number times that of training images takes time.
LIKELY_IMAGES = 2_000


@dataclass(frozen=True, eq=False)
class Reference:
    """Features of training images, as each score compares with them.

    Attributes
    ----------
    gaussian
        For the Fréchet distance, of `size` images.
    kernel
        For KID, of `kernel_size` images.
    likely
        For the feature likelihood, of the same images: (`kernel_size`, F).
    neighbours
        For precision and recall, of n images.
    """

    gaussian: FrechetReference
    kernel: KernelReference
    likely: NDArray[np.floating]
    neighbours: NeighbourReference
    size: int
    kernel_size: int

    @classmethod
    def of(cls, outputs: Outputs, chosen: NDArray[np.bool_], n: int, seed: int) -> Reference:
        """Make the reference of chosen training images: a mask (N,) over the outputs for all of them."""
        moments = Moments.of(outputs.features, chosen)
        size, kernel_size = moments.count, min(KERNEL_IMAGES, moments.count)
        kernel_ids, neighbour_ids = (
            np.flatnonzero(chosen)[draw_ids(size, (1, count), seed, 3)[0]] for count in (kernel_size, n)
        )
        return cls(
            FrechetReference(moments.gaussian()),
            KernelReference(outputs.features[kernel_ids]),
            outputs.features[kernel_ids],
            NeighbourReference(outputs.features[neighbour_ids]),
            size,
            kernel_size,
        )

    def likelihood(self, features: NDArray[np.floating], heldout: NDArray[np.floating]) -> float:
        """Return the feature likelihood divergence of images with features (n, F), or of the first `LIKELY_IMAGES`."""
        return feature_likelihood(features[:LIKELY_IMAGES], self.likely, heldout)

    def scores(self, sets: list[Outputs], groups: NDArray[np.int64]) -> dict[str, Any]:
        """Return the mean scores of disjoint sets of n images; the jackknife leaves out one of the groups (n,)."""
        scores: dict[str, list[Score]] = {}
        for outputs in sets:
            for name, score in self._scores_of_set(outputs, groups).items():
                scores.setdefault(name, []).append(score)
        estimates = {name: estimate(*zip(*pairs, strict=True)) for name, pairs in scores.items()}
        return {"draws": len(sets), "inception_score": None, **estimates}

    def _scores_of_set(self, outputs: Outputs, groups: NDArray[np.int64]) -> dict[str, Score]:
        features = outputs.features
        precision, recall = self.neighbours.precision_recall(features, groups)
        scores = {
            "frechet": self.gaussian.frechet(features, groups),
            "kid": self.kernel.kid(features, groups),
            "precision": precision,
            "recall": recall,
        }
        if outputs.probabilities is not None:
            scores["inception_score"] = inception(outputs.probabilities, groups)
        return scores


def draw_ids(count: int, shape: tuple[int, int], seed: int, stream: int) -> NDArray[np.int64]:
    """Draw disjoint sets of ids; each set ascending, so that a memory map is read forwards."""
    return np.sort(np.random.default_rng([seed, stream]).choice(count, shape, replace=False), axis=1)
