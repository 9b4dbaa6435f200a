"""Feature likelihood: a score that copies of training images make worse, not better.

FLD (Jiralerspong et al. 2023, arXiv 2302.04440) puts a Gaussian at the features of each generated image. Its width is
fitted to training images, so that it shrinks around an image that is near a training image; then the density at
held-out images, which lie elsewhere, is low.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Steps of expectation-maximisation; widths change by less than a hundredth after that.
STEPS = 20
# Smallest variance, in units of the features' own: a Gaussian around an exact copy would vanish.
LEAST_VARIANCE = 1e-4


def feature_likelihood(
    generated: NDArray[np.floating], training: NDArray[np.floating], heldout: NDArray[np.floating]
) -> float:
    """Return the feature likelihood divergence of generated images: less is better.

    ``FLD = −100/F · mean_x log 1/n Σ_j N(x; g_j, σ_j² I)`` over held-out features x, all features scaled to mean 0 and
    variance 1 over the training images. The variances maximise the likelihood of the training images; they are found by
    expectation-maximisation, ``σ_j² = Σ_i r_ij |x_i − g_j|² / (F Σ_i r_ij)``. The paper fits them by gradient descent.

    Parameters
    ----------
    generated
        (n, F), features of generated images.
    training, heldout
        (N, F) and (M, F), features of training images and of others.

    Returns
    -------
    float
        In hundredths of a nat per feature.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> training, heldout, fresh = random.normal(size=(3, 200, 4))
    >>> feature_likelihood(fresh, training, heldout) < feature_likelihood(training, training, heldout)
    True
    """
    mean, spread = training.mean(0, np.float64), training.std(0, dtype=np.float64)
    keep = spread > 0  # a feature that never varies says nothing

    def scaled(features: NDArray[np.floating]) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = (features.astype(np.float64)[:, keep] - mean[keep]) / spread[keep]
        return rows

    centres, width = scaled(generated), max(1, int(keep.sum()))
    to_training = _squared_distances(scaled(training), centres)  # (N, n)
    variances = np.maximum(to_training.min(0) / width, LEAST_VARIANCE)  # (n,)
    for _ in range(STEPS):
        logs = _log_densities(to_training, variances, width)
        logs -= logs.max(1, keepdims=True)
        shares = np.exp(logs)
        shares /= shares.sum(1, keepdims=True)  # (N, n)
        totals = shares.sum(0)
        fitted = np.einsum("ij,ij->j", shares, to_training) / (width * np.maximum(totals, 1e-300))
        # A Gaussian that no training image counts for keeps its width.
        variances = np.maximum(np.where(totals > 1e-12, fitted, variances), LEAST_VARIANCE)
    logs = _log_densities(_squared_distances(scaled(heldout), centres), variances, width)
    most = logs.max(1, keepdims=True)
    likelihood = most[:, 0] + np.log(np.exp(logs - most).mean(1))
    return float(-100 / width * likelihood.mean())


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    products = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    squared: NDArray[np.float64] = np.maximum(products, 0)
    return squared


def _log_densities(squared: NDArray[np.float64], variances: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = -squared / (2 * variances) - width / 2 * np.log(2 * np.pi * variances)
    return logs
