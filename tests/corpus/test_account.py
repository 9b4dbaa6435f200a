"""The account of a build: formats, what is left out, exact copies, conversions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ingestion import QUIET, Pairs, options, pixels, write
from PIL import Image, features

from npgen.corpus import Corpus, read_account
from npgen.corpus.build import build_corpus


def account_of(corpus: Corpus):
    account = read_account(corpus)
    assert account is not None
    return account


def test_every_format_that_pillow_reads_is_read(out: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(1, 16, 16)[0, ..., 0])
    named = {"a.jpe": "JPEG", "b.jfif": "JPEG", "c.PNG": "PNG", "d.tif": "TIFF", "e": "PNG", "f.dat": "GIF",
             "h.dib": "DIB", "i.apng": "PNG", "j.j2k": "JPEG2000", "l.webp": "WEBP"}  # fmt: skip
    if features.check("avif"):
        named["m.avif"] = "AVIF"
    for name, kind in named.items():
        write(tmp_path / "d" / name, picture, format=kind)
    (tmp_path / "d" / "n.txt").write_text("text")
    (tmp_path / "d" / "o").write_text("text")
    made = build_corpus(tmp_path / "d", out, options(mode="grey"))
    account = account_of(made)
    assert len(made) == sum(account.read.values()) == len(named)
    assert account.read["JPEG 16x16"] == 2
    assert {reason: what.names for reason, what in account.left_out.items()} == {
        "no images that Pillow reads": ("n.txt", "o")
    }


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_further_pages_are_counted(out: Path, tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(page) for page in pixels(5, 12, 12)[..., 0]]
    write(tmp_path / "d" / f"a.{suffix}", pages[0], save_all=True, append_images=pages[1:])
    write(tmp_path / "d" / "b.png", pages[1])
    made = build_corpus(tmp_path / "d", out, options(mode="grey"))
    assert len(made) == 2
    (what,) = account_of(made).left_out.values()
    assert what.names == (f"a.{suffix} (4)",)
    assert account_of(made).lines()[-1].startswith("left out, further frames or pages of a file: 1 (a.")


def test_exact_copies_are_counted_within_and_across_the_split(out: Path) -> None:
    images = np.repeat(pixels(20), 3, axis=0)
    made = build_corpus(Pairs(images, [0] * 60), out, options(holdout=0.2))
    account = account_of(made)
    assert made.heldout is not None
    sources, held = ([image.tobytes() for image in corpus.images] for corpus in (made, made.heldout))
    assert account.duplicates == len(sources) - len(set(sources)) > 0
    assert account.heldout_duplicates == len(held) - len(set(held))
    assert account.heldout_in_corpus == sum(image in sources for image in held) > 0
    assert account.copies[0][0].startswith("item ")
    assert any(line.startswith("held-out images that are also source images: ") for line in account.lines())
    assert sum(account.read.values()) == 60


def test_equal_bytes_of_other_shapes_are_no_copies(out: Path) -> None:
    flat = pixels(1, 4, 6)[0, ..., 0]
    made = build_corpus([(flat, None), (flat.reshape(6, 4), None)], out, options(keep_sizes=True))
    assert account_of(made).duplicates == 0


def test_conversions_are_counted(out: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "d" / "a.png", pixels(1, 6, 4)[0, ..., 0], exif=exif)
    write(tmp_path / "d" / "b.png", np.full((4, 6), 30000, np.uint16))
    write(tmp_path / "d" / "c.png", pixels(1, 4, 6, 3)[0])
    write(tmp_path / "d" / "d.png", pixels(1, 8, 8)[0, ..., 0])
    made = build_corpus(tmp_path / "d", out, options(mode="grey", size=(4, 6)))
    assert account_of(made).converted == {
        "16 bits scaled to 8": 1,
        "RGB to L": 1,
        "resized to 4x6": 1,
        "turned upright, as Exif data say": 1,
    }
    assert account_of(made).read == {"PNG 4x6": 3, "PNG 8x8": 1}


def test_long_lists_are_cut(out: Path, tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.png", pixels(1)[0, ..., 0])
    for index in range(12):
        (tmp_path / "d" / f"{index:02}.txt").write_text("")
    lines = account_of(build_corpus(tmp_path / "d", out, QUIET)).lines()
    assert lines[-1].endswith(": 12 (00.txt, 01.txt, 02.txt, 03.txt, 04.txt and 7 more)")


def test_only_builds_have_an_account(out: Path, tmp_path: Path) -> None:
    assert read_account(Corpus.from_arrays(pixels(3))) is None
    assert read_account(Corpus.from_arrays(pixels(3)).save(tmp_path / "c")) is None
    made = build_corpus(Pairs(pixels(4), [0] * 4), out, QUIET)
    file = out / "account.json"
    content = json.loads(file.read_text())
    for changed, message in (
        ({"version": 9}, r"account\.json must be of format 'npgen-build-account', version 1, got .*version 9"),
        ({"read": 3}, r"account\.json must hold an account of a build, got one that can't be read"),
    ):
        file.write_text(json.dumps(content | changed))
        with pytest.raises(ValueError, match=message):
            read_account(made)
