"""Schedules: noise at each time, the DDIM step between two times, and the windows that Kamb and Ganguli released."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import check_odd, check_whole, invalid

# Window sides calibrated to trained networks, one per step; step 0 is never taken, the last step is the noisiest.
RELEASED = {
    "cifar10-resnet": (3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 11, 13, 15, 17, 17, 17),
    "cifar10-resnet-circular": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15, 15),
    "cifar10-unet": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 13, 13, 15, 17, 25),
    "mnist-resnet": (3, 3, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 11, 11, 13, 15, 15, 15, 15, 15),
    "mnist-unet": (3, 3, 3, 5, 5, 7, 7, 7, 9, 9, 9, 11, 13, 15, 17, 21, 23, 23, 25, 27),
    "fashion-mnist-resnet": (3, 3, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 13, 13, 15, 15, 15, 17, 17),
}

# Time of the initial noise of a diffusion network, whatever its number of steps.
LATEST = 0.95


def levels(time: float) -> tuple[float, float]:
    """Return the levels of signal and noise in a canvas x = a·x₀ + b·ε at a time.

    Parameters
    ----------
    time
        From 0, no noise, to 1.

    Returns
    -------
    a, b : float
        Levels of signal and noise; their squares add up to 1.

    Examples
    --------
    >>> levels(0.0)
    (1.0, 0.0)
    """
    angle = math.pi * time / 2.016
    return math.cos(angle), math.sin(angle)


def ddim_step(
    canvases: NDArray[np.floating[Any]], mean: NDArray[np.floating[Any]], time: float, next_time: float
) -> NDArray[np.float64]:
    """Take one deterministic DDIM step (Song et al., arXiv 2010.02502, equation 12 with σ = 0).

    Parameters
    ----------
    canvases
        (B, H, W, C): x = a·x₀ + b·ε at `time`.
    mean
        (B, H, W, C): the denoised canvases x̂₀.
    time, next_time
        Times of the canvases before and after the step, as for `levels`.

    Returns
    -------
    ndarray
        (B, H, W, C) float64: the canvases at `next_time`.
    """
    (a, b), (next_a, next_b) = levels(time), levels(next_time)
    noise = (canvases - a * mean) / b  # ε̂
    stepped: NDArray[np.float64] = next_a * mean + next_b * noise
    return stepped


def rotation_of(step: int) -> int:
    """Return the `rotation` of a step's systematic sample of images: each step has another sample."""
    return 37 * step


def windows_of(windows: str | Sequence[int], steps: int, widest: int | None = None) -> tuple[int, ...]:
    """Return the window sides of all steps, from the name of a schedule or a list, which is checked.

    Parameters
    ----------
    windows
        Name of a released schedule, or one odd side for each of the steps 0…`steps` − 1, of which 0 is not used.
    steps
        Number of steps, at least 2. If it is not 20, a released schedule is read at the same times.
    widest
        Side of a window that holds the whole image from anywhere in it; wider ones of a released schedule are as good
        as this. None sets no limit.

    Returns
    -------
    tuple of int
        One side per step.

    Raises
    ------
    ValueError
        If there is no such schedule, or a number is out of range.
    TypeError
        If the sides are not whole numbers.

    Examples
    --------
    >>> windows_of("mnist-resnet", 5)
    (3, 5, 9, 11, 15)
    """
    steps = check_whole("steps", steps, 2, 1000)
    if isinstance(windows, str):
        if windows not in RELEASED:
            raise invalid("windows", f"one of {', '.join(RELEASED)}, or a list of sides", windows)
        released = RELEASED[windows]
        sides = (released[round(step * len(released) / steps)] for step in range(steps))
        return tuple(side if widest is None else min(side, widest) for side in sides)
    given = tuple(check_odd("each of windows", side) for side in windows)
    if len(given) != steps:
        raise invalid("windows", f"{steps} sides, one per step", len(given))
    return given
