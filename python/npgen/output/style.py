"""Style of plots: colours, markers, sizes, and how they are saved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npgen.output.tables import Row
from npgen.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette for colour-blind readers, without its yellow and light blue, which are too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
MARKERS = "osD^vP"
GREY = "#777777"
# Inches: the column width of most two-column formats.
WIDTH = 3.35
STYLE: Any = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "svg.hashsalt": "npgen",  # same rows, same bytes
}


def save_figure(figure: Figure, path: Path, metadata: dict[str, Any]) -> None:
    """Write a figure atomically, in the format given by the suffix of the path."""
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix[1:], metadata=metadata)
    write_bytes(path, data.getvalue())


def interval_bars(rows: Sequence[Row], key: str) -> list[list[float]] | None:
    """Return the lengths (2, rows) of a measurement's error bars, below and above; None if a row has no interval."""
    if any(row.get(f"{key}_low") is None or row.get(f"{key}_high") is None for row in rows):
        return None
    return [[row[key] - row[f"{key}_low"] for row in rows], [row[f"{key}_high"] - row[key] for row in rows]]
