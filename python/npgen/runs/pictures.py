"""Pictures of samples and of their sources, as PNG files that carry their own provenance."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.output import GAP, class_colours, grid, image_colours, png_bytes
from npgen.runs.samples import Samples
from npgen.storage import write_bytes


def image_id_map(samples: Samples) -> NDArray[np.uint8]:
    """Colour each pixel by the image it was copied from.

    Parameters
    ----------
    samples
        n samples.

    Returns
    -------
    ndarray
        (n, H, W, 3) uint8. An image has one colour everywhere; neighbouring ids have colours far apart.
    """
    return image_colours(samples.trace.image_id)


def class_map(samples: Samples, corpus: Corpus) -> NDArray[np.uint8]:
    """Colour each pixel by the class of the image it was copied from.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they were made from, with labels.

    Returns
    -------
    ndarray
        (n, H, W, 3) uint8.

    Raises
    ------
    ValueError
        If the corpus is another, or has no labels.
    """
    samples.check_corpus(corpus)
    labels = labels_of(corpus)
    return class_colours(int(labels.max()) + 1)[labels[samples.trace.image_id]]


def labels_of(corpus: Corpus) -> NDArray[np.int64]:
    """Return the labels (N,) of a corpus; raise ValueError if it has none."""
    if corpus.labels is None:
        raise invalid("corpus", "one with labels", corpus)
    return corpus.labels


def class_names(corpus: Corpus) -> tuple[str, ...]:
    """Name the classes of a labelled corpus, by label: as the corpus does, else by number."""
    return corpus.classes or tuple(map(str, range(int(labels_of(corpus).max()) + 1)))


def legend(corpus: Corpus, width: int) -> Image.Image:
    """Name the colours of class maps, in a strip `width` pixels wide."""
    count = int(labels_of(corpus).max()) + 1
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
        The corpus they were made from.
    columns, scale
        As in `grid`.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    panels = [grid(samples.images, columns, scale), grid(image_id_map(samples), columns, scale)]
    if corpus.labels is not None:
        panels.append(grid(class_map(samples, corpus), columns, scale))
    gap = 8
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    key = legend(corpus, width) if corpus.labels is not None else Image.new("RGB", (width, 0))
    sheet = Image.new("RGB", (width, panels[0].height + key.height), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + gap
    sheet.paste(key, (0, panels[0].height))
    return sheet


def save_png(picture: Image.Image, path: str | os.PathLike[str], provenance: Mapping[str, Any]) -> None:
    """Write a picture as a PNG file, whole or not at all, with its provenance in the `npgen` text chunk.

    Parameters
    ----------
    picture
        The picture.
    path
        The file.
    provenance
        What made the picture, JSON-able: `Samples.provenance()` of the samples it shows.
    """
    write_bytes(path, png_bytes(picture, provenance))


def save_pictures(
    samples: Samples, corpus: Corpus, folder: Path, columns: int | None = None, scale: int = 2
) -> list[Path]:
    """Write the pictures of a run: samples, image-ID map, class map if there are labels, and all side by side.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they were made from.
    folder
        Where the files go.
    columns, scale
        As in `grid`.

    Returns
    -------
    list of Path
        The files; the last is the overview.
    """
    pictures = {
        "samples": grid(samples.images, columns, scale),
        "image-id-map": grid(image_id_map(samples), columns, scale),
    }
    if corpus.labels is not None:
        pictures["class-map"] = grid(class_map(samples, corpus), columns, scale)
    pictures["overview"] = overview(samples, corpus, columns, scale)
    for name, picture in pictures.items():
        save_png(picture, folder / f"{name}.png", samples.provenance())
    return [folder / f"{name}.png" for name in pictures]
