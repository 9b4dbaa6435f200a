"""Bytes for the browser: arrays as base64, and source images on sheets that keep within a size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

# Cells of a sheet along each side; sheets are smaller where images are large, as no format takes any size.
CELLS = 16
SHEET_SIDE = 4096
# Lossless either way; WebP is a quarter smaller, and every browser of the last years reads it.
FORMAT: tuple[str, dict[str, Any]] = (
    ("webp", {"lossless": True, "method": 2, "quality": 50}) if features.check("webp") else ("png", {})
)


def packed(array: NDArray[Any]) -> dict[str, str]:
    """Pack numbers as the smallest unsigned type that holds them all, or as float32: little-endian, base64."""
    kind = "f4" if array.dtype.kind == "f" else f"u{np.min_scalar_type(int(array.max(initial=0))).itemsize}"
    data = np.ascontiguousarray(array.reshape(-1).astype(f"<{kind}")).tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode("ascii")}


@dataclass(frozen=True, eq=False)
class Sheets:
    """Source images as they go into the file.

    Attributes
    ----------
    uris
        The sheets, as data URIs.
    columns, cells
        Images in a row of a sheet, and in a sheet. Image s lies in cell s % cells of sheet s // cells.
    rects
        (S, 4) int64, the part of each image that is there: y, x, height, width. Height 0: nothing.
    """

    uris: list[str]
    columns: int
    cells: int
    rects: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Bytes of all URIs."""
        return sum(map(len, self.uris))


def pack_images(
    images: NDArray[np.uint8], windows: NDArray[np.int64], room: int, sizes: NDArray[np.integer[Any]] | None = None
) -> Sheets:
    """Put images on sheets of at most `room` bytes in all.

    Parameters
    ----------
    images
        (S, H, W, C) uint8, the most important first.
    windows
        (S, 4) int64: y, x, height, width of the part that must be kept of each, if it is kept at all.
    room
        Bytes that the sheets' data URIs may take.
    sizes
        (S, 2) height and width of images that don't fill H×W; None if all do.

    Returns
    -------
    Sheets
        All images whole if they fit; else the last ones cut to their windows; else the last ones left out.
    """
    count, height, width = images.shape[:3]
    side = max(1, min(CELLS, SHEET_SIDE // max(height, width)))
    frames = np.zeros((count, 4), np.int64)
    frames[:, 2:] = (height, width) if sizes is None else sizes
    areas = frames[:, 2] * frames[:, 3]
    # One sheet tells the rate; a little hope, as the first try decides whether anything is cut at all.
    first = slice(side * side)
    pilot = _encode(images[first], frames[first], side).size / areas[first].sum()
    pixels = min(int(areas.sum()), int(1.1 * room / pilot))
    while True:
        sheets = _encode(images, _kept(windows, frames, pixels), side)
        if sheets.size <= room or pixels == 0:
            return sheets
        # As many pixels as their rate allows, and fewer each time.
        present = int((sheets.rects[:, 2] * sheets.rects[:, 3]).sum())
        pixels = int(0.97 * present * room / sheets.size)


def _kept(windows: NDArray[np.int64], frames: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Share `pixels` out: first a window for each image in order, then whole images in order."""
    areas = windows[:, 2] * windows[:, 3]
    needed = np.cumsum(areas)
    rects = windows.copy()
    cut = int(np.searchsorted(needed, pixels, side="right"))
    rects[cut:] = 0
    if cut == len(rects):
        growth = np.cumsum(frames[:, 2] * frames[:, 3] - areas)
        whole = int(np.searchsorted(growth, pixels - needed[-1], side="right"))
        rects[:whole] = frames[:whole]
    return rects


def _encode(images: NDArray[np.uint8], rects: NDArray[np.int64], side: int) -> Sheets:
    height, width, channels = images.shape[1:]
    rows, columns = np.arange(height), np.arange(width)
    uris, cells = [], side * side
    present = int(np.count_nonzero(rects[:, 2]))  # those left out are the last
    for start in range(0, present, cells):
        part = slice(start, min(start + cells, present))
        y, x, tall, wide = rects[part].T[:, :, None]
        inside = ((rows >= y) & (rows < y + tall))[:, :, None] & ((columns >= x) & (columns < x + wide))[:, None, :]
        sheet = np.zeros((cells, height, width, channels), np.uint8)
        sheet[: len(inside)] = images[part] * inside[..., None]
        laid = sheet.reshape(side, side, height, width, channels).swapaxes(1, 2)
        laid = laid.reshape(side * height, side * width, channels)[: -(-len(inside) // side) * height]
        uris.append(_data_uri(laid))
    return Sheets(uris, side, cells, rects)


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Encode (H, W, C) pixels without loss."""
    name, settings = FORMAT
    data = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(data, format=name, **settings)
    return f"data:image/{name};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
