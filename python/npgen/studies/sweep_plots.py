"""Plots of a sweep, sized for one column of a two-column paper. Imports matplotlib: import it only to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from npgen.output import COLOURS, GREY, KEY, MARKERS, WIDTH, Row, interval_bars, own_style, provenance_text, save_figure

NAMES = {
    "window": "window $w$, pixels",
    "sigma": "Gaussian's $\\sigma$, pixels",
    "locality": "locality $R$, pixels",
    "epsilon": "tolerance $\\varepsilon$",
    "k_min": "smallest pool $k_{\\min}$",
    "shortlist": "shortlist $K$, images",
    "anchor_weight": "anchor weight $\\beta$",
    "seed_size": "seed side $s$, pixels",
    "sweeps": "refinement sweeps $S$",
    "images": "corpus size $N$, images",
}

# Rows that differ in one axis only, with a name of their common values.
Group = tuple[str, list[Row]]


def save_plots(axes: Sequence[str], rows: Sequence[Row], base: Row, facts: Mapping[str, Any], folder: Path) -> None:
    """Draw the measurements over each axis of a sweep, and the frontier of quality and recombination.

    Parameters
    ----------
    axes, rows, base, facts
        As in `npgen.Sweep`.
    folder
        Folder of the files: `<axis>.png` and `.svg` for each axis with two or more values, `frontier.png` and `.svg`
        if there are scores. Plots of an earlier grid are removed.
    """
    figures: dict[str, Figure] = {}
    with own_style():
        for axis in axes:
            groups = _groups(axes, rows, axis)
            if groups:
                figures[axis] = _axis_figure(axis, groups, base[axis])
        if len(rows) > 1 and all(row.get("inception_score_over_heldout") is not None for row in rows):
            figures["frontier"] = _frontier(axes, rows, base, facts["product"])
        provenance = provenance_text(_provenance(axes, rows, facts))
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png", {"Software": None, KEY: provenance})
            save_figure(figure, folder / f"{name}.svg", {"Date": None})
    for name in {*NAMES, *facts["config"], "frontier"} - set(figures):  # plots of an earlier grid
        (folder / f"{name}.png").unlink(missing_ok=True)
        (folder / f"{name}.svg").unlink(missing_ok=True)


def _provenance(axes: Sequence[str], rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a plot: that of the base run, as in `Samples.provenance`, and the grid."""
    run = {key: facts[key] for key in ("model", "config", "seed", "n", "encoder")}
    corpus = {"name": facts["corpus_name"], "hash": facts["corpus"]}
    grid = {axis: list(dict.fromkeys(row[axis] for row in rows)) for axis in axes}
    return {"npgen": version("npgen"), **run, "corpus": corpus, "grid": grid}


def _groups(axes: Sequence[str], rows: Sequence[Row], axis: str) -> list[Group]:
    """Group rows by all axes but one; groups of a single row make no line and are left out."""
    others = [other for other in axes if other != axis]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(", ".join(f"{other} {_text(row[other])}" for other in others), []).append(row)
    if all(_is_number(row[axis]) for row in rows):
        for group in groups.values():
            group.sort(key=lambda row: float(row[axis]))
    return [(name, group) for name, group in groups.items() if len(group) > 1]


def _axis_figure(axis: str, groups: list[Group], base: Any) -> Figure:
    """Draw six panels over the values of an axis; four if there are no scores."""
    panels: list[tuple[str, Callable[[_Panel], None]]] = [
        ("Inception Score / held-out", lambda panel: panel.line("inception_score_over_heldout")),
        ("Fréchet / training", lambda panel: panel.line("frechet_over_training")),
        ("entropy, nats", _draw_entropies),
        ("pool size, 5–95 %" if len(groups) == 1 else "median pool size", _draw_pools),
        ("share of pixels", _draw_shares),
        ("seconds / sample", _draw_seconds),
    ]
    if all(row.get("frechet_over_training") is None for _, rows in groups for row in rows):
        panels = panels[2:]
    lines = math.ceil(len(groups) / 2) if len(groups) > 1 else 0
    height = 1.3 * math.ceil(len(panels) / 2) + 0.14 * lines
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
    FigureCanvasAgg(figure)
    scale = _Scale(axis, [row[axis] for _, rows in groups for row in rows])
    for k, (title, draw) in enumerate(panels):
        axes = figure.add_subplot(math.ceil(len(panels) / 2), 2, k + 1)
        axes.set_title(title, loc="left", pad=3)
        if base in scale.values:
            axes.axvline(scale(base), color=GREY, linewidth=0.6, linestyle=":", zorder=0)
        draw(_Panel(axes, axis, groups, scale))
        scale.apply(axes)
        if k >= len(panels) - 2:
            axes.set_xlabel(NAMES.get(axis, axis))
    if len(groups) > 1:
        handles = [Line2D([], [], color=_colour(k, len(groups)), marker=_marker(k)) for k in range(len(groups))]
        figure.legend(handles, [name for name, _ in groups], loc="outside upper left", ncols=2)
    return figure


class _Scale:
    """Positions of the values of an axis: numbers on a linear or logarithmic scale, words at equal distances."""

    def __init__(self, axis: str, values: Sequence[Any]) -> None:
        self.axis = axis
        self.values = list(dict.fromkeys(values))
        self.numeric = all(map(_is_number, self.values))
        if self.numeric:
            self.values.sort()
        positive = self.numeric and self.values[0] > 0
        self.log = positive and self.values[-1] / self.values[0] >= 8

    def __call__(self, value: Any) -> float:
        return float(value) if self.numeric else float(self.values.index(value))

    def apply(self, axes: Axes) -> None:
        if self.log:
            axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([self(value) for value in self.values]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([_text(value) for value in self.values])
        axes.margins(x=0.08)


class _Panel:
    """One panel of an axis's figure: the groups' lines of one or two measurements."""

    def __init__(self, axes: Axes, axis: str, groups: list[Group], scale: _Scale) -> None:
        self.axes, self.axis, self.groups, self.scale = axes, axis, groups, scale

    def line(self, key: str, *, second: bool = False, label: str | None = None) -> None:
        """Draw one line per group; a panel's second measurement is dashed, and in another colour if there is one group.

        Parameters
        ----------
        key
            The measurement.
        second
            Whether it is the panel's second one.
        label
            Text beside the line.
        """
        alone = len(self.groups) == 1
        top: tuple[float, float, bool] | None = None
        for k, (_, rows) in enumerate(self.groups):
            colour = COLOURS[int(second)] if alone else _colour(k, len(self.groups))
            points = [row for row in rows if row.get(key) is not None]
            if not points:
                continue
            self.axes.errorbar(
                [self.scale(row[self.axis]) for row in points],
                [row[key] for row in points],
                interval_bars(points, key) if len(self.groups) <= len(COLOURS) else None,
                color=colour,
                marker=("s" if second else "o") if alone else _marker(k),
                linestyle="--" if second else "-",
                markerfacecolor="white" if second else colour,
                ecolor=(colour, 1 if alone else 0.5),
                elinewidth=0.7,
                capsize=1.5,
            )
            top = self._label_at(points, key, top)
        if label is not None and top is not None:
            x, y, falls = top
            self.axes.annotate(
                label,
                (x, y),
                (1, 4),
                textcoords="offset points",
                ha="left" if falls else "right",  # beside the line, not on it
                fontsize=6.5,
                color=COLOURS[int(second)] if alone else "black",
            )

    def _label_at(
        self, points: list[Row], key: str, best: tuple[float, float, bool] | None
    ) -> tuple[float, float, bool]:
        """Return the middle point of a line and whether the line falls there; `best` if that is higher."""
        middle = (len(points) - 1) // 2
        before, value, after = (points[k][key] for k in (max(0, middle - 1), middle, min(middle + 1, len(points) - 1)))
        if best is not None and value <= best[1]:
            return best
        return self.scale(points[middle][self.axis]), value, after < before or middle == 0

    def from_zero(self) -> None:
        """Begin the vertical axis at 0, with room for text above the lines."""
        self.axes.set_ylim(0, 1.25 * max(self.axes.dataLim.y1, 1e-9))


def _draw_entropies(panel: _Panel) -> None:
    panel.line("image_id_entropy", label="image ID")
    panel.line("class_entropy", second=True, label="class")
    panel.from_zero()


def _draw_pools(panel: _Panel) -> None:
    """Draw medians; for a single group also the ranges 25–75 % and 5–95 % as bands."""
    if len(panel.groups) == 1:
        rows = panel.groups[0][1]
        x = [panel.scale(row[panel.axis]) for row in rows]
        for low, high, shade in (("05", "95", 0.18), ("25", "75", 0.32)):
            lower, upper = ([row[f"pool_{q}"] for row in rows] for q in (low, high))
            panel.axes.fill_between(x, lower, upper, color=COLOURS[0], alpha=shade, linewidth=0)
    panel.line("pool_50")
    panel.axes.set_yscale("log")
    panel.axes.set_ylim(0.8, max(panel.axes.get_ylim()[1], 12))
    panel.axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.axes.yaxis.set_minor_locator(NullLocator())


def _draw_shares(panel: _Panel) -> None:
    panel.line("pool_one", label="pool of one")
    panel.line("fallbacks", second=True, label="fallback")
    panel.from_zero()
    panel.axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))


def _draw_seconds(panel: _Panel) -> None:
    panel.line("seconds_per_sample")
    panel.from_zero()


def _frontier(names: Sequence[str], rows: Sequence[Row], base: Row, product: bool) -> Figure:
    """Draw quality over recombination; lines join the rows of a group, which are labelled by their changing value."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel("image-ID entropy, nats")
    axes.set_ylabel("Inception Score / held-out")
    placed: list[tuple[Row, str, str]] = []
    series = _series(names, rows, product)
    centre = next((row for row in rows if all(row[axis] == base[axis] for axis in names)), None)
    for k, (name, axis, line) in enumerate(series):
        colour = _colour(k, len(series))
        x, y = ([row[key] for row in line] for key in ("image_id_entropy", "inception_score_over_heldout"))
        axes.plot(x, y, color=colour, marker=_marker(k), linewidth=0.7, label=name)
        placed += [(row, _text(row[axis]), colour) for row in line if row is not centre or len(series) == 1]
    if centre is not None:
        point = centre["image_id_entropy"], centre["inception_score_over_heldout"]
        axes.plot(*point, "*", color="black", markersize=7, linestyle="none", label="base, 95 % interval", zorder=3)
        bars = interval_bars([centre], "inception_score_over_heldout"), interval_bars([centre], "image_id_entropy")
        axes.errorbar(*point, *bars, color=GREY, elinewidth=0.7, capsize=1.5, zorder=0)
    axes.margins(0.1)
    title = f"along the lines: {NAMES.get(series[0][1], series[0][1])}" if product else None
    figure.legend(loc="outside upper left", ncols=2, handlelength=1.6, columnspacing=1, title=title)
    figure.draw_without_rendering()
    _place_labels(axes, placed)
    return figure


def _series(axes: Sequence[str], rows: Sequence[Row], product: bool) -> list[tuple[str, str, list[Row]]]:
    """List the frontier's lines: name, axis that changes along the line, rows."""
    if not product:
        return [(NAMES.get(axis, axis), axis, group) for axis in axes for _, group in _groups(axes, rows, axis)]
    axis = max(axes, key=lambda axis: len({_text(row[axis]) for row in rows}))
    groups = _groups(axes, rows, axis) or [("", list(rows))]
    return [(name or NAMES.get(axis, axis), axis, group) for name, group in groups]


def _place_labels(axes: Axes, labels: list[tuple[Row, str, str]]) -> None:
    """Write each label beside its point, at the place where it covers least of points and earlier labels."""
    points = axes.transData.transform(
        [(row["image_id_entropy"], row["inception_score_over_heldout"]) for row, _, _ in labels]
    )
    reach = 3 * axes.figure.dpi / 72
    taken = [(x - reach, y - reach, x + reach, y + reach) for x, y in points]
    frame = axes.get_window_extent()
    around = [(1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0)]
    for (x, y), (_, text, colour) in zip(points, labels, strict=True):
        note = axes.text(0, 0, text, fontsize=6, color=colour)
        size = note.get_window_extent()
        best: tuple[float, float, float] | None = None
        for dx, dy in around:
            left = x + dx * 1.3 * reach - size.width * (1 - dx) / 2
            bottom = y + dy * 1.3 * reach - size.height * (1 - dy) / 2
            box = (left, bottom, left + size.width, bottom + size.height)
            covered = sum(_overlap(box, other) for other in taken) + (
                size.width * size.height - _overlap(box, (frame.x0, frame.y0, frame.x1, frame.y1))
            )
            if best is None or covered < best[0]:
                best = covered, left, bottom
        assert best is not None
        _, left, bottom = best
        taken.append((left, bottom, left + size.width, bottom + size.height))
        x, y = axes.transData.inverted().transform((left, bottom)).tolist()
        note.set_position((x, y))


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def _colour(k: int, count: int) -> Any:
    """Return the colour of line `k` of several: from `COLOURS` for a few lines, else from a perceptual scale."""
    return COLOURS[k] if count <= len(COLOURS) else matplotlib.colormaps["cividis"](0.9 * k / (count - 1))


def _marker(k: int) -> str:
    return MARKERS[k % len(MARKERS)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if _is_number(value):
        return f"{value:,}" if isinstance(value, int) and value >= 10_000 else f"{value:g}"
    return "none" if value is None else str(value)
