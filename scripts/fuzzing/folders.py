"""Folders of pictures as people have them: names, formats, Exif data, truncation, nesting and links of all kinds.

Every picture must be in the corpus or named in the account of the build, or the build must be refused with one line.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

import npgen

ENDINGS = (
    ".png", ".PNG", ".jpg", ".jpe", ".jfif", ".tif", ".gif", ".bmp", ".webp", ".pgm", ".ppm", ".tga", ".avif", "",
    ".dat", ".txt", ".npy", ".json", ".apng", ".qoi", ".ico", ".j2k", ".pcx", ".eps", ".mpo",
)  # fmt: skip
NAMES = (
    "a", "b", "cat", "cafe\u0301", "caf\u00e9", "\u732b", "with space", "-q", "..x", "%s", "a\nb", "x" * 120, "Thumbs",
    "IMG_0001", "\u202eabc", "nul", "~", "#1", "$HOME", "'", '"', "\U0001f4a9", "train", "test",
)  # fmt: skip
FOLDERS = (
    "train", "Train", "TEST", "val", "validation", "cat", "dog", "cat", "dog", "__MACOSX", "@eaDir", ".git",
    "caf\u00e9", "cafe\u0301", "\u732b", "a b", "labels", "manifest.json", "images", "t\u0131re",
)  # fmt: skip
MODES = (*("L", "RGB") * 8, *("RGBA", "LA", "P", "1", "I;16", "CMYK") * 2, "F", "I")
FORMATS = ("PNG", "PNG", "PNG", "JPEG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA", "JPEG2000", "QOI", "PCX")


def build_folder(random: Random, stores: object) -> None:
    """Make a folder of pictures in the working directory, and build a corpus of it."""
    root = Path("pictures")
    root.mkdir()
    _fill(random, root, random.choice((0, 0, 0, 1, 1, 1, 1, 2, 3)))
    options = npgen.BuildOptions(
        mode=random.choice((None, "grey", "grey", "grey", "rgb", "rgb")),
        size=random.choice((None, (6, 5), (6, 5), (6, 5), (6, 5))),
        holdout=random.choice((0.0, 0.0, 0.3)),
        white=random.choice((*[None] * 8, 255, 1, 65535)),
        quiet=True,
    )
    made = npgen.build_corpus(root, "built", options)
    account = npgen.read_account(made)
    assert account is not None
    total = len(made) + (0 if made.heldout is None else len(made.heldout))
    assert sum(account.read.values()) == total, (account.read, total)
    assert account.lines()
    for name in (name for what in account.left_out.values() for name in what.names):
        assert isinstance(name, str)


def _fill(random: Random, folder: Path, depth: int) -> None:
    """Put pictures and other things into a folder, and folders if it is to be so deep."""
    for _ in range(random.choice((0,) * 9 + (3,)) if depth else random.choice((1, 4, 8))):
        path = folder / (random.choice(NAMES) + random.choice(ENDINGS if random.random() < 0.5 else ENDINGS[:4]))
        with contextlib.suppress(OSError, ValueError):  # a name that this file system does not take
            _thing(random, path)
    for _ in range(random.choice((1, 2, 3)) if depth else 0):
        below = folder / random.choice(FOLDERS)
        with contextlib.suppress(OSError, ValueError):
            below.mkdir()
            _fill(random, below, depth - 1)


def _thing(random: Random, path: Path) -> None:
    if os.path.lexists(path):  # writing to a pipe would wait for its reader
        return
    match random.randrange(16):
        case 0:
            path.symlink_to(random.choice((path.name, "nowhere", "..", ".", "a.png")))
        case 1 if random.random() < 0.1:
            path.mkdir()
        case 2 if not path.suffix or path.suffix in (".txt", ".json", ".dat"):
            path.write_bytes(random.randbytes(random.choice((0, 1, 40))))
        case 3 if random.random() < 0.3:
            os.mkfifo(path)
        case _:
            data = _picture(random)
            if random.random() < 0.02:
                data = data[: random.randrange(len(data))]
            if random.random() < 0.02:
                place = random.randrange(len(data))
                data = data[:place] + random.randbytes(3) + data[place + 3 :]
            path.write_bytes(data)


def _picture(random: Random) -> bytes:
    """Return a picture as the bytes of a file."""
    height, width = random.choice(((6, 5), (6, 5), (6, 5), (5, 6), (1, 1), (9, 40)))
    numbers = np.random.default_rng(random.randrange(4)).integers(0, random.choice((2, *[256] * 9)), (height, width, 3))
    base, mode = Image.fromarray(numbers.astype(np.uint8)), random.choice(MODES)
    picture = Image.fromarray(numbers[..., 0].astype(np.uint16)) if mode == "I;16" else base.convert(mode)
    options: dict[str, object] = {}
    if random.random() < 0.3:
        options["exif"] = _exif(random)
    if random.random() < 0.1:
        options |= {"save_all": True, "append_images": [picture] * random.choice((1, 3))}
    for kind in (random.choice(FORMATS), "PNG", "TIFF"):
        file = io.BytesIO()
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            picture.save(file, kind, **options)
            return file.getvalue()
    file = io.BytesIO()
    base.save(file, "PNG")
    return file.getvalue()


def _exif(random: Random) -> bytes:
    """Return Exif data, right ones or malformed ones."""
    entries = [struct.pack("<HHIHH", 0x0112, random.choice((2, 3, 3, 3, 99)), 1, random.randrange(12), 0)]
    entries += [
        struct.pack("<HHII", random.randrange(1 << 16), random.randrange(14), random.choice((1, 2, 1 << 31)), 1 << 20)
        for _ in range(random.randrange(3))
    ]
    random.shuffle(entries)
    count = random.choice((len(entries), len(entries), 0, 60_000))
    data = b"Exif\0\0II*\0" + struct.pack("<IH", random.choice((8, 8, 8, 1 << 24)), count) + b"".join(entries)
    return data[: random.randrange(len(data))] if random.random() < 0.3 else data
