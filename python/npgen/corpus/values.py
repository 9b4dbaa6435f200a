"""The range of pixel values: which value of a source stands for white."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npgen.errors import check_number


def check_white(white: object) -> float | None:
    """Check that an argument `white` is None or a positive number; return it.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    return None if white is None else check_number("white", white, above=0)


def scaled(array: npt.NDArray[Any], white: float) -> npt.NDArray[np.uint8]:
    """Scale values so that `white` becomes 255.

    Parameters
    ----------
    array
        Numbers from 0 to `white`, of any shape and of an integer or float dtype.
    white
        The value that stands for white, above 0.

    Returns
    -------
    np.ndarray
        The same shape, uint8: ``round(255 · value / white)``.

    Raises
    ------
    ValueError
        If a value is not finite or not in 0…`white`.
    """
    if array.size:
        low, high = array.min(), array.max()  # not-a-number if any value is not-a-number
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"images must be finite, got values from {low} to {high}")
        if low < 0 or high > white:
            raise ValueError(f"images must be from 0 to white, {white:g}, got values from {low} to {high}")
    if white == 255 and array.dtype == np.uint8:
        return array
    return np.rint(array.astype(np.float64) * (255 / white)).astype(np.uint8)


def doubtful_range(source: str) -> ValueError:
    """Return the error for images whose values are all 0 or 1: these may be black and white, or all but black."""
    return ValueError(
        f"white must be given for images whose values are all 0 or 1, as {source} has, got None: is 1 white, or all "
        "but black? --white 1 makes 1 white, --white 255 takes values as they are (white=1, white=255)"
    )
