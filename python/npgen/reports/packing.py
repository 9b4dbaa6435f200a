"""Arrays and images as text for the browser: base64, and source images on sheets of limited size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

# Number of cells along each side of a sheet, and its largest side in pixels: sheets of large images have fewer cells.
CELLS = 16
SHEET_SIDE = 4096
# Both are lossless; WebP is a quarter smaller, and all recent browsers read it.
FORMAT: tuple[str, dict[str, Any]] = (
    ("webp", {"lossless": True, "method": 2, "quality": 50}) if features.check("webp") else ("png", {})
)


def packed(array: NDArray[Any]) -> dict[str, str]:
    """Return an array as base64 of its smallest unsigned type, or of float32: little-endian."""
    kind = "f4" if array.dtype.kind == "f" else f"u{np.min_scalar_type(int(array.max(initial=0))).itemsize}"
    data = np.ascontiguousarray(array.reshape(-1).astype(f"<{kind}")).tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode("ascii")}


@dataclass(frozen=True, eq=False)
class Sheets:
    """Source images on sheets.

    Attributes
    ----------
    uris
        The sheets, as data URIs.
    columns, cells
        Number of images per row of a sheet, and per sheet. Image s is in cell s % cells of sheet s // cells.
    rects
        (S, 4) int64, y, x, height and width of the stored part of each image; height 0 if it is left out.
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
    """Put images on sheets of at most `room` bytes together.

    Parameters
    ----------
    images
        (S, H, W, C) uint8, the most important first.
    windows
        (S, 4) int64, y, x, height and width of the smallest part that may be stored of each image.
    room
        Largest size of the sheets' data URIs, in bytes.
    sizes
        (S, 2) height and width of images that don't fill H×W; None if all do.

    Returns
    -------
    Sheets
        All images whole if they fit; otherwise the last ones are cut to their windows, or left out.
    """
    count, height, width = images.shape[:3]
    side = max(1, min(CELLS, SHEET_SIDE // max(height, width)))
    frames = np.zeros((count, 4), np.int64)
    frames[:, 2:] = (height, width) if sizes is None else sizes
    areas = frames[:, 2] * frames[:, 3]
    # Estimate bytes per pixel from the first sheet; 10 % more room, so that nothing is cut because of the estimate.
    first = slice(side * side)
    rate = _encode(images[first], frames[first], side).size / areas[first].sum()
    pixels = min(int(areas.sum()), int(1.1 * room / rate))
    while True:
        sheets = _encode(images, _stored_parts(windows, frames, pixels), side)
        if sheets.size <= room or pixels == 0:
            return sheets
        # Too large: try again with the number of pixels that fits by the actual rate.
        present = int((sheets.rects[:, 2] * sheets.rects[:, 3]).sum())
        pixels = int(0.97 * present * room / sheets.size)


def _stored_parts(windows: NDArray[np.int64], frames: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Return the parts (S, 4) to store, at most `pixels`: first the windows of the images, then whole images."""
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
    present = int(np.count_nonzero(rects[:, 2]))  # images that are left out are the last
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
    """Return an image (H, W, C) as a data URI, without loss."""
    name, settings = FORMAT
    data = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(data, format=name, **settings)
    return f"data:image/{name};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
