"""Tables of studies: rows by name in, Markdown and CSV out."""

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
        What it says above.
    cell
        Writes a row's cell; None where the row has nothing to say.
    """

    head: str
    cell: Callable[[Row], str | None]


def number(head: str, key: str, form: str, *, interval: bool = True) -> Column:
    """Make the column of a number, its interval behind it in brackets if the row has `<key>_low` and `<key>_high`."""

    def cell(row: Row) -> str | None:
        value, low, high = (row.get(key + bound) for bound in ("", "_low", "_high"))
        if value is None:
            return None
        return format(value, form) + (
            "" if low is None or high is None or not interval else f" [{low:{form}}, {high:{form}}]"
        )

    return Column(head, cell)


def quality_columns() -> list[Column]:
    """Make the columns of the scores that need real images."""
    return [
        number("IS", "inception_score", ".2f"),
        number("IS over held-out", "inception_score_over_heldout", ".3f", interval=False),
        number("Fréchet", "frechet", ".2f"),
        number("Fréchet over training", "frechet_over_training", ".2f", interval=False),
        number("nearest-training ratio", "nearest_ratio", ".2f"),
        number("near copies", "near_copies", ".1%"),
    ]


def markdown_table(columns: Sequence[Column], rows: Iterable[Row], words: int = 1) -> str:
    """Lay rows out as a Markdown table; the first `words` columns flush left. Columns without any cell are left out."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    used = [k for k in range(len(columns)) if any(line[k] is not None for line in cells)]
    lines = [[columns[k].head for k in used], ["---" if k < words else "--:" for k in used]]
    lines += [[line[k] or "–" for k in used] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Write rows as UTF-8 CSV under the names of all their values; None and missing values are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
