"""Kamb and Ganguli's released settings: how noisy each step is, and how far it looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from npgen.errors import check_odd, check_whole, invalid

# Windows calibrated to trained networks, by step; step 0 is never taken, the last one is the noisiest.
RELEASED = {
    "cifar10-resnet": (3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 11, 13, 15, 17, 17, 17),
    "cifar10-resnet-circular": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15, 15),
    "cifar10-unet": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 13, 13, 15, 17, 25),
    "mnist-resnet": (3, 3, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 11, 11, 13, 15, 15, 15, 15, 15),
    "mnist-unet": (3, 3, 3, 5, 5, 7, 7, 7, 9, 9, 9, 11, 13, 15, 17, 21, 23, 23, 25, 27),
    "fashion-mnist-resnet": (3, 3, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 13, 13, 15, 15, 15, 17, 17),
}

# The time that start noise is taken for, whatever the number of steps of a network.
LATEST = 0.95


def levels(time: float) -> tuple[float, float]:
    """Tell how much of image and of noise a canvas holds: x = a·x₀ + b·ε.

    Parameters
    ----------
    time
        From 0, no noise, to 1.

    Returns
    -------
    a, b : float
        Their squares add up to 1.
    """
    angle = math.pi * time / 2.016
    return math.cos(angle), math.sin(angle)


def windows_of(windows: str | Sequence[int], steps: int) -> tuple[int, ...]:
    """Look up or check the windows of a run.

    Parameters
    ----------
    windows
        Name of a released schedule, or one odd side for each of the steps 0…`steps` − 1, of which 0 is not used.
    steps
        Number of steps, at least 2. With other than 20, a released schedule is read at the same times.

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
    """
    steps = check_whole("steps", steps, 2, 1000)
    if isinstance(windows, str):
        if windows not in RELEASED:
            raise invalid("windows", f"one of {', '.join(RELEASED)}, or a list of sides", windows)
        released = RELEASED[windows]
        return tuple(released[round(step * len(released) / steps)] for step in range(steps))
    sides = tuple(check_odd("each of windows", side) for side in windows)
    if len(sides) != steps:
        raise invalid("windows", f"{steps} sides, one per step", len(sides))
    return sides
