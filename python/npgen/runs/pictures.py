"""Pictures of samples and their source maps, as PNG files with their provenance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.output import (
    GAP,
    colours_of_classes,
    fitting,
    grid,
    image_colours,
    save_png,
    side_by_side,
    stacked,
)
from npgen.runs.samples import Samples

# Largest number of classes in a legend: of more, the most frequent ones in the maps.
NAMED = 24


def coloured_by_image(samples: Samples) -> NDArray[np.uint8]:
    """Colour each pixel by the image it was copied from.

    Parameters
    ----------
    samples
        n samples.

    Returns
    -------
    ndarray
        (n, H, W, 3) uint8. An image has the same colour in all maps; neighbouring ids have very different colours.
    """
    return image_colours(samples.trace.image_id)


def coloured_by_class(samples: Samples, corpus: Corpus) -> NDArray[np.uint8]:
    """Colour each pixel by the class of the image it was copied from.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from, with labels.

    Returns
    -------
    ndarray
        (n, H, W, 3) uint8.

    Raises
    ------
    ValueError
        If the samples were made from another corpus, or it has no labels.
    """
    samples.check_corpus(corpus)
    labels = required_labels(corpus)
    return colours_of_classes(labels[samples.trace.image_id], int(labels.max()) + 1)


def required_labels(corpus: Corpus) -> NDArray[np.int64]:
    """Return the labels (N,) of a corpus; raise ValueError if it has none."""
    if corpus.labels is None:
        raise invalid("corpus", "one with labels", corpus)
    return corpus.labels


def class_name(corpus: Corpus, label: int) -> str:
    """Return the name of a class of a labelled corpus; its number if the corpus has no names."""
    return str(label) if corpus.classes is None else corpus.classes[label]


def legend(corpus: Corpus, width: int, shown: NDArray[np.int64]) -> Image.Image:
    """Return a picture `width` pixels wide that explains the colours of class maps.

    Parameters
    ----------
    corpus
        The corpus, with labels.
    width
        Width in pixels; longer names are shortened.
    shown
        Labels in the maps. Of a corpus of more than `NAMED` classes, only the most frequent ones of these are named.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    labels = required_labels(corpus)
    count, occurring = int(labels.max()) + 1, np.unique(labels)
    more = 0
    if len(occurring) > NAMED:
        occurring, counts = np.unique(shown, return_counts=True)
        more = max(0, len(occurring) - NAMED)
        occurring = np.sort(occurring[np.argsort(-counts, kind="stable")[:NAMED]])
    elif corpus.classes is not None:
        occurring = np.arange(min(count, len(corpus.classes)))
    font = ImageFont.load_default(size=12)
    named = [
        (tuple(map(int, colour)), class_name(corpus, int(label)))
        for label, colour in zip(occurring, colours_of_classes(occurring, count), strict=True)
    ]
    named += [((255, 255, 255), f"{more:,} more")] if more else []
    entries, x, y = [], GAP, GAP
    for colour, full in named:
        name = fitting(full, font, width - 24 - GAP)
        entry_width = 24 + math.ceil(font.getlength(name))
        if x + entry_width > width and x > GAP:
            x, y = GAP, y + 18
        entries.append((x, y, colour, name))
        x += entry_width
    strip = Image.new("RGB", (width, y + 18), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, colour, name in entries:
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=colour)
        draw.text((x + 15, y), name, fill="black", font=font)
    return strip


def overview(samples: Samples, corpus: Corpus, columns: int | None = None, scale: int = 2) -> Image.Image:
    """Show samples, their image-ID maps and (if the corpus has labels) their class maps side by side.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    columns, scale
        As in `grid`.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    panels = [grid(samples.images, columns, scale), grid(coloured_by_image(samples), columns, scale)]
    if corpus.labels is not None:
        panels.append(grid(coloured_by_class(samples, corpus), columns, scale))
    maps = side_by_side(panels, gap=8)
    labels = None if corpus.labels is None else corpus.labels[samples.trace.image_id]
    return maps if labels is None else stacked([maps, legend(corpus, maps.width, labels)])


def save_pictures(
    samples: Samples, corpus: Corpus, folder: Path, columns: int | None = None, scale: int = 2
) -> list[Path]:
    """Write the pictures of a run: samples, image-ID map, class map if there are labels, and all side by side.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    folder
        Folder of the files.
    columns, scale
        As in `grid`.

    Returns
    -------
    list of Path
        The files; the last one is the overview.
    """
    pictures = {
        "samples": grid(samples.images, columns, scale),
        "image-id-map": grid(coloured_by_image(samples), columns, scale),
    }
    if corpus.labels is not None:
        pictures["class-map"] = grid(coloured_by_class(samples, corpus), columns, scale)
    pictures["overview"] = overview(samples, corpus, columns, scale)
    for name, picture in pictures.items():
        save_png(picture, folder / f"{name}.png", samples.provenance())
    return [folder / f"{name}.png" for name in pictures]
