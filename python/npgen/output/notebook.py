"""Display of samples in notebooks: pictures, made without matplotlib, and tables of the run and its settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from npgen.output.pictures import grid, image_colours, png_bytes

# Most samples that are shown of a run.
SHOWN = 64
# Approximate longer side in pixels of one sample, and of a grid of several.
LARGE, SHEET = 224, 448
# Dark blue to yellow. Lightness increases with every colour, so the order shows without colour vision, too.
SCALE = np.array([(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 174, 108), (254, 232, 56)])
NOTHING = (217, 217, 217)
PARTS = """<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{}</div>"""
FIGURE = """<figure style="margin:0"><img alt="{name}" src="data:image/png;base64,{data}">
<figcaption style="font-size:smaller;opacity:.75">{name}</figcaption></figure>"""


def samples_png(pictures: Mapping[str, Image.Image], provenance: Mapping[str, Any]) -> bytes | None:
    """Join pictures of one height side by side.

    Parameters
    ----------
    pictures
        Pictures by name, as `sample_maps` and `sample_sheets` return them.
    provenance
        `Samples.provenance()`, JSON-able.

    Returns
    -------
    bytes or None
        A PNG file that carries the provenance; None if there are no pictures.
    """
    if not pictures:
        return None
    sheet = np.concatenate([np.asarray(picture) for picture in pictures.values()], axis=1)
    return png_bytes(Image.fromarray(sheet), provenance)


def samples_html(
    pictures: Mapping[str, Image.Image],
    run: Mapping[str, object],
    settings: Mapping[str, object],
    provenance: Mapping[str, Any],
) -> str:
    """Return samples as HTML: embedded pictures, and tables of the run and its settings.

    Parameters
    ----------
    pictures
        Pictures by name, as `sample_maps` and `sample_sheets` return them.
    run
        Facts about the run by name, shown as a table.
    settings
        All settings by name, shown as a table that is closed at first.
    provenance
        `Samples.provenance()`, JSON-able, stored in the pictures.

    Returns
    -------
    str
        An HTML fragment without references to other files.
    """
    figures = [
        FIGURE.format(name=escape(name), data=base64.b64encode(png_bytes(picture, provenance)).decode("ascii"))
        for name, picture in pictures.items()
    ]
    details = f"<details><summary>all settings</summary>{_table(settings)}</details>"
    return f"<div>{PARTS.format(''.join(figures))}{_table(run)}{details}</div>"


def sample_maps(
    number: int,
    images: NDArray[np.uint8],
    image_ids: NDArray[np.int32],
    pool_sizes: NDArray[np.int32],
    distances: NDArray[np.float64],
    unit: str,
) -> dict[str, Image.Image]:
    """Return pictures of one sample and of its maps, enlarged.

    Parameters
    ----------
    number
        The sample's index in its run.
    images
        (1, H, W, C) uint8.
    image_ids, pool_sizes, distances
        (1, H, W): source image, pool size and distance of each pixel.
    unit
        Unit of the distances, as a caption names it.

    Returns
    -------
    dict
        Pictures of one size by their captions.
    """
    scale = max(1, LARGE // max(images.shape[1:3]))
    drawn = pool_sizes > 0
    maps = {
        f"sample {number}": images,
        "image-ID map": image_colours(image_ids),
        f"pool size, 1 to {pool_sizes.max():,}, logarithmic": _scaled(np.log(np.maximum(pool_sizes, 1)), drawn),
        f"distance, 0 to {distances.max():.3g} {unit}": _scaled(distances, drawn),
    }
    return {name: grid(picture, 1, scale) for name, picture in maps.items()}


def sample_sheets(images: NDArray[np.uint8], image_ids: NDArray[np.int32]) -> dict[str, Image.Image]:
    """Return pictures of several samples side by side, and of their image-ID maps.

    Parameters
    ----------
    images
        (n, H, W, C) uint8, of which the first 64 are shown.
    image_ids
        (n, H, W) source image of each pixel.

    Returns
    -------
    dict
        Pictures of one size by their captions.
    """
    n, (height, width) = len(images), images.shape[1:3]
    shown = images[:SHOWN]
    columns = int(np.ceil(np.sqrt(len(shown))))
    scale = max(1, SHEET // (columns * max(height, width)))
    name = "samples" if n <= SHOWN else f"the first {SHOWN} of {n:,} samples"
    return {
        name: grid(shown, columns, scale),
        "image-ID maps": grid(image_colours(image_ids[:SHOWN]), columns, scale),
    }


def _table(rows: Mapping[str, object]) -> str:
    cells = (
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _scaled(values: NDArray[np.floating], drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return colours (n, H, W, 3) of values (n, H, W), dark for 0 to light for the largest; grey where not drawn."""
    shares = values / max(float(values.max()), 1e-9) * (len(SCALE) - 1)
    colours = np.stack([np.interp(shares, np.arange(len(SCALE)), channel) for channel in SCALE.T], axis=-1)
    return np.where(drawn[..., None], colours, NOTHING).astype(np.uint8)
