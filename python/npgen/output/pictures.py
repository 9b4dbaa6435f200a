"""Pictures of arrays: images in grids and rows, colours of maps, and PNG files with their provenance."""

from __future__ import annotations

import colorsys
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from npgen.errors import invalid
from npgen.output.provenance import KEY, provenance_text
from npgen.output.text import picture_font_has, readable, shortened
from npgen.storage import write_bytes

# What a picture was made from: of one run, or of several.
Provenance = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# Ten colours that colour-blind people can distinguish (Paul Tol's "muted" scheme, its grey for the tenth).
CLASS_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# Pixels between the images of a grid.
GAP = 2
# Most pixels of a picture of images: 3 GiB of them in memory.
MOST_PIXELS = 1 << 30
# Largest number of images in a labelled row.
SHOWN = 12


def check_scale(count: int, height: int, width: int, columns: int | None, scale: int) -> None:
    """Check that a grid of images is no larger than `MOST_PIXELS`, before they are made.

    Parameters
    ----------
    count, height, width
        Number and size of the images.
    columns, scale
        As for `grid`.

    Raises
    ------
    ValueError
        If it is; the message says which scale would do.
    """
    across = min(count, columns or math.ceil(math.sqrt(count)))
    down = math.ceil(count / across)

    def pixels(side: int) -> int:
        return (down * (height * side + GAP) + GAP) * (across * (width * side + GAP) + GAP)

    if pixels(scale) > MOST_PIXELS and scale > 1:
        most = max(side for side in range(1, scale) if side == 1 or pixels(side) <= MOST_PIXELS)
        what = f"{count} images of {height}×{width} pixels" if count > 1 else f"an image of {height}×{width} pixels"
        raise invalid("scale", f"at most {most} for a picture of {what}", scale)


def grid(images: NDArray[np.uint8], columns: int | None = None, scale: int = 1) -> Image.Image:
    """Show images in a grid.

    Parameters
    ----------
    images
        (n, H, W, C) uint8, C 1 or 3.
    columns
        Images per row; None makes the picture about square.
    scale
        Side of an image pixel in the picture, in pixels.

    Returns
    -------
    PIL.Image.Image
        RGB, with a gap between images.
    """
    n, height, width = images.shape[:3]
    check_scale(n, height, width, columns, scale)
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    pitch_y, pitch_x = height * scale + GAP, width * scale + GAP
    sheet = np.full((rows * pitch_y + GAP, columns * pitch_x + GAP, 3), 128, np.uint8)
    for k, image in enumerate(images):
        y, x = GAP + k // columns * pitch_y, GAP + k % columns * pitch_x
        sheet[y : y + height * scale, x : x + width * scale] = enlarged(image, scale)
    return Image.fromarray(sheet)


def enlarged(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return an image (H, W, C), C 1 or 3, with square pixels of a side `scale`: (H·scale, W·scale, 3)."""
    large = image.repeat(scale, 0).repeat(scale, 1)  # (H·scale, W·scale, C)
    return np.broadcast_to(large, (*large.shape[:2], 3))


def stacked(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Put pictures below each other on white, flush left, `gap` pixels apart."""
    sheet = Image.new(
        "RGB", (max(one.width for one in pictures), _extent([one.height for one in pictures], gap)), "white"
    )
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + gap
    return sheet


def side_by_side(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Put pictures beside each other on white, flush with the top, `gap` pixels apart."""
    sheet = Image.new(
        "RGB", (_extent([one.width for one in pictures], gap), max(one.height for one in pictures)), "white"
    )
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    return sheet


def _extent(lengths: list[int], gap: int) -> int:
    return sum(lengths) + gap * (len(lengths) - 1)


def labelled_rows(rows: Mapping[str, NDArray[np.uint8]], scale: int = 2) -> Image.Image:
    """Show one row of images per name, below the name.

    Parameters
    ----------
    rows
        Images (n, H, W, C) by name; the first `SHOWN` are shown.
    scale
        Side of an image pixel in the picture.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    font = ImageFont.load_default(size=12)
    parts = []
    for name, images in rows.items():
        row = grid(images[:SHOWN], SHOWN, scale)
        head = Image.new("RGB", (row.width, 18), "white")
        text = fitting(name, font, row.width - 2 * GAP)
        ImageDraw.Draw(head).text((GAP, 2), text, fill="black", font=font)
        parts += [head, row]
    return stacked(parts)


def fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a name as text that Pillow's own font can write in so many pixels."""
    return shortened(readable(name, picture_font_has), lambda text: font.getlength(text) <= width)


def image_colours(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the colours that images have in all image-ID maps.

    Parameters
    ----------
    ids
        Ids of images, of any shape.

    Returns
    -------
    ndarray
        The ids' shape and 3 channels, uint8.
    """
    different, where = np.unique(ids, return_inverse=True)
    colours = np.array([_spread_colour(int(i)) for i in different], np.uint8).reshape(-1, 3)
    picture: NDArray[np.uint8] = colours[where.reshape(ids.shape)]
    return picture


def class_colours(count: int) -> NDArray[np.uint8]:
    """Return a colour for each of `count` classes, (count, 3) uint8."""
    return colours_of_classes(np.arange(count), count)


def colours_of_classes(labels: NDArray[np.integer], count: int) -> NDArray[np.uint8]:
    """Return the colours of classes: only those that occur take time, however large their labels are.

    Parameters
    ----------
    labels
        Labels, of any shape, each less than `count`.
    count
        Number of classes, or the largest label and 1.

    Returns
    -------
    ndarray
        The labels' shape and 3 channels, uint8.
    """
    if count > len(CLASS_COLOURS):
        return image_colours(labels)
    palette = np.array([tuple(bytes.fromhex(name[1:])) for name in CLASS_COLOURS], np.uint8)
    colours: NDArray[np.uint8] = palette[labels]
    return colours


def png_bytes(picture: Image.Image, provenance: Provenance, dpi: int | None = None) -> bytes:
    """Return a picture as `save_png` writes it."""
    info = PngInfo()
    info.add_text(KEY, provenance_text(provenance))
    data = io.BytesIO()
    resolution = {} if dpi is None else {"dpi": (dpi, dpi)}
    picture.save(data, format="PNG", pnginfo=info, optimize=True, **resolution)
    return data.getvalue()


def save_png(
    picture: Image.Image, path: str | os.PathLike[str], provenance: Provenance, dpi: int | None = None
) -> None:
    """Write a picture as a PNG file, atomically, with its provenance in the `npgen` text chunk.

    Parameters
    ----------
    picture
        The picture.
    path
        The file, written or replaced.
    provenance
        What the picture was made from, JSON-able: `provenance()` of the samples that it shows, or a list for several.
    dpi
        Resolution to note in the file, in dots per inch.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    write_bytes(path, png_bytes(picture, provenance, dpi))


def _spread_colour(index: int) -> tuple[int, int, int]:
    """Return a colour for an index: hues are a golden ratio apart, with three lightnesses in turn."""
    hue = index * GOLDEN_RATIO % 1
    lightness = (0.42, 0.6, 0.75)[index % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)
