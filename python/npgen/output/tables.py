"""Tables of results: rows of named values to Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A row of a table: values by name.
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    head
        Heading.
    cell
        Returns the text of a row's cell, or None if the row has no value for it.
    """

    head: str
    cell: Callable[[Row], str | None]


def number(head: str, key: str, form: str, *, interval: bool = True) -> Column:
    """Return the column of a number, followed by its interval in brackets if rows have `<key>_low` and `<key>_high`.

    Parameters
    ----------
    head
        Heading.
    key
        Name of the value in rows.
    form
        Format specification, such as ".2f".
    interval
        Whether to show the interval.

    Returns
    -------
    Column
        The column.
    """

    def cell(row: Row) -> str | None:
        value, low, high = (row.get(key + bound) for bound in ("", "_low", "_high"))
        if value is None:
            return None
        return format(value, form) + (
            "" if low is None or high is None or not interval else f" [{low:{form}}, {high:{form}}]"
        )

    return Column(head, cell)


def quality_columns() -> list[Column]:
    """Return the columns of the scores that compare samples with real images."""
    return [
        number("IS", "inception_score", ".2f"),
        number("IS over held-out", "inception_score_over_heldout", ".3f", interval=False),
        number("Fréchet", "frechet", ".2f"),
        number("Fréchet over training", "frechet_over_training", ".2f", interval=False),
        number("nearest-training ratio", "nearest_ratio", ".2f"),
        number("near copies", "near_copies", ".1%"),
    ]


def markdown_table(columns: Sequence[Column], rows: Iterable[Row], words: int = 1) -> str:
    """Return a Markdown table.

    Parameters
    ----------
    columns
        The columns; those without a value in any row are left out.
    rows
        The rows.
    words
        Number of columns that are aligned left, from the first on; the others are aligned right.

    Returns
    -------
    str
        The table, without a line break at the end.
    """
    cells = [[column.cell(row) for column in columns] for row in rows]
    used = [k for k in range(len(columns)) if any(line[k] is not None for line in cells)]
    lines = [[columns[k].head for k in used], ["---" if k < words else "--:" for k in used]]
    lines += [[line[k] or "–" for k in used] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as UTF-8 CSV with a column for each name in any row; None and missing values are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
