"""One wording for every complaint: parameter, allowed range, value given."""

from __future__ import annotations


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
