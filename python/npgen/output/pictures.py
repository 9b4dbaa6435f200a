"""Images side by side, colours, and PNG files."""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from npgen.output.provenance import KEY, provenance_text

# Ten colours that stay apart for colour-blind eyes (Paul Tol's "muted" scheme, its grey for the tenth).
CLASS_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
GAP = 2


def grid(images: NDArray[np.uint8], columns: int | None = None, scale: int = 1) -> Image.Image:
    """Lay images out in rows.

    Parameters
    ----------
    images
        (n, H, W, C) uint8, C 1 or 3.
    columns
        Images in a row; None means about a square.
    scale
        Side of an image pixel in the picture, in pixels.

    Returns
    -------
    PIL.Image.Image
        RGB, with a gap between images.
    """
    n, height, width = images.shape[:3]
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    pitch_y, pitch_x = height * scale + GAP, width * scale + GAP
    sheet = np.full((rows * pitch_y + GAP, columns * pitch_x + GAP, 3), 128, np.uint8)
    for k, image in enumerate(images):
        y, x = GAP + k // columns * pitch_y, GAP + k % columns * pitch_x
        large = image.repeat(scale, 0).repeat(scale, 1)  # (H·scale, W·scale, C)
        sheet[y : y + height * scale, x : x + width * scale] = np.broadcast_to(large, (*large.shape[:2], 3))
    return Image.fromarray(sheet)


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
    if count <= len(CLASS_COLOURS):
        return np.array([tuple(bytes.fromhex(name[1:])) for name in CLASS_COLOURS[:count]], np.uint8)
    return image_colours(np.arange(count))


def png_bytes(picture: Image.Image, provenance: Mapping[str, Any]) -> bytes:
    """Return a picture as `save_png` writes it."""
    info = PngInfo()
    info.add_text(KEY, provenance_text(provenance))
    data = io.BytesIO()
    picture.save(data, format="PNG", pnginfo=info, optimize=True)
    return data.getvalue()


def _spread_colour(index: int) -> tuple[int, int, int]:
    """Turn an index into a colour: hues a golden ratio apart, in three lightnesses."""
    hue = index * GOLDEN_RATIO % 1
    lightness = (0.42, 0.6, 0.75)[index % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


# Samples in a row of the picture.
SHOWN = 12


def labelled_rows(rows: dict[str, NDArray[np.uint8]], scale: int = 2) -> Image.Image:
    """Lay images out, a row under each name.

    Parameters
    ----------
    rows
        Images (n, H, W, C) by what they are; the first few of each are shown.
    scale
        Side of an image pixel in the picture.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    strips = [grid(images[:SHOWN], SHOWN, scale) for images in rows.values()]
    font = ImageFont.load_default(size=12)
    head = 18
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height + head for strip in strips)), "white")
    draw = ImageDraw.Draw(sheet)
    y = 0
    for name, strip in zip(rows, strips, strict=True):
        draw.text((GAP, y + 2), name, fill="black", font=font)
        sheet.paste(strip, (0, y + head))
        y += strip.height + head
    return sheet
