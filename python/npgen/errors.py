"""Checks of arguments, all with one wording: `<parameter> must be <what is allowed>, got <value>`.

A wrong type raises TypeError, a wrong value ValueError. Checks of numbers return a plain Python number, so that NumPy's
numbers need no further care.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeGuard

import numpy as np

# Seeds, and indices of samples, are unsigned 64-bit integers.
MOST_SEED = 2**64 - 1
# More than any machine has; guards against a number that was meant for another parameter.
MOST_THREADS = 1024


def invalid(parameter: str, allowed: str, got: object) -> ValueError:
    """Build the error for a bad argument.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    allowed
        What is accepted, as a phrase that follows "must be".
    got
        The value given.

    Returns
    -------
    ValueError
        For the caller to raise, so that the traceback ends at the check.
    """
    return ValueError(f"{parameter} must be {allowed}, got {got!r}")


def is_whole(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Return whether a value is a whole number, Python's or NumPy's; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_whole(
    parameter: str, got: object, least: int | None = None, most: int | None = None, *, allowed: str | None = None
) -> int:
    """Check that an argument is a whole number in a range.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    got
        The value given. NumPy's integers are whole numbers; True, False and floats such as 2.0 are not.
    least, most
        Smallest and largest value accepted; None sets no limit.
    allowed
        Phrase for the range in the message; None derives it from `least` and `most`.

    Returns
    -------
    int
        The number.

    Raises
    ------
    TypeError
        If it is not a whole number.
    ValueError
        If it is out of range.
    """
    if not is_whole(got):
        raise TypeError(f"{parameter} must be a whole number, got {got!r}")
    number = int(got)
    if (least is not None and number < least) or (most is not None and number > most):
        raise invalid(parameter, allowed or _whole_range(least, most), got)
    return number


def check_odd(parameter: str, got: object, least: int = 1, most: int | None = None) -> int:
    """Check that an argument is an odd whole number in a range; see `check_whole`."""
    allowed = f"odd, {_whole_range(least, most)}"
    number = check_whole(parameter, got, least, most, allowed=allowed)
    if number % 2 == 0:
        raise invalid(parameter, allowed, got)
    return number


def check_whole_tuple(
    parameter: str, got: object, names: str, least: int | None = None, most: int | None = None
) -> tuple[int, ...]:
    """Check that an argument is a tuple of whole numbers in a range.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    got
        The value given: a tuple, a list or a one-dimensional array.
    names
        What the numbers are, with commas between them: "y, x" for two.
    least, most
        Smallest and largest number accepted; None sets no limit.

    Returns
    -------
    tuple of int
        The numbers.

    Raises
    ------
    TypeError
        If it is not as many whole numbers as there are names.
    ValueError
        If a number is out of range.
    """
    values = tuple(got) if isinstance(got, tuple | list | np.ndarray) else ()
    if len(values) != len(names.split(", ")) or not all(map(is_whole, values)):
        raise TypeError(f"{parameter} must be whole numbers ({names}), got {got!r}")
    for value in values:
        check_whole(f"each of {parameter}", value, least, most)
    return tuple(map(int, values))


def check_number(
    parameter: str,
    got: object,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    allowed: str | None = None,
) -> float:
    """Check that an argument is a finite number in a range.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    got
        The value given: any number of Python's or NumPy's; True and False are not numbers.
    least, most
        Smallest and largest value accepted; None sets no limit.
    above, below
        Limits that are not accepted themselves; None sets no limit.
    allowed
        Phrase for the range in the message; None derives it from the limits.

    Returns
    -------
    float
        The number.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not finite or out of range.
    """
    if not isinstance(got, int | float | np.integer | np.floating) or isinstance(got, bool):
        raise TypeError(f"{parameter} must be a number, got {got!r}")
    try:
        number = float(got)
    except OverflowError:  # an int beyond the range of floats
        number = math.inf
    too_low = (least is not None and number < least) or (above is not None and number <= above)
    too_high = (most is not None and number > most) or (below is not None and number >= below)
    if too_low or too_high or not math.isfinite(number):
        raise invalid(parameter, allowed or _number_range(least, most, above, below), got)
    return number


def check_seed(got: object) -> int:
    """Check that an argument `seed` is a whole number in 0…2⁶⁴ − 1; return it.

    Raises
    ------
    TypeError, ValueError
        If it is not.
    """
    return check_whole("seed", got, 0, MOST_SEED)


def check_threads(got: object) -> int | None:
    """Check that an argument `threads` is None or a whole number in 1…`MOST_THREADS`; return it.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    return None if got is None else check_whole("threads", got, 1, MOST_THREADS)


def check_choice(parameter: str, got: object, choices: tuple[str, ...]) -> None:
    """Check that an argument is one of several strings.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    got
        The value given.
    choices
        What is accepted, at least one.

    Raises
    ------
    ValueError
        If it is none of them; the message lists them.
    """
    if not isinstance(got, str) or got not in choices:
        listed = [repr(choice) for choice in choices]
        raise invalid(parameter, " or ".join(listed) if len(listed) < 3 else "one of " + ", ".join(listed), got)


def check_type(parameter: str, got: object, *types: type) -> None:
    """Check the type of an argument at once, rather than fail later at an attribute that it lacks.

    Parameters
    ----------
    parameter
        Name of the parameter, as the caller wrote it.
    got
        The value given.
    *types
        Types that are accepted; `type(None)` for None.

    Raises
    ------
    TypeError
        If it is of none of them.
    """
    if not isinstance(got, types):
        names = " or ".join("None" if one is type(None) else one.__name__ for one in types)
        raise TypeError(f"{parameter} must be of type {names}, got {type(got).__name__}")


def check_name(name: object, parameter: str = "name") -> str:
    """Check that a string can be the name of a file or folder; return it.

    Parameters
    ----------
    name
        The value given.
    parameter
        Name of the parameter, as the caller wrote it.

    Raises
    ------
    TypeError
        If it is not a string.
    ValueError
        If it is not one path component, such as "..", "a/b" or "".
    """
    if not isinstance(name, str):
        check_type(parameter, name, str)
        raise AssertionError  # check_type has raised
    if name in ("", ".", "..") or any(character in name for character in "/\\\0") or not is_text(name):
        raise invalid(parameter, "one path component", name)
    return name


def is_text(string: str) -> bool:
    """Return whether a string can be written as UTF-8, which half of a surrogate pair cannot."""
    return string.encode("utf-8", "ignore").decode("utf-8") == string


def _whole_range(least: int | None, most: int | None) -> str:
    if most is None:
        return f"at least {least}"
    limit = "2⁶⁴ − 1" if most == MOST_SEED else str(most)
    return f"at most {limit}" if least is None else f"in {least}…{limit}"


def _number_range(least: float | None, most: float | None, above: float | None, below: float | None) -> str:
    if least is not None and most is not None:
        return f"in {least}…{most}"
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    given = [f"{phrase} {limit}" for phrase, limit in limits.items() if limit is not None]
    if not given:
        return "a finite number"
    return ("a number of " if given[0].startswith("at ") else "a number ") + " and ".join(given)
