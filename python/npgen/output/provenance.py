"""Where a picture comes from, carried in the picture: config, corpus, encoder and version in a PNG's text chunk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from npgen.errors import invalid
from npgen.storage import open_regular, parse_json

# Name of the text chunk.
KEY = "npgen"


def provenance_text(facts: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """Return the facts about a picture's run, or runs, as the line of ASCII JSON that goes into its chunk `KEY`."""
    return json.dumps(facts, sort_keys=True)


def read_provenance(path: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """Read back what made a picture that npgen wrote.

    Parameters
    ----------
    path
        A PNG file.

    Returns
    -------
    tuple of dict
        One for each run that it shows, as `Samples.provenance` has it: `config`, `corpus` (name and hash), `encoder`
        (its hash, or None), `npgen` (the version), `model`, `seed` and more. The plots of a sweep show one run many
        times: the base's, with the swept values as `grid`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no PNG, or carries no provenance: not npgen's, or saved again by a program that drops it.
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
