"""What samples and sets of real images are compared with: features of training images."""

from __future__ import annotations

import math
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
LIKELY_IMAGES = 1_000


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
        For the feature likelihood, of all N training images, (N, F): a copy is found beside its original only.
    heldout
        Features (M, F) of held-out images, at most `KERNEL_IMAGES` of them, whose likelihood is taken.
    counted
        (m,) which of n images have Gaussians: all, or `LIKELY_IMAGES` of them drawn at random, as drawn sets of real
        images are in the order of the corpus, which may be that of its classes.
    baseline
        The value for these of n training images, fitted to all others.
    neighbours
        For precision and recall, of n images.
    """

    gaussian: FrechetReference
    kernel: KernelReference
    likely: NDArray[np.floating]
    heldout: NDArray[np.floating]
    counted: NDArray[np.int64]
    baseline: float
    neighbours: NeighbourReference
    size: int
    kernel_size: int

    @classmethod
    def of(
        cls, training: Outputs, chosen: NDArray[np.bool_], heldout: Outputs, drawn: NDArray[np.int64], seed: int
    ) -> Reference:
        """Make the reference of training images.

        Parameters
        ----------
        training, heldout
            Outputs for all N training images, and for held-out images.
        chosen
            (N,) mask: the training images of the reference.
        drawn
            (n,) ids of training images drawn at random that are not chosen.
        seed
            Seed of the draws.
        """
        outputs, of_heldout, n = training.features, heldout.features[:KERNEL_IMAGES], len(drawn)
        moments = Moments.of(outputs, chosen)
        size, kernel_size = moments.count, min(KERNEL_IMAGES, moments.count)
        kernel_ids, neighbour_ids = (
            np.flatnonzero(chosen)[draw_ids(size, (1, count), seed, 3)[0]] for count in (kernel_size, n)
        )
        counted = draw_ids(n, (1, min(n, LIKELY_IMAGES)), seed, 4)[0]
        few = drawn[counted]
        baseline = feature_likelihood(outputs[few], np.delete(outputs, few, axis=0), of_heldout).heldout
        return cls(
            FrechetReference(moments.gaussian()),
            KernelReference(outputs[kernel_ids]),
            outputs,
            of_heldout,
            counted,
            baseline,
            NeighbourReference(outputs[neighbour_ids]),
            size,
            kernel_size,
        )

    def likelihood(self, features: NDArray[np.floating]) -> dict[str, float]:
        """Return the feature likelihood divergence of images with features (n, F), and its generalisation gap."""
        found = feature_likelihood(features[self.counted], self.likely, self.heldout)
        return {
            "feature_likelihood": found.heldout - self.baseline,
            "feature_likelihood_gap": found.training - found.heldout,
        }

    def scores(self, sets: list[Outputs], groups: NDArray[np.int64]) -> dict[str, Any]:
        """Return the mean scores of disjoint sets of n images; the jackknife leaves out one of the groups (n,)."""
        scores: dict[str, list[Score]] = {}
        for outputs in sets:
            for name, score in self._scores_of_set(outputs, groups).items():
                scores.setdefault(name, []).append(score)
        probabilities = sets[0].probabilities
        ranges = {
            "frechet": (0, math.inf),
            "kid": (-math.inf, math.inf),  # unbiased, so that it may be negative
            "precision": (0, 1),
            "recall": (0, 1),
            "inception_score": (1, math.inf if probabilities is None else probabilities.shape[1]),
        }
        estimates = {}
        for name, pairs in scores.items():
            values, left_out = zip(*pairs, strict=True)
            estimates[name] = estimate(values, left_out, *ranges[name])
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
