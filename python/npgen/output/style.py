"""Style of plots: colours, markers, sizes, and how they are saved."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
# Settings of matplotlib that are of the process, and not of what it draws.
_OF_THE_PROCESS = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "timezone", "date.epoch"})
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


@contextlib.contextmanager
def own_style(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw and save under matplotlib's defaults and `STYLE` alone, whatever settings the user has, inside a block.

    A user's `matplotlibrc`, styles and changes to `matplotlib.rcParams` have no influence, so that the same data give
    the same bytes for everybody; afterwards they are as they were.

    Parameters
    ----------
    more
        Settings besides `STYLE`.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)
        defaults: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
        own = {key: value for key, value in defaults.items() if key not in _OF_THE_PROCESS}
        matplotlib.rcParams.update(own | STYLE | dict(more or {}))
        yield


def figure_bytes(figure: Figure, format: str, metadata: Mapping[str, str | None]) -> bytes:
    """Return a figure as a file of a format, "png", "svg" or "pdf", drawn by matplotlib's own backend for it."""
    data = io.BytesIO()
    backend = "agg" if format == "png" else format
    figure.savefig(data, format=format, metadata=dict(metadata), backend=backend)
    return data.getvalue()


def save_figure(figure: Figure, path: Path, metadata: dict[str, Any]) -> None:
    """Write a figure atomically, in the format given by the suffix of the path."""
    write_bytes(path, figure_bytes(figure, path.suffix[1:], metadata))


def interval_bars(rows: Sequence[Row], key: str) -> list[list[float]] | None:
    """Return the lengths (2, rows) of a measurement's error bars, below and above; None if a row has no interval."""
    if any(row.get(f"{key}_low") is None or row.get(f"{key}_high") is None for row in rows):
        return None
    return [[row[key] - row[f"{key}_low"] for row in rows], [row[f"{key}_high"] - row[key] for row in rows]]
