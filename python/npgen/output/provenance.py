"""Provenance of pictures: config, corpus, encoder and version of the run, as JSON in a text chunk of the PNG file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from npgen.errors import invalid
from npgen.storage import open_regular, parse_json

# Keyword of the text chunk.
KEY = "npgen"


def provenance_text(facts: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """Return the facts about the run or runs that a picture shows as one line of ASCII JSON, for its chunk `KEY`."""
    return json.dumps(facts, sort_keys=True)


def read_provenance(path: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """Read the provenance of a picture that npgen wrote.

    Parameters
    ----------
    path
        A PNG file.

    Returns
    -------
    tuple of dict
        One dict per run that the picture shows, as returned by `Samples.provenance`: `config`, `corpus` (name and
        hash), `encoder` (its hash, or None), `npgen` (the version), `model`, `seed` and more. Plots of a sweep have one
        dict, that of the base run, with the swept values as `grid`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a PNG file, or has no provenance: npgen did not write it, or another program saved it again.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 1, "local", progress=False)
    >>> with open("samples.png", "wb") as file:  # the picture that notebooks show
    ...     _ = file.write(samples._repr_png_())
    >>> (run,) = npgen.read_provenance("samples.png")
    >>> run["model"], run["corpus"]["name"]
    ('local', 'mnist-5k')
    """
    file = Path(path)
    try:
        with open_regular(file) as data, Image.open(data, formats=["PNG"]) as picture:
            picture.load()  # text may also follow the pixels
            text = getattr(picture, "text", {}).get(KEY)
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise invalid("picture", "a PNG file", str(file)) from error
    if text is None:
        raise invalid("picture", "a PNG that npgen wrote, with its provenance inside", str(file))
    try:
        facts = parse_json(text)
    except ValueError:
        facts = None
    runs = facts if isinstance(facts, list) else [facts]
    if not runs or not all(isinstance(run, dict) for run in runs):
        raise invalid(f"provenance in {str(file)!r}", "JSON of one run or several", text[:60])
    return tuple(runs)
