"""The plot of a γ study, in the style of a sweep's plots. Imports matplotlib: import it only to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from npgen.output import COLOURS, GREY, KEY, MARKERS, WIDTH, Row, interval_bars, own_style, provenance_text, save_figure

# Title and key of each panel. For samplers of tokens, distances are to the decoded images, if these were measured.
PANELS = (
    ("copies, 25 dB", "copies"),
    ("dB to nearest, 5–95 %", "psnr_50"),
    ("image-ID entropy, nats", "image_id_entropy"),
    ("Fréchet distance", "frechet"),
)


def save_plot(rows: Sequence[Row], facts: Mapping[str, Any], folder: Path) -> None:
    """Draw four measurements over the range in pixels, one line per sampler.

    Parameters
    ----------
    rows, facts
        As in `npgen.GammaStudy`.
    folder
        Folder for `gamma.png` and `gamma.svg`.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows if row.get("gamma") is not None))
    lines = {
        kind: sorted((row for row in rows if row["kind"] == kind), key=lambda row: int(row["range"])) for kind in kinds
    }
    real = next((row for row in rows if row.get("gamma") is None), None)
    panels = [(title, key) for title, key in PANELS if any(row.get(key) is not None for row in rows)]
    with own_style():
        height = 1.4 * -(-len(panels) // 2) + 0.2
        figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
        FigureCanvasAgg(figure)
        for place, (title, key) in enumerate(panels):
            axes = figure.add_subplot(-(-len(panels) // 2), 2, place + 1)
            axes.set_title(title, loc="left", pad=3)
            of_real = None if real is None else _value(real, key)
            if of_real is not None:
                axes.axhline(of_real, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
            for number, kind in enumerate(kinds):
                _line(axes, lines[kind], key, number)
            _scale(axes, sorted({int(row["range"]) for line in lines.values() for row in line}))
            if key == "copies":
                axes.set_ylim(-0.04, 1.04)
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))
            if place >= len(panels) - 2:
                axes.set_xlabel("range $\\gamma$, pixels")
        handles = [Line2D([], [], color=COLOURS[k], marker=MARKERS[k]) for k in range(len(kinds))]
        names = list(kinds)
        if real is not None:
            handles.append(Line2D([], [], color=GREY, linestyle=":"))
            names.append("real held-out")
        figure.legend(handles, names, loc="outside upper left", ncols=4, handlelength=1.6, columnspacing=1)
        provenance = provenance_text({"npgen": version("npgen"), "study": dict(facts)})
        save_figure(figure, folder / "gamma.png", {"Software": None, KEY: provenance})
        save_figure(figure, folder / "gamma.svg", {"Date": None})


def _value(row: Row, key: str) -> float | None:
    value: float | None = row.get(_named(row, key))
    return value


def _named(row: Row, key: str) -> str:
    """Return the key of the measurement against decoded images if a sampler's row has it, else the key itself."""
    decoded = f"decoded_{key}"
    return decoded if row.get("gamma") is not None and row.get(decoded) is not None else key


def _line(axes: Axes, rows: list[Row], key: str, number: int) -> None:
    points = [row for row in rows if _value(row, key) is not None]
    if not points:
        return
    x, y = ([row[name] for row in points] for name in ("range", _named(points[0], key)))
    axes.errorbar(
        x,
        y,
        interval_bars(points, _named(points[0], key)),
        color=COLOURS[number],
        marker=MARKERS[number],
        elinewidth=0.7,
        capsize=1.5,
    )
    if key == "psnr_50":
        low, high = ([row[_named(row, f"psnr_{q}")] for row in points] for q in ("05", "95"))
        axes.fill_between(x, low, high, color=COLOURS[number], alpha=0.15, linewidth=0)


def _scale(axes: Axes, ranges: list[int]) -> None:
    axes.set_xscale("log")
    shown = [one for one in (1, 2, 4, 8, 16, 32, 64, 128, 256) if ranges[0] <= one <= ranges[-1]] or ranges
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(one) for one in shown])
    axes.margins(x=0.08)
