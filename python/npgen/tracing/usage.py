"""Use of the sources by one sample: the source of each fill step, and the patches around the copied pixels."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.output import image_colours
from npgen.runs import Samples
from npgen.sampling import drawn_order
from npgen.tracing.canvas import (
    LEGEND,
    caption,
    check_index,
    class_handles,
    class_labels,
    colours_of,
    drawing_on,
    fill_steps,
    map_height,
    show,
)

# Approximate number of tiles along the longer side of a mosaic.
TILES = 7
# More marks than this are drawn as pixels: as shapes, they make vector files slow to show.
MARKS = 20_000


def timeline(
    samples: Samples, corpus: Corpus | None = None, k: int = 0, *, legend: bool = True, axes: Axes | None = None
) -> Axes:
    """Draw the source of each fill step (Figure 11 of the paper).

    Sources are numbered in the order of their first use, so that the highest mark up to a step counts the sources so
    far; a sample that copies one image again and again has one long row of marks. A thin line joins the marks of a
    source.

    Parameters
    ----------
    samples, k, axes
        As in `npgen.tracing.sample`.
    corpus
        The corpus that the samples were made from: marks have the colours of its classes, as in `class_map`. Without
        one, or without labels, they have the colours of `image_id_map`.
    legend
        Draw a legend of the classes.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing. After sweeps, the steps are those of the last sweep.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range, or the samples were made from another corpus.
    """
    k = check_index(samples, k)
    ids = samples.trace.image_id[k]  # (H, W)
    labels = class_labels(samples, corpus, k) if corpus is not None and corpus.labels is not None else None
    steps = fill_steps(samples)
    drawn = np.flatnonzero(steps.reshape(-1) >= 0)
    by_step = drawn[np.argsort(steps.reshape(-1)[drawn])]  # flat indices of pixels, in fill order
    if labels is not None and corpus is not None:
        colours = colours_of(corpus, labels.reshape(-1)[by_step]) / 255
    else:
        colours = image_colours(ids.reshape(-1)[by_step]) / 255
    _, first, where = np.unique(ids.reshape(-1)[by_step], return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))[where]  # of each step's source, by first use
    with drawing_on(axes, 2.2) as axes:
        sources = len(first)
        last = len(by_step) - 1 - np.unique(number[::-1], return_index=True)[1]
        axes.hlines(np.arange(sources), np.sort(first), last, color="#cccccc", linewidth=0.4, zorder=1)
        axes.scatter(
            np.arange(len(by_step)),
            number,
            s=min(9, max(1.5, (110 / max(1, sources)) ** 2)),
            c=colours,
            marker="s",
            linewidths=0,
            zorder=2,
            rasterized=len(by_step) > MARKS,
        )
        sweeps = samples.config.sweeps
        axes.set_xlabel(f"step of sweep {sweeps}" if sweeps else "fill step", fontsize=7)
        axes.set_ylabel("source, by first use", fontsize=7)
        axes.tick_params(labelsize=6.5, width=0.6, length=2.5)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.margins(x=0.01, y=0.03)
        axes.set_title(f"{sources:,} sources of {len(by_step):,} pixels", loc="left", fontsize=7, pad=3)
        if not sweeps:
            for ring in drawn_order(samples).stages[1:-1]:
                axes.axvline(ring - 0.5, color="#eeeeee", linewidth=0.4, zorder=0)
        if legend and labels is not None and corpus is not None:
            handles = class_handles(corpus, labels.reshape(-1)[by_step])
            axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), **LEGEND)
        return axes


def patch_mosaic(
    samples: Samples, corpus: Corpus, k: int = 0, *, side: int | None = None, axes: Axes | None = None
) -> Axes:
    """Draw the sample as a mosaic of patches of its sources.

    The middle pixel of each tile is the sample's; the pixels around it are its neighbours in its source image. If tiles
    fit together, the sources agree with the sample beyond the one pixel that was copied.

    Parameters
    ----------
    samples, k, axes
        As in `npgen.tracing.sample`.
    corpus
        The corpus that the samples were made from.
    side
        Side of a tile in pixels; None means about seven tiles along the sample's longer side.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing. The frame of a tile has its source's colour in `image_id_map`.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range, the samples were made from another corpus, or the side is not in 1…(the sample's
        longer side).
    """
    k = check_index(samples, k)
    samples.check_corpus(corpus)
    longer = max(samples.images.shape[1:3])
    side = math.ceil(longer / TILES) if side is None else side
    if not 1 <= side <= longer:
        raise invalid("side", f"in 1…{longer}", side)
    middles = [
        np.minimum(np.arange(extent) // side * side + side // 2, extent - 1) for extent in samples.images.shape[1:3]
    ]
    middle = np.ix_(*middles)  # of the tile of each pixel (H, W)
    ids, y, x = (part[k][middle] for part in samples.trace.arrays()[:3])
    grid = np.indices(ids.shape)
    # Beyond its frame a source is extended by edge replication, as in the comparison of windows.
    ys = (y + grid[0] - middle[0]).clip(0, corpus.images.shape[1] - 1)
    xs = (x + grid[1] - middle[1]).clip(0, corpus.images.shape[2] - 1)
    with drawing_on(axes, map_height(samples)) as axes:
        show(axes, corpus.images[ids, ys, xs])
        inset = 0.02 * side - 0.5
        corners = [(top, left) for top in range(0, ids.shape[0], side) for left in range(0, ids.shape[1], side)]
        frames = [
            Rectangle(
                (left + inset, top + inset),
                min(side, ids.shape[1] - left) - 0.04 * side,
                min(side, ids.shape[0] - top) - 0.04 * side,
            )
            for top, left in corners
        ]
        colours = image_colours(ids[tuple(np.transpose(corners))]) / 255
        axes.add_collection(PatchCollection(frames, facecolors="none", edgecolors=colours, linewidths=0.8))
        caption(axes, "source patches", f"tiles: {side}×{side} pixels of one source; frames: which")
        return axes
