"""Plot and page of the frontier. Imports matplotlib: import it only to draw."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from npgen.output import COLOURS, GREY, KEY, WIDTH, Column, Row, own_style, provenance_text, save_figure
from npgen.storage import write_bytes

# Measures of novelty: key, name of the axis, its scale. Shares are drawn by their roots: most near copies are few.
NOVELTY = (
    ("effective_sources", "effective sources", "log"),
    ("largest_share", "largest share of one image", "linear"),
    ("near_copies", "near copies", "root"),
)
# Distance between two lines of text, as a share of the panel's height.
LINE = 0.045
CSS = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
.scroll { overflow-x: auto; } img { max-width: 100%; } tr.control { color: GrayText; } tr.best { font-weight: 600; }
:root { color-scheme: light dark; } img { background: white; }
"""


def save_plots(rows: Sequence[Row], folder: Path, facts: Mapping[str, Any]) -> None:
    """Draw the Fréchet distance over each measure of novelty as `frontier.png` and `frontier.svg`.

    Parameters
    ----------
    rows, facts
        As in `npgen.Frontier`.
    folder
        Folder of the files.
    """
    with own_style():
        figure = Figure(figsize=(2 * WIDTH, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(NOVELTY), sharey=True, width_ratios=(1.5, 1, 1))
        for axes, (key, label, scale) in zip(panels, NOVELTY, strict=True):
            _draw(axes, rows, key, label, scale)
        _name_points(panels[0], rows, NOVELTY[0][0])
        panels[0].set_ylabel("Fréchet distance")
        panels[0].legend(loc="upper left", fontsize=6)
        facts = {"npgen": version("npgen"), **facts}
        save_figure(figure, folder / "frontier.png", {"Software": None, KEY: provenance_text(facts)})
        save_figure(figure, folder / "frontier.svg", {"Date": None})


def _draw(axes: Axes, rows: Sequence[Row], key: str, label: str, scale: str) -> None:
    kinds: list[tuple[str, str, str, Callable[[Row], bool]]] = [
        ("settings", "o", COLOURS[0], lambda row: row["kind"] == "setting" and not row["best"]),
        ("best at equal novelty", "*", COLOURS[1], lambda row: bool(row.get("best"))),
        ("controls", "x", GREY, lambda row: row["kind"] == "control"),
    ]
    for name, marker, colour, of_kind in kinds:
        points = [row for row in rows if of_kind(row)]
        x, y = ([row[axis] for row in points] for axis in (key, "frechet"))
        axes.plot(x, y, marker, color=colour, label=name, linestyle="none", markersize=7 if marker == "*" else 4)
    for row in rows:
        if row["kind"] == "real":
            axes.axhline(row["frechet"], color=GREY, linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    if scale == "root":
        axes.set_xscale("function", functions=(np.sqrt, np.square))
        axes.set_xlim(0)
        axes.set_xticks((0, 0.02, 0.1, 0.3, 1), ("0", ".02", ".1", ".3", "1"))
    if scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.margins(0.12)


def _name_points(axes: Axes, rows: Sequence[Row], key: str) -> None:
    """Write the names of settings at the right of the panel, and those of controls at its left, each with a line."""
    low, high = np.log(axes.get_ylim())
    for kind, x, alignment in (("setting", 1.03, "left"), ("control", 0.02, "left")):
        named = sorted((row for row in rows if row["kind"] == kind), key=lambda row: -float(row["frechet"]))
        wanted = [(np.log(row["frechet"]) - low) / (high - low) for row in named]
        for row, y in zip(named, _spread(wanted, LINE), strict=True):
            axes.annotate(
                row["name"],
                (row[key], row["frechet"]),
                (x, y),
                textcoords="axes fraction",
                fontsize=5,
                ha=alignment,
                va="center",
                arrowprops={"arrowstyle": "-", "linewidth": 0.25, "color": GREY},
            )


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move falling heights (m,) in 0…1 apart, by as little as keeps a gap between them and all above 0."""
    heights: list[float] = []
    for height in wanted:
        heights.append(min([height, *(heights[-1:] and [heights[-1] - gap])]))
    floor = 0.0
    for at in range(len(heights) - 1, -1, -1):
        heights[at] = max(heights[at], floor)
        floor = heights[at] + gap
    return heights


def save_page(
    rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str], corpus_name: str, folder: Path
) -> None:
    """Write the page `frontier.html`: plot, table, samples and notes in one file that needs no network.

    Parameters
    ----------
    rows, columns, notes
        Of the table.
    corpus_name
        Name of the corpus.
    folder
        Folder of the study, with its plot and picture.
    """
    columns = [column for column in columns if any(column.cell(row) is not None for row in rows)]
    head = "".join(f"<th>{html.escape(column.head)}</th>" for column in columns)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape((column.cell(row) or '–').strip('*'))}</td>" for column in columns)
        kind = "best" if row.get("best") else row["kind"]
        lines.append(f'<tr class="{kind}">{cells}</tr>')
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    title = html.escape(f"Quality and novelty: {corpus_name}")
    plot, samples = (
        f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode((folder / name).read_bytes()).decode()}">'
        for name, alt in (("frontier.png", "Fréchet distance over novelty"), ("samples.png", "samples of each row"))
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{CSS}</style></head>\n<body><h1>{title}</h1>\n'
        f'{plot}\n<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n' + "\n".join(lines) + "\n"
        f"</tbody></table></div>\n<h2>Notes</h2><ul>{items}</ul>\n<h2>Samples</h2>\n{samples}\n</body></html>\n"
    )
    write_bytes(folder / "frontier.html", page.encode())
