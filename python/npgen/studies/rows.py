"""Rows of a study that are stored one by one, so that an interrupted study resumes and a larger one adds to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npgen.errors import invalid
from npgen.output import Row
from npgen.storage import write_json


def row_file(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Return the file of a row in a study's folder.

    Parameters
    ----------
    folder
        The study's folder.
    facts
        All facts that decide the row, JSON-able: its name is their hash.

    Returns
    -------
    Path
        `rows/<hash>.json`.
    """
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return folder / "rows" / f"{key}.json"


def check_row(file: Path, row: Any, names: set[str]) -> Row:
    """Return a row read from a file; raise ValueError unless it has values of these names."""
    if not isinstance(row, dict) or not names <= set(row):
        got = sorted(row) if isinstance(row, dict) else row
        raise invalid(f"row {str(file)!r}", "as it was written (delete it to have it made again)", got)
    return row


def write_row(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file of a row, atomically."""
    file.parent.mkdir(exist_ok=True)
    write_json(file, content)
