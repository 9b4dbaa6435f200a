"""Limits of a training: how long it lasts, and how often its unfinished network is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npgen.errors import check_number, invalid


@dataclass(frozen=True)
class Limits:
    """How long a training lasts, and how often it writes its network before it is finished.

    Parameters
    ----------
    seconds
        Time that the recipe's schedule is stretched or shrunk to; only steps count, not what is written between them.
        None: all epochs of the recipe.
    snapshot_every
        Seconds between snapshots; None for none.

    Raises
    ------
    ValueError
        If a number is not above 0.
    """

    seconds: float | None = None
    snapshot_every: float | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "snapshot_every"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)

    def check_same(self, path: Path, found: Any) -> None:
        """Check the time limit of the training that a file comes from."""
        if found != self.seconds:
            remedy = "choose another path, or pass resume=False to replace it"
            raise invalid("seconds", f"those that {str(path)!r} was trained for, {found} ({remedy})", self.seconds)
