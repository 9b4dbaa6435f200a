"""Pictures of samples and their source maps, as PNG files with their provenance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.output import GAP, class_colours, grid, image_colours, save_png, side_by_side, stacked
from npgen.runs.samples import Samples


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
    return class_colours(int(labels.max()) + 1)[labels[samples.trace.image_id]]


def required_labels(corpus: Corpus) -> NDArray[np.int64]:
    """Return the labels (N,) of a corpus; raise ValueError if it has none."""
    if corpus.labels is None:
        raise invalid("corpus", "one with labels", corpus)
    return corpus.labels


def class_names(corpus: Corpus) -> tuple[str, ...]:
    """Return the names of a labelled corpus's classes, by label; numbers if it has no names."""
    return corpus.classes or tuple(map(str, range(int(required_labels(corpus).max()) + 1)))


def legend(corpus: Corpus, width: int) -> Image.Image:
    """Return a picture `width` pixels wide that explains the colours of class maps."""
    count = int(required_labels(corpus).max()) + 1
    font = ImageFont.load_default(size=12)
    entries, x, y = [], GAP, GAP
    for colour, name in zip(class_colours(count), class_names(corpus), strict=False):
        entry_width = 24 + math.ceil(font.getlength(name))
        if x + entry_width > width and x > GAP:
            x, y = GAP, y + 18
        entries.append((x, y, tuple(int(part) for part in colour), name))
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
    return maps if corpus.labels is None else stacked([maps, legend(corpus, maps.width)])


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
