"""One wording for every complaint: parameter, allowed range, value given."""

from __future__ import annotations

import math
import numbers

import numpy as np

# More than machines have; a number that was meant for something else must not exhaust one.
MOST_THREADS = 1024


def invalid(parameter: str, allowed: str, got: object) -> ValueError:
    """Build the error for a bad argument.

    Parameters
    ----------
    parameter
        Name as the caller wrote it.
    allowed
        What would have been accepted, as a phrase that follows "must be".
    got
        The value given.

    Returns
    -------
    ValueError
        For the caller to raise, so that tracebacks point at the check.
    """
    return ValueError(f"{parameter} must be {allowed}, got {got!r}")


def check_whole(parameter: str, got: object, least: int = -(2**64), most: int | None = None) -> None:
    """Complain unless an argument is a whole number in a range.

    Parameters
    ----------
    parameter
        Name as the caller wrote it.
    got
        The value given; NumPy's whole numbers are some, True and False are none.
    least, most
        Its range; None sets no upper limit.

    Raises
    ------
    TypeError
        If it is no whole number.
    ValueError
        If it is out of range.
    """
    if not isinstance(got, numbers.Integral) or isinstance(got, bool):
        raise TypeError(f"{parameter} must be a whole number, got {got!r}")
    if int(got) < least or (most is not None and int(got) > most):
        raise invalid(parameter, f"at least {least}" if most is None else f"in {least}…{most}", got)


def check_number(parameter: str, got: object, *, least: float | None = None, above: float | None = None) -> None:
    """Complain unless an argument is a number, and a finite one of a range if any is given.

    Parameters
    ----------
    parameter
        Name as the caller wrote it.
    got
        The value given; True and False are no numbers.
    least
        Smallest that is accepted.
    above
        What it must be above.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is out of range.
    """
    if not isinstance(got, int | float) or isinstance(got, bool):
        raise TypeError(f"{parameter} must be a number, got {got!r}")
    if least is not None and not least <= got < math.inf:
        raise invalid(parameter, f"a number of at least {least}", got)
    if above is not None and not above < got < math.inf:
        raise invalid(parameter, f"a number above {above}", got)


def check_type(parameter: str, got: object, *kinds: type) -> None:
    """Complain of an argument of the wrong type, before it shows in an attribute that is not there.

    Parameters
    ----------
    parameter
        Name as the caller wrote it.
    got
        The value given.
    *kinds
        Types that are accepted; `type(None)` for None.

    Raises
    ------
    TypeError
        If it is of none of them.
    """
    if not isinstance(got, kinds):
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TypeError(f"{parameter} must be of type {names}, got {type(got).__name__}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_name(name: str) -> None:
    """Check that a corpus can go by a name.

    Parameters
    ----------
    name
        Must be one path component: named corpora are folders.

    Raises
    ------
    ValueError
        If it is not.
    """
    check_type("name", name, str)
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0") or not _is_text(name):
        raise invalid("name", "one path component", name)


def _is_text(name: str) -> bool:
    """Tell whether a string can be written: half of a surrogate pair can't."""
    return name.encode("utf-8", "ignore").decode("utf-8") == name
