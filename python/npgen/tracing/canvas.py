"""Parts of all drawings of traces: Axes, borders, names, and the fill step of each pixel."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import check_whole, invalid
from npgen.output import WIDTH, colours_of_classes, own_style, readable
from npgen.runs import Samples, class_name, required_labels
from npgen.sampling import drawn_order

# Settings of all figures of this package besides those of the plots: fonts (TrueType) that every publisher accepts.
STYLE: Any = {"figure.constrained_layout.w_pad": 0.02, "pdf.fonttype": 42}
# Colour of pixels without a value, as the seed patch in maps of distances.
NOTHING = "#d9d9d9"
FRAME = "#8c8c8c"
# Largest side of a map with borders between regions: on larger maps they would cover the pixels.
BORDERED = 64
# Largest number of samples in one figure.
ROWS = 100
# Largest number of classes in a legend: the most frequent ones.
NAMED = 12
# Largest number of classes in a line of a legend below a figure, and the height of such a line in inches.
COLUMNS, LINE = 4, 0.14
# The squares in legends are close to their names.
LEGEND: Any = {"handlelength": 0.9, "handleheight": 0.9, "handletextpad": 0.5, "frameon": False, "fontsize": 6.5}


def check_index(samples: Samples, k: int) -> int:
    """Return the index of a sample; raise TypeError or ValueError if it is out of range."""
    return check_whole("sample", k, 0, len(samples) - 1)


# A figure, or a function that makes one of a height in inches; None makes a pyplot figure.
FigureChoice = Figure | SubFigure | Callable[[float], Figure] | None


def plain_figure(height: float) -> Figure:
    """Make a figure of a column's width, `height` inches high, without pyplot."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def figure_for(choice: FigureChoice, height: float) -> Figure | SubFigure:
    """Return the figure given, or make one, `height` inches high."""
    if choice is not None:
        return choice(height) if callable(choice) else choice
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(WIDTH, height), layout="constrained")


def check_indices(samples: Samples, indices: Sequence[int]) -> list[int]:
    """Return the indices of samples that fit on one figure; raise TypeError or ValueError if they don't."""
    chosen = [check_index(samples, k) for k in indices]
    if not 1 <= len(set(chosen)) == len(chosen) <= ROWS:
        raise invalid("indices", f"1 to {ROWS}, none twice", chosen)
    return chosen


@contextlib.contextmanager
def drawing_on(axes: Axes | None, height: float) -> Iterator[Axes]:
    """Yield the Axes given, or those of a new pyplot figure of a column's width, `height` inches high."""
    if axes is not None:
        yield axes
        return
    with own_style(STYLE):
        yield figure_for(None, height).add_subplot()


def map_height(samples: Samples) -> float:
    """Return the height in inches of a figure of one map, with room for a colour scale at its right."""
    height, width = samples.images.shape[1:3]
    return float(min(2.3 * height / width, 4.0)) + 0.35


def panel_height(samples: Samples, legend: bool) -> float:
    """Return the height in inches of a figure of one map: at least that of a full legend beside it, if it has one."""
    return max(map_height(samples), legend_height(NAMED + 1) + 0.4 if legend else 0.0)


def show(axes: Axes, picture: NDArray[Any], **options: Any) -> AxesImage:
    """Show a picture (H, W), (H, W, 1) or (H, W, 3) with a thin frame and no ticks."""
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture.repeat(3, axis=2)
    image = axes.imshow(picture, interpolation="none", origin="upper", aspect="equal", **options)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color=FRAME)
    return image


def show_scale(axes: Axes, image: AxesImage, label: str) -> Axes:
    """Draw the colour scale of a map at its right, as high as the map, and return its Axes."""
    bar = axes.inset_axes((1.03, 0, 0.045, 1))
    axes.figure.colorbar(image, cax=bar)
    bar.set_ylabel(label, fontsize=7)
    bar.tick_params(labelsize=6.5, width=0.6, length=2.5)
    bar.spines["outline"].set_linewidth(0.4)
    return bar


def caption(axes: Axes, title: str, note: str = "") -> None:
    """Write a title above a map, and a grey note below it."""
    axes.set_title(title, loc="left", fontsize=7, pad=3)
    axes.set_xlabel(note, loc="left", fontsize=6, color="#555555", labelpad=2)


def draw_borders(axes: Axes, labels: NDArray[np.integer]) -> None:
    """Draw the borders between pixels of different labels (H, W), unless the map is too large for them."""
    if max(labels.shape) > BORDERED:
        return
    across = [((x + 0.5, y - 0.5), (x + 0.5, end - 0.5)) for x, y, end in _runs((labels[:, 1:] != labels[:, :-1]).T)]
    along = [((x - 0.5, y + 0.5), (end - 0.5, y + 0.5)) for y, x, end in _runs(labels[1:] != labels[:-1])]
    lines = LineCollection(across + along, colors="white", linewidths=line_width(axes, labels), capstyle="projecting")
    axes.add_collection(lines, autolim=False)


def line_width(axes: Axes, picture: NDArray[Any]) -> float:
    """Return the width in points of lines between pixels: thin if pixels are small."""
    points = axes.bbox.width * 72 / axes.figure.dpi
    return float(min(0.4, points / picture.shape[1] / 10))


def draw_outline(axes: Axes, mask: NDArray[np.bool_], **options: Any) -> None:
    """Draw the outline of the true pixels of a mask (H, W), along the frame too."""
    padded = np.pad(mask, 1).astype(np.int8)
    lines = [((x - 0.5, y - 1.5), (x - 0.5, end - 1.5)) for x, y, end in _runs((padded[:, 1:] != padded[:, :-1]).T)]
    lines += [((x - 1.5, y - 0.5), (end - 1.5, y - 0.5)) for y, x, end in _runs(padded[1:] != padded[:-1])]
    axes.add_collection(LineCollection(lines, **{"capstyle": "projecting", "clip_on": False, **options}), autolim=False)


def mark_seed(axes: Axes, samples: Samples, k: int) -> None:
    """Draw the seed patch's outline, dashed in black on white, so that it is visible on every colour."""
    seed = samples.trace.pool_size[k] == 0
    width = max(0.4, 2 * line_width(axes, seed))
    draw_outline(axes, seed, colors="white", linewidths=1.5 * width)
    draw_outline(axes, seed, colors="black", linewidths=width, linestyles=[(0, (2.5, 1.5))], capstyle="butt")


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """List the runs of true values in each row of a mask: row, start, end."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)[:, 1]
    return [(row, start, end) for (row, start), end in zip(starts.tolist(), ends.tolist(), strict=True)]


def fill_steps(samples: Samples) -> NDArray[np.int64]:
    """Return the step at which each pixel was drawn last: the draw that the trace holds.

    Parameters
    ----------
    samples
        Samples; all samples of a run have the same order.

    Returns
    -------
    ndarray
        (H, W) int64, index in the order of the last sweep, or in the fill order if there are no sweeps; from 0, and −1
        in the seed patch.

    Examples
    --------
    >>> from npgen import tracing
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 1, "local", npgen.Config(window=5), progress=False)
    >>> steps = tracing.fill_steps(samples)
    >>> int(steps.min()), int(steps.max())
    (-1, 719)
    """
    pixels = drawn_order(samples).pixels
    steps = np.full(samples.images.shape[1:3], -1, np.int64)
    steps[pixels[:, 0], pixels[:, 1]] = np.arange(len(pixels))
    return steps


def class_labels(samples: Samples, corpus: Corpus, k: int) -> NDArray[np.int64]:
    """Return the labels (H, W) of a sample's sources; raise ValueError if it was made from another corpus."""
    samples.check_corpus(corpus)
    labels: NDArray[np.int64] = required_labels(corpus)[samples.trace.image_id[k]]
    return labels


def colours_of(corpus: Corpus, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the colours of classes: the shape of the labels and 3 channels, uint8."""
    return colours_of_classes(labels, int(required_labels(corpus).max()) + 1)


def class_handles(corpus: Corpus, labels: NDArray[np.int64]) -> list[Patch]:
    """Return the legend entries of a map's classes, with their shares: at most the `NAMED` most frequent."""
    present, counts = np.unique(labels, return_counts=True)
    named = np.sort(np.argsort(-counts, kind="stable")[:NAMED])
    handles = [
        Patch(
            color=tuple((colours_of(corpus, present[k]) / 255).tolist()),
            label=f"{plain(class_name(corpus, int(present[k])))} · {share(counts[k], labels)}",
        )
        for k in named
    ]
    if len(present) > NAMED:
        rest = counts.sum() - counts[named].sum()
        handles.append(Patch(facecolor="none", label=f"{len(present) - NAMED} more · {share(rest, labels)}"))
    return handles


def share(count: int, of: NDArray[Any]) -> str:
    """Return a count of pixels as a share of a map, in per cent."""
    percent = 100 * count / of.size
    return f"{percent:.0f} %" if percent >= 0.95 else f"{percent:.1g} %"


def legend_columns(handles: Sequence[Patch]) -> int:
    """Return how many columns of legend entries fit a figure's width: `COLUMNS` at most, 1 at least."""
    points = 6.5 / 72  # of the font, in inches
    widths = [_text_width(str(handle.get_label())) + 2.7 * points for handle in handles]  # with the square and the gap
    for columns in range(min(COLUMNS, len(handles)), 1, -1):
        if sum(max(part) for part in np.array_split(widths, columns)) <= WIDTH - points:
            return columns
    return 1


def legend_height(entries: int, columns: int = 1) -> float:
    """Return the height in inches of a legend."""
    return LINE * math.ceil(entries / columns) + 0.05


def _text_width(text: str) -> float:
    """Return the width in inches of a legend's text."""
    font = get_font(fontManager.findfont("DejaVu Sans"))
    font.set_size(6.5, 72)
    font.set_text(text.replace(r"\$", "$"), 0.0)
    return float(font.get_width_height()[0]) / 64 / 72


@cache
def _font_has(character: str) -> bool:
    """Return whether matplotlib's own font has a character."""
    return get_font(fontManager.findfont("DejaVu Sans")).get_char_index(ord(character)) > 0


def plain(name: str, limit: int = 18) -> str:
    """Return a name from data as one line that matplotlib shows as it is: no formula, not hidden, not too long."""
    text = readable(name, _font_has)
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return f" {text}".replace("$", r"\$") if text.startswith("_") else text.replace("$", r"\$")
