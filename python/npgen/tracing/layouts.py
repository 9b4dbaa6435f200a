"""Figures of several drawings: samples with their maps, a sample with its sources around it, a timeline with maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.output import WIDTH, own_style
from npgen.runs import Samples, class_name, required_labels
from npgen.tracing import maps as pixel_maps
from npgen.tracing import usage
from npgen.tracing.canvas import (
    LEGEND,
    STYLE,
    FigureChoice,
    caption,
    check_index,
    check_indices,
    class_handles,
    class_labels,
    draw_borders,
    draw_outline,
    figure_for,
    legend_columns,
    legend_height,
    line_width,
    plain,
    share,
    show,
)

# Okabe and Ito's eight colours, which colour-blind people can distinguish; strong colours first.
SOURCE_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
# Row and column of the sources around the sample: clockwise, the most used one first.
AROUND = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
OTHERS = "#dcdcdc"
TITLES = {"sample": "sample", "class": "classes", "image_id": "image IDs"}
MAPS = ("class", "image_id")
# Height in inches of the text above and below maps.
TEXT = 0.2


def samples_with_maps(
    samples: Samples,
    corpus: Corpus,
    indices: Sequence[int],
    *,
    maps: Sequence[str] | None = None,
    across: int = 1,
    figure: FigureChoice = None,
) -> dict[tuple[int, str], Axes]:
    """Draw samples in rows, with their maps beside each (Figures 5 and 10 of the paper).

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    indices
        Indices of the samples, from 0; 1 to 100, none twice.
    maps
        Maps beside each sample: "class", "image_id" or both; None means both, or without labels "image_id".
    across
        Samples per row.
    figure
        The figure to draw in, or a function that makes a figure of a height in inches; None makes a pyplot figure of a
        column's width.

    Returns
    -------
    dict
        The Axes of each sample: ``[k, "sample"]``, ``[k, "class"]`` and ``[k, "image_id"]``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the samples were made from another corpus, or class maps are asked for and the
        corpus has no labels.
    """
    chosen = check_indices(samples, indices)
    if across < 1:
        raise invalid("across", "at least 1", across)
    samples.check_corpus(corpus)
    if maps is None:
        maps = MAPS if corpus.labels is not None else MAPS[1:]
    if not maps or any(name not in MAPS for name in maps):
        raise invalid("maps", "of 'class' and 'image_id', or None", list(maps))
    labels = np.stack([class_labels(samples, corpus, k) for k in chosen]) if "class" in maps else None
    across, each = min(across, len(chosen)), 1 + len(maps)
    rows = math.ceil(len(chosen) / across)
    with own_style(STYLE):
        height, width = samples.images.shape[1:3]
        cell = WIDTH / (across * each) * height / width
        sheet = figure_for(figure, rows * (cell + 0.03) + TEXT + _legend_height(corpus, labels))
        # A narrow empty column separates the samples of a row.
        widths = ([1] * each + [0.12]) * across
        grid = sheet.add_gridspec(rows, len(widths) - 1, width_ratios=widths[:-1])
        drawn = {}
        for position, k in enumerate(chosen):
            row, column = divmod(position, across)
            for offset, name in enumerate(("sample", *maps)):
                axes = drawn[k, name] = sheet.add_subplot(grid[row, column * (each + 1) + offset])
                if name == "sample":
                    pixel_maps.sample(samples, k, axes=axes)
                    axes.set_ylabel(str(k), rotation=0, ha="right", va="center", fontsize=6.5, labelpad=3)
                elif name == "class":
                    pixel_maps.class_map(samples, corpus, k, legend=False, axes=axes)
                else:
                    pixel_maps.image_id_map(samples, k, axes=axes)
                caption(axes, TITLES[name] if row == 0 else "")
        if labels is not None:
            _legend_below(sheet, corpus, labels)
    return drawn


def sources_around(
    samples: Samples, corpus: Corpus, k: int = 0, *, top: int = 8, figure: FigureChoice = None
) -> dict[str, Axes]:
    """Draw a sample with its most used source images around it (Figures 6 and 12 of the paper).

    The sample is in the middle; around it, clockwise from the upper left, are its most used sources, with their share
    of the sample; pixels that were not copied are pale. At the right are the class map, and the image-ID map of these
    sources in the colours of their frames, with all other sources grey.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    k
        Index of the sample, from 0.
    top
        Largest number of sources, 1 to 8; the paper shows five.
    figure
        The figure to draw in, or a function that makes a figure of a height in inches; None makes a pyplot figure of a
        column's width.

    Returns
    -------
    dict
        The Axes: "sample", "source 1" (the most used) and so on, "class" if the corpus has labels, and "image_id".

    Raises
    ------
    TypeError, ValueError
        If `k` or `top` is out of range, or the samples were made from another corpus.
    """
    k = check_index(samples, k)
    samples.check_corpus(corpus)
    if not 1 <= top <= len(AROUND):
        raise invalid("top", f"in 1…{len(AROUND)}", top)
    ids = samples.trace.image_id[k]  # (H, W)
    labels = None if corpus.labels is None else class_labels(samples, corpus, k)
    sources, counts = np.unique(ids, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:top]  # ties by id
    with own_style(STYLE):
        tallest = max(height / width for height, width in (ids.shape, corpus.images.shape[1:3]))
        rows = min(3 * (WIDTH / 4.6 * tallest + 0.25), 8)
        sheet = figure_for(figure, rows + _legend_height(corpus, labels))
        left, right = sheet.subfigures(1, 2, squeeze=False, width_ratios=(2.05, 1))[0]
        grid = left.add_gridspec(3, 3)
        drawn = {"sample": pixel_maps.sample(samples, k, axes=left.add_subplot(grid[1, 1]))}
        for rank, (slot, index) in enumerate(zip(AROUND, most, strict=False)):
            axes = drawn[f"source {rank + 1}"] = left.add_subplot(grid[slot])
            _draw_source(axes, samples, corpus, k, int(sources[index]), SOURCE_COLOURS[rank])
        maps = right.subplots(1 if labels is None else 2, 1, squeeze=False)[:, 0]
        if labels is not None:
            drawn["class"] = pixel_maps.class_map(samples, corpus, k, legend=False, axes=maps[0])
            caption(maps[0], "class map", "dashed: seed patch")
            _legend_below(sheet, corpus, labels)
        drawn["image_id"] = _draw_top(maps[-1], ids, sources[most])
        total, others = int(counts[most].sum()), len(sources) - len(most)
        rest = f"\ngrey: {others:,} others" if others else ""
        caption(maps[-1], "image-ID map", f"{len(most)} sources: {share(total, ids)}{rest}")
    return drawn


def _draw_source(axes: Axes, samples: Samples, corpus: Corpus, k: int, source: int, colour: str) -> None:
    """Show a source image; pixels that the sample did not copy are pale and grey."""
    pixels = samples.trace.image_id[k] == source  # (H, W)
    picture = corpus.image(source).astype(np.float64)  # (h, w, C)
    used = np.zeros(picture.shape[:2], np.bool_)
    used[samples.trace.y[k][pixels], samples.trace.x[k][pixels]] = True
    pale = 255 - 0.45 * (255 - picture.mean(axis=2, keepdims=True))
    show(axes, np.where(used[..., None], picture, pale).astype(np.uint8))
    draw_outline(axes, used, colors=colour, linewidths=4 * line_width(axes, used))
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.4)
    name = "" if corpus.labels is None else f" · {plain(class_name(corpus, int(required_labels(corpus)[source])), 11)}"
    seed = " (seed)" if source == samples.anchor[k] else ""
    axes.set_title(f"{share(int(pixels.sum()), pixels)}{name}\n#{source}{seed}", loc="left", fontsize=5.5, pad=2.5)


def _draw_top(axes: Axes, ids: NDArray[np.int32], top: NDArray[np.int32]) -> Axes:
    """Colour the pixels (H, W) of the top sources; the others are grey."""
    colours = np.full((*ids.shape, 3), to_rgb(OTHERS))
    rank = np.full(ids.shape, -1)
    for place, source in enumerate(top):
        colours[ids == source] = to_rgb(SOURCE_COLOURS[place])
        rank[ids == source] = place
    show(axes, colours)
    draw_borders(axes, rank)
    return axes


def timeline_with_maps(samples: Samples, corpus: Corpus, k: int = 0, *, figure: FigureChoice = None) -> dict[str, Axes]:
    """Draw the source of each fill step, below the sample and its maps (Figure 11 of the paper).

    Parameters
    ----------
    samples, k, figure
        As in `sources_around`.
    corpus
        The corpus that the samples were made from.

    Returns
    -------
    dict
        The Axes: "sample", "image_id", "class" if the corpus has labels, and "timeline".

    Raises
    ------
    TypeError, ValueError
        If the index is out of range, or the samples were made from another corpus.
    """
    k = check_index(samples, k)
    samples.check_corpus(corpus)
    labels = None if corpus.labels is None else class_labels(samples, corpus, k)
    names = ("sample", "image_id") if labels is None else ("sample", "image_id", "class")
    with own_style(STYLE):
        height, width = samples.images.shape[1:3]
        above = min(WIDTH / 3 * height / width, 2.5)
        sheet = figure_for(figure, above + 2.2 + TEXT + _legend_height(corpus, labels))
        grid = sheet.add_gridspec(2, len(names), height_ratios=(above, 1.9))
        drawn = {name: sheet.add_subplot(grid[0, column]) for column, name in enumerate(names)}
        pixel_maps.sample(samples, k, axes=drawn["sample"])
        pixel_maps.image_id_map(samples, k, axes=drawn["image_id"])
        caption(drawn["image_id"], "image-ID map")
        if labels is not None:
            pixel_maps.class_map(samples, corpus, k, legend=False, axes=drawn["class"])
            caption(drawn["class"], "class map")
            _legend_below(sheet, corpus, labels)
        drawn["timeline"] = usage.timeline(samples, corpus, k, legend=False, axes=sheet.add_subplot(grid[1, :]))
    return drawn


def _legend_below(figure: Figure | SubFigure, corpus: Corpus, labels: NDArray[np.int64]) -> None:
    handles = class_handles(corpus, labels)
    options = {**LEGEND, "columnspacing": 1.2, "ncols": legend_columns(handles), "labelspacing": 0.3}
    figure.legend(handles=handles, loc="outside lower center", **options)


def _legend_height(corpus: Corpus, labels: NDArray[np.int64] | None) -> float:
    """Return the height in inches of the legend that `_legend_below` draws."""
    if labels is None:
        return 0.0
    handles = class_handles(corpus, labels)
    return legend_height(len(handles), legend_columns(handles))
