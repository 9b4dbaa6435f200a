"""Samples as notebooks show them: pictures without matplotlib, and a table of what they were made with."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from npgen.config import Config
from npgen.figures import distances_to_show, grid, image_id_map, png_bytes
from npgen.trace import Samples

# A run shows so many samples at most.
SHOWN = 64
# Longer side in pixels, about, of one sample and of a grid of several.
LARGE, SHEET = 224, 448
# Dark blue to yellow, lighter from step to step: ordered for colour-blind eyes, too.
SCALE = np.array([(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 174, 108), (254, 232, 56)])
NOTHING = (217, 217, 217)
PARTS = """<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{}</div>"""
FIGURE = """<figure style="margin:0"><img alt="{name}" src="data:image/png;base64,{data}">
<figcaption style="font-size:smaller;opacity:.75">{name}</figcaption></figure>"""


def samples_png(samples: Samples) -> bytes | None:
    """Picture samples: one large beside its maps, or several as a grid.

    Parameters
    ----------
    samples
        n samples, of which the first 64 are shown.

    Returns
    -------
    bytes or None
        A PNG that carries `samples.provenance()`; None if there are no samples.
    """
    pictures = _pictures(samples)
    if not pictures:
        return None
    sheet = np.concatenate([np.asarray(picture) for picture in pictures.values()], axis=1)  # all of one height
    return png_bytes(Image.fromarray(sheet), samples)


def samples_html(samples: Samples) -> str:
    """Describe samples in HTML: their pictures, embedded, and tables of the run and its settings.

    Parameters
    ----------
    samples
        n samples, of which the first 64 are shown.

    Returns
    -------
    str
        A fragment that refers to nothing outside itself.
    """
    figures = [
        FIGURE.format(name=escape(name), data=base64.b64encode(png_bytes(picture, samples)).decode("ascii"))
        for name, picture in _pictures(samples).items()
    ]
    defaults, settings = Config().to_json(), samples.config.to_json()
    changed = {name: value for name, value in settings.items() if value != defaults[name]}
    height, width, channels = samples.images.shape[1:]
    run = {
        "samples": f"{len(samples):,} of {height}×{width}×{channels}, the first is number {samples.first}",
        "model": samples.model,
        "seed": samples.seed,
        "corpus": f"{samples.corpus_name} ({samples.corpus_hash[:16]})",
        "encoder": "none" if samples.encoder_id is None else samples.encoder_id[:16],
        "settings": ", ".join(f"{name} {value}" for name, value in changed.items()) or "the defaults",
    }
    details = f"<details><summary>all settings</summary>{_table(settings)}</details>"
    return f"<div>{PARTS.format(''.join(figures))}{_table(run)}{details}</div>"


def _table(rows: Mapping[str, object]) -> str:
    cells = (
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _pictures(samples: Samples) -> dict[str, Image.Image]:
    if len(samples) == 0:
        return {}
    height, width = samples.images.shape[1:3]
    if len(samples) == 1:
        scale = max(1, LARGE // max(height, width))
        pools, (distances, unit) = samples.trace.pool_size, distances_to_show(samples)
        drawn = pools > 0
        maps = {
            f"sample {samples.first}": samples.images,
            "image-ID map": image_id_map(samples),
            f"pool size, 1 to {pools.max():,}, logarithmic": _scaled(np.log(np.maximum(pools, 1)), drawn),
            f"distance, 0 to {distances.max():.3g} {unit}": _scaled(distances, drawn),
        }
        return {name: grid(picture, 1, scale) for name, picture in maps.items()}
    shown = samples[:SHOWN]
    columns = int(np.ceil(np.sqrt(len(shown))))
    scale = max(1, SHEET // (columns * max(height, width)))
    which = "samples" if len(shown) == len(samples) else f"the first {SHOWN} of {len(samples):,} samples"
    return {
        which: grid(shown.images, columns, scale),
        "image-ID maps": grid(image_id_map(shown), columns, scale),
    }


def _scaled(values: NDArray[np.floating], drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour values (n, H, W) from 0 to the largest, dark to light; grey where nothing was drawn."""
    shares = values / max(float(values.max()), 1e-9) * (len(SCALE) - 1)
    colours = np.stack([np.interp(shares, np.arange(len(SCALE)), channel) for channel in SCALE.T], axis=-1)
    return np.where(drawn[..., None], colours, NOTHING).astype(np.uint8)
