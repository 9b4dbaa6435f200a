"""The model's equations once more, as plainly as NumPy lets them be said: what the core is compared with."""

from __future__ import annotations

import numpy as np


def gaussian(window, sigma):
    """Weights (w, w) of the window, centre 0."""
    reach = np.arange(window) - window // 2
    weights = np.exp(-(reach[:, None] ** 2 + reach[None] ** 2) / (2 * sigma**2))
    weights[window // 2, window // 2] = 0
    return weights


def distances(images, canvas, known, pixel, window, sigma, locality):
    """All candidates of a pixel as rows (distance, image, y, x), float64."""
    n, height, width, _ = images.shape
    half = window // 2
    pad = ((half, half), (half, half))
    weights = gaussian(window, sigma) * np.pad(known, pad)[pixel[0] :, pixel[1] :][:window, :window]
    ours = np.pad(canvas.astype(float), (*pad, (0, 0)), "edge")[pixel[0] :, pixel[1] :][:window, :window]
    theirs = np.pad(images.astype(float), ((0, 0), *pad, (0, 0)), "edge")
    rows = []
    for y in range(max(0, pixel[0] - locality), min(height, pixel[0] + locality + 1)):
        for x in range(max(0, pixel[1] - locality), min(width, pixel[1] + locality + 1)):
            squares = ((theirs[:, y : y + window, x : x + window] - ours) ** 2).mean(-1)  # (N, w, w)
            total = weights.sum()
            values = (squares * weights).sum((1, 2)) / total if total > 0 else np.zeros(n)
            rows += [(value, image, y, x) for image, value in enumerate(values)]
    return rows


def pool(images, canvas, known, pixel, config, ids=None):
    """The ordered pool of a pixel as rows (distance, image, y, x)."""
    rows = distances(images, canvas, known, pixel, config.window, config.gaussian_sigma, config.locality)
    # Distances that are equal in exact arithmetic may differ in their last bits: twelve digits count.
    rows = sorted((float(f"{row[0]:.11e}"), *row[1:]) for row in rows if ids is None or row[1] in ids)
    if config.candidates == "best":
        first = {}
        for row in rows:
            first.setdefault(row[1], row)
        rows = sorted(first.values())
    near = (1 + config.epsilon) * rows[0][0] * (1 + 1e-12)
    return [row for rank, row in enumerate(rows) if rank < config.k_min or row[0] <= near]
