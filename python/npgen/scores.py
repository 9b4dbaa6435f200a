"""Inception Score and Fréchet distance, whatever network the probabilities and features come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of products of feature vectors: from them follow the Gaussians of any subset.

    Attributes
    ----------
    count
        How many vectors.
    total
        Their sum (F,), float64.
    product
        Sum of their outer products (F, F), float64.
    """

    count: int
    total: NDArray[np.float64]
    product: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Moments:
        """Add up feature vectors (n, F)."""
        exact = features.astype(np.float64)
        return cls(len(exact), exact.sum(0), exact.T @ exact)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets together."""
        return Moments(self.count + other.count, self.total + other.total, self.product + other.product)

    def __sub__(self, other: Moments) -> Moments:
        """Moments of what is left without a subset."""
        return Moments(self.count - other.count, self.total - other.total, self.product - other.product)

    def gaussian(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean (F,) and unbiased covariance (F, F); needs a count of 2 or more."""
        mean = self.total / self.count
        return mean, (self.product - np.outer(mean, self.total)) / (self.count - 1)


def inception_score(probabilities: NDArray[np.float64]) -> float:
    """Inception Score, in one split.

    Parameters
    ----------
    probabilities
        (n, K) class probabilities of n images.

    Returns
    -------
    float
        exp of the mean over images of KL(p(class | image) ‖ p(class)): 1 to K.
    """
    mean = probabilities.mean(0)
    positive = probabilities > 0  # 0 · log 0 is 0; the mean is positive where any probability is
    logs = np.log(probabilities, where=positive, out=np.zeros_like(probabilities))
    log_mean = np.log(mean, where=mean > 0, out=np.zeros_like(mean))
    return float(np.exp((probabilities * (logs - log_mean)).sum(1).mean()))


def frechet_distance(
    first: tuple[NDArray[np.float64], NDArray[np.float64]],
    second: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    """Fréchet distance of two Gaussians: ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½).

    Parameters
    ----------
    first, second
        Mean (F,) and covariance (F, F), float64. Covariances may be of low rank, as those of few images are.

    Returns
    -------
    float
        At least 0.
    """
    (mean1, covariance1), (mean2, covariance2) = first, second
    # The trace of that root is the sum of singular values of Σ₁^½ Σ₂^½, which squares no rounding error.
    overlap = np.linalg.svd(_root(covariance1) @ _root(covariance2), compute_uv=False).sum()
    difference = mean1 - mean2
    distance = difference @ difference + np.trace(covariance1) + np.trace(covariance2) - 2 * overlap
    return max(0.0, float(distance))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(0))) @ vectors.T  # below 0 by rounding alone
    return root
