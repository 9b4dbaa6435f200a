"""Feature likelihood: a score that copies of training images make worse, not better.

FLD (Jiralerspong et al. 2023, arXiv 2302.04440) puts a Gaussian at the features of each generated image and fits its
width to training images. A Gaussian at a copy shrinks to nothing, so it says nothing about held-out images, and their
density is low. In the fit, a background explains the training images that no generated image is near: without it,
Gaussians at copies stay wide to cover those, and copies go unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Steps of expectation-maximisation. On CIFAR-10 the score of 300 images changes by less than .03 after 5.
STEPS = 10
# Smallest variance, in units of the features' own: a Gaussian at an exact copy would vanish.
LEAST_VARIANCE = 1e-4
# The background counts distances to the mean as smaller by this factor, as the authors' code does.
BACKGROUND_NEARER = 0.9
# Largest number of distances in a block, and of all distances that are kept from step to step.
BLOCK_VALUES = 1 << 23
KEPT_VALUES = 1 << 27

Blocks = Callable[[], Iterator[tuple[slice, NDArray[np.float32]]]]


class FeatureLikelihood(NamedTuple):
    """Minus the log-likelihood of images under Gaussians around generated ones, hundredths of a nat per feature.

    Attributes
    ----------
    heldout, training
        Mean over held-out and over training images. If `training` is much smaller, training images were copied.
    """

    heldout: float
    training: float


def feature_likelihood(
    generated: NDArray[np.floating], training: NDArray[np.floating], heldout: NDArray[np.floating]
) -> FeatureLikelihood:
    """Return how unlikely real images are under Gaussians around generated ones, whose widths training images decide.

    ``−100/F · mean_x log 1/n Σ_j N(x; g_j, σ_j² I)``, all features scaled to mean 0 and variance 1 over the held-out
    images. The variances maximise the likelihood of the training images under these Gaussians and a background
    ``N(x; m, s² I)`` of weight 1 around their mean m, with distances ``.9 |x − m|``. The authors fit them by gradient
    descent; here by expectation-maximisation, from ``σ_j² = min_i |x_i − g_j|² / F`` and s² = 1:
    ``σ_j² = Σ_i r_ij |x_i − g_j|² / (F Σ_i r_ij)``, r_ij the share of Gaussian j in the density at x_i. No variance is
    below 1e-4. FLD is the difference from the same value for real images; see `Scores.feature_likelihood`.

    Time and memory grow with N n; distances are computed in blocks.

    Parameters
    ----------
    generated
        (n, F), features of generated images.
    training, heldout
        (N, F) and (M, F), features of training images, copied ones among them, and of others.

    Returns
    -------
    FeatureLikelihood
        Of held-out and of training images.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> training, heldout, fresh = random.normal(size=(3, 200, 4))
    >>> score = feature_likelihood(fresh, training, heldout).heldout
    >>> score < feature_likelihood(training[:100], training, heldout).heldout
    True
    """
    mean, spread = heldout.mean(0, np.float64), heldout.std(0, dtype=np.float64)
    varies = spread > 0  # a feature that never varies says nothing

    def scaled(features: NDArray[np.floating]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = ((features[:, varies] - mean[varies]) / spread[varies]).astype(np.float32)
        return rows

    centres, of_training, of_heldout = scaled(generated), scaled(training), scaled(heldout)
    to_training = _blocks(of_training, centres)
    variances = _fit(of_training, to_training, centres)
    return FeatureLikelihood(
        _unlikelihood(_blocks(of_heldout, centres), variances, centres.shape[1]),
        _unlikelihood(to_training, variances, centres.shape[1]),
    )


def _fit(images: NDArray[np.float32], to_centres: Blocks, centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the variances (n,) of the Gaussians, given images (N, F) and their distances from the centres."""
    count, width = len(centres), max(1, centres.shape[1])
    to_mean = np.float32(BACKGROUND_NEARER**2) * ((images - images.mean(0)) ** 2).sum(1)  # (N,)
    nearest = np.full(count, np.inf, np.float32)
    for _, squared in to_centres():
        nearest = np.minimum(nearest, squared.min(0))
    variances: NDArray[np.float32] = np.maximum(nearest / width, np.float32(LEAST_VARIANCE))  # (n,)
    background = 1.0
    for _ in range(STEPS):
        totals, sums, background_total, background_sum = np.zeros(count), np.zeros(count), 0.0, 0.0
        for rows, squared in to_centres():
            # 1. The share of each Gaussian and of the background in the density at each image.
            logs = _log_densities(squared, variances, width) - np.float32(np.log(count))  # (B, n)
            of_background = _log_densities(to_mean[rows], np.float32(background), width)  # (B,)
            most = np.maximum(logs.max(1), of_background)
            shares, rest = np.exp(logs - most[:, None]), np.exp(of_background - most)
            density = shares.sum(1) + rest
            shares /= density[:, None]
            rest /= density
            # 2. Sums over the images, by share.
            totals += shares.sum(0)
            sums += np.einsum("ij,ij->j", shares, squared)
            background_total += float(rest.sum(dtype=np.float64))
            background_sum += float((rest * to_mean[rows]).sum(dtype=np.float64))
        # A Gaussian that no training image counts for keeps its width.
        counted = totals > 1e-12
        fitted = np.where(counted, sums / (width * np.where(counted, totals, 1)), variances)
        variances = np.asarray(np.maximum(fitted, LEAST_VARIANCE), np.float32)
        if background_total > 1e-12:
            background = max(background_sum / (width * background_total), LEAST_VARIANCE)
    return variances


def _unlikelihood(to_centres: Blocks, variances: NDArray[np.float32], width: int) -> float:
    """Return minus the mean log-likelihood of images, hundredths of a nat per feature."""
    total, images = 0.0, 0
    for _, squared in to_centres():
        logs = _log_densities(squared, variances, width)
        most = logs.max(1)
        total += float((most + np.log(np.exp(logs - most[:, None]).mean(1))).sum(dtype=np.float64))
        images += len(squared)
    return -100 / max(1, width) * total / images


def _blocks(images: NDArray[np.float32], centres: NDArray[np.float32]) -> Blocks:
    """Return a function that yields the squared distances (B, n) of consecutive images, each time it is called."""
    step = max(1, BLOCK_VALUES // len(centres))
    parts = [slice(start, min(start + step, len(images))) for start in range(0, len(images), step)]
    norms = (centres**2).sum(1)

    def squared(part: slice) -> NDArray[np.float32]:
        rows = images[part]
        found: NDArray[np.float32] = np.maximum((rows**2).sum(1)[:, None] + norms - 2 * (rows @ centres.T), 0)
        return found

    if len(images) * len(centres) <= KEPT_VALUES:
        kept = [(part, squared(part)) for part in parts]
        return lambda: iter(kept)
    return lambda: ((part, squared(part)) for part in parts)


def _log_densities(
    squared: NDArray[np.float32], variances: NDArray[np.float32] | np.float32, width: int
) -> NDArray[np.float32]:
    logs: NDArray[np.float32] = squared * (np.float32(-0.5) / variances)
    logs -= np.float32(width / 2) * np.log(np.float32(2 * np.pi) * variances)
    return logs
