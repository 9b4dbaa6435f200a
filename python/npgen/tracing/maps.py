"""Maps of one sample: where each pixel came from, and how it was drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.evaluation import WINDOW, entropy_map
from npgen.output import image_colours
from npgen.runs import Samples, distances_to_show
from npgen.sampling import drawn_order
from npgen.tracing.canvas import (
    LEGEND,
    NOTHING,
    caption,
    check_index,
    class_handles,
    class_labels,
    colours_of,
    draw_borders,
    drawing_on,
    fill_steps,
    map_height,
    mark_seed,
    panel_height,
    show,
    show_scale,
)

# Colour map from dark to light that is ordered for colour-blind people too, and in grey.
SEQUENTIAL = "cividis"


def sample(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the image of a sample.

    Parameters
    ----------
    samples
        n samples.
    k
        Index of the sample, from 0.
    axes
        The Axes to draw on; None makes a pyplot figure of a column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.

    Examples
    --------
    >>> from npgen import tracing
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 1, "local", npgen.Config(window=5), progress=False)
    >>> axes = tracing.sample(samples)
    """
    k = check_index(samples, k)
    with drawing_on(axes, map_height(samples)) as axes:
        show(axes, samples.images[k])
        caption(axes, f"sample {k}")
        return axes


def image_id_map(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Colour each pixel by the image it was copied from (section 3.2 of the paper).

    An image has the same colour in all maps. Hundreds of colours can't be distinguished, so lines separate pixels from
    different images, unless the map is too large for lines.

    Parameters
    ----------
    samples, k, axes
        As in `sample`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.
    """
    k = check_index(samples, k)
    ids = samples.trace.image_id[k]  # (H, W)
    with drawing_on(axes, map_height(samples)) as axes:
        show(axes, image_colours(ids))
        draw_borders(axes, ids)
        mark_seed(axes, samples, k)
        caption(axes, "image-ID map", f"{len(np.unique(ids)):,} source images; dashed: seed patch")
        return axes


def class_map(samples: Samples, corpus: Corpus, k: int = 0, *, legend: bool = True, axes: Axes | None = None) -> Axes:
    """Colour each pixel by the class of the image it was copied from (section 3.2, Figures 5, 10 and 12 of the paper).

    Parameters
    ----------
    samples, k, axes
        As in `sample`.
    corpus
        The corpus that the samples were made from, with labels.
    legend
        Draw a legend of the classes beside the map, with the share of the pixels of each class.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range, the samples were made from another corpus, or it has no labels.
    """
    k = check_index(samples, k)
    labels = class_labels(samples, corpus, k)  # (H, W)
    with drawing_on(axes, panel_height(samples, legend)) as axes:
        show(axes, colours_of(corpus, labels))
        draw_borders(axes, labels)
        mark_seed(axes, samples, k)
        caption(axes, "class map", "classes of the sources; dashed: seed patch")
        if legend:
            if panel_height(samples, True) > map_height(samples):
                axes.set_anchor("N")  # the legend is higher than the map, and begins at its top
            handles = class_handles(corpus, labels)
            axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), **LEGEND)
        return axes


def image_id_entropy(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the entropy of the source images in the 7×7 window around each pixel (section 3.3 of the paper).

    Parameters
    ----------
    samples, k, axes
        As in `sample`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing: each value at the centre of its window, in nats; the scale ends at the maximum.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.
    """
    k = check_index(samples, k)
    ids = samples.trace.image_id[k]
    with drawing_on(axes, map_height(samples)) as axes:
        return _draw_entropy(axes, ids, "image-ID entropy", ids.size)


def class_entropy(samples: Samples, corpus: Corpus, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the entropy of the sources' classes in the 7×7 window around each pixel; see `image_id_entropy`.

    Parameters
    ----------
    samples, k, axes
        As in `sample`.
    corpus
        The corpus that the samples were made from, with labels.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range, the samples were made from another corpus, or it has no labels.
    """
    k = check_index(samples, k)
    labels = class_labels(samples, corpus, k)
    assert corpus.labels is not None
    with drawing_on(axes, map_height(samples)) as axes:
        return _draw_entropy(axes, labels, "class entropy", len(np.unique(corpus.labels)))


def _draw_entropy(axes: Axes, labels: NDArray[np.integer], title: str, kinds: int) -> Axes:
    height, width = labels.shape
    window = min(WINDOW, height, width)
    entropies = entropy_map(labels, window)  # (H − window + 1, W − window + 1)
    most = math.log(max(2, min(kinds, window**2)))
    edge = window // 2 - 0.5  # the first window's centre is the pixel at window // 2
    extent = (edge, edge + entropies.shape[1], edge + entropies.shape[0], edge)
    image = show(axes, entropies, cmap=SEQUENTIAL, vmin=0, vmax=most, extent=extent)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), facecolor=NOTHING)
    show_scale(axes, image, "nats")
    caption(axes, f"{title}, mean {entropies.mean():.2f} nats", f"{window}×{window} windows; grey: no whole window")
    return axes


def fill_order_map(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the fill step of each pixel (section 2.3 of the paper); lines separate the rings.

    After sweeps, the trace holds the last sweep, which draws the pixels in a random order.

    Parameters
    ----------
    samples, k, axes
        As in `sample`; all samples of a run have the same order.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.
    """
    k = check_index(samples, k)
    steps = fill_steps(samples)
    sweeps = samples.config.sweeps
    with drawing_on(axes, map_height(samples)) as axes:
        scale = _show_drawn(axes, steps, steps >= 0, "step")
        if not sweeps:
            draw_borders(axes, _rings(samples))
        scale.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        caption(axes, f"order of sweep {sweeps}" if sweeps else "fill order", "grey: seed patch")
        return axes


def _rings(samples: Samples) -> NDArray[np.int64]:
    """Return the ring of each pixel (H, W), from 1; 0 in the seed patch."""
    order = drawn_order(samples)
    rings = np.zeros(samples.images.shape[1:3], np.int64)
    numbers = np.repeat(np.arange(1, len(order.stages)), np.diff(order.stages))
    rings[order.pixels[:, 0], order.pixels[:, 1]] = numbers
    return rings


def pool_size_map(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the number of candidates that each pixel was drawn from, on a logarithmic scale.

    Parameters
    ----------
    samples, k, axes
        As in `sample`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.
    """
    k = check_index(samples, k)
    pools = samples.trace.pool_size[k]
    drawn = pools > 0
    with drawing_on(axes, map_height(samples)) as axes:
        # A scale needs two different ends, even if all pools hold one candidate.
        scale = _show_drawn(axes, pools, drawn, "candidates", norm=LogNorm(1, max(10, int(pools.max()))))
        scale.yaxis.set_major_locator(LogLocator(10))
        scale.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        scale.yaxis.set_minor_formatter(NullFormatter())
        scale.yaxis.set_minor_locator(NullLocator())
        title = f"pool size, median {np.median(pools[drawn]):,g}" if drawn.any() else "pool size"
        caption(axes, title, f"{_percent(pools[drawn] == 1)} had one candidate; grey: seed patch")
        return axes


def distance_map(samples: Samples, k: int = 0, *, axes: Axes | None = None) -> Axes:
    """Draw the distance between the window of each pixel and the window of its source.

    Shown is the square root of the trace's distance: the weighted root mean square difference of the windows' known
    pixels, in grey levels. For tokens it is the share of the compared bits that differ.

    Parameters
    ----------
    samples, k, axes
        As in `sample`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the drawing.

    Raises
    ------
    TypeError, ValueError
        If the index is out of range.
    """
    k = check_index(samples, k)
    shown, unit = distances_to_show(samples[k : k + 1])
    distances, drawn = shown[0], samples.trace.pool_size[k] > 0
    top = max(1.0 if samples.codes is None else 0.01, distances.max())
    with drawing_on(axes, map_height(samples)) as axes:
        _show_drawn(axes, distances, drawn, unit, vmin=0, vmax=top)
        title = f"distance, median {np.median(distances[drawn]):.2g}" if drawn.any() else "distance"
        caption(axes, title, f"{_percent(distances[drawn] == 0)} matched exactly; grey: seed patch")
        return axes


def _show_drawn(axes: Axes, values: NDArray[Any], drawn: NDArray[np.bool_], unit: str, **options: Any) -> Axes:
    """Show values (H, W) of drawn pixels, the seed patch in grey, and return the Axes of their colour scale."""
    image = show(axes, np.ma.masked_array(values, ~drawn), cmap=SEQUENTIAL, **options)
    axes.set_facecolor(NOTHING)
    return show_scale(axes, image, unit)


def _percent(flags: NDArray[np.bool_]) -> str:
    return f"{flags.mean() if flags.size else 0:.0%}".replace("%", " %")
