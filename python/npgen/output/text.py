"""Names from data as text that pictures can show: one line, of characters that their fonts have."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache

from anyascii import anyascii
from PIL import ImageFont

# Latin, Greek and Cyrillic, which need neither shaping nor another direction, and punctuation.
_PLAIN_LAYOUT = (range(0x20, 0x530), range(0x1E00, 0x2070))
# What Pillow's font is asked for to learn how it draws what it lacks: a character that no font has.
_NO_CHARACTER = "\uffff"


def readable(name: str, has: Callable[[str], bool]) -> str:
    """Return a name as one line, with all characters that a font lacks transliterated to Latin letters.

    Fonts of the system are not used, so that pictures are the same on all machines: "猫" becomes "Mao".

    Parameters
    ----------
    name
        Any text.
    has
        Returns whether the font has a character.

    Returns
    -------
    str
        The line; "?" stands for what cannot be shown.
    """
    line = " ".join(unicodedata.normalize("NFC", name).split())
    return "".join(one if _is_plain(one) and has(one) else anyascii(one) or "?" for one in line)


def _is_plain(character: str) -> bool:
    return character.isprintable() and any(ord(character) in block for block in _PLAIN_LAYOUT)


@cache
def picture_font_has(character: str) -> bool:
    """Return whether Pillow's own font, which pictures are written in, has a character."""
    font = ImageFont.load_default(size=12)
    if character == " ":
        return True
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """Return a text cut to what fits, with "…" at its end if it was cut; at least that."""
    if fits(text):
        return text
    kept = text
    while kept and not fits(f"{kept}…"):
        kept = kept[:-1]
    return f"{kept}…"
