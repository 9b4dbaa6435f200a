"""Building corpora from folders of images: all layouts, sizes, modes and formats, and damaged files."""

from __future__ import annotations

import io
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingestion import QUIET, class_folders, options, pixels, refused, write
from PIL import Image, ImageOps

from npgen.corpus import folders, read_account
from npgen.corpus.build import build_corpus
from npgen.corpus.decode import upright
from npgen.corpus.verify import verify_corpus

pytestmark = pytest.mark.usefixtures("out")


def test_class_folders(out: Path, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "pets")
    for ignored in (
        ".hidden.png",
        "notes.txt",
        ".git/x.png",
        "cat/.DS_Store",
        "cat/Thumbs.db",
        "empty/readme.md",
    ):
        (tmp_path / "pets" / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / "pets" / ignored).write_text("no image")
    made = build_corpus(tmp_path / "pets", out, QUIET)
    np.testing.assert_array_equal(made.images[..., 0], images)
    assert made.labels is not None
    assert made.labels.tolist() == [0] * 4 + [1] * 4
    assert (made.classes, made.name, made.heldout) == (("cat", "dog"), "pets", None)
    assert made.source["kind"] == "folder"
    assert made.source["mode"] == "grey"
    assert verify_corpus(out).class_counts == (4, 4)


def test_flat_folder_has_no_labels(out: Path, tmp_path: Path) -> None:
    images = pixels(12, channels=3)
    for index, image in enumerate(images):
        write(tmp_path / "flat" / f"{index:02}.PNG", image)
    made = build_corpus(str(tmp_path / "flat"), out, QUIET)
    np.testing.assert_array_equal(made.images, images)
    assert (made.labels, made.classes) == (None, None)


def test_train_and_test_folders(out: Path, tmp_path: Path) -> None:
    train = class_folders(tmp_path / "set" / "train")
    write(tmp_path / "set" / "test" / "dog" / "a.png", train[0])
    made = build_corpus(tmp_path / "set", out, QUIET)
    assert made.heldout is not None
    assert made.heldout.labels is not None
    assert (made.heldout.labels.tolist(), made.heldout.classes) == ([1], ("cat", "dog"))
    assert (made.heldout.path, made.name) == (out / "heldout", "set")
    refused(
        tmp_path / "set",
        out.parent.with_name("x") / "o",
        "holdout must be 0 for a source with a test",
        holdout=0.5,
    )


def test_bad_test_folders(out: Path, tmp_path: Path) -> None:
    train = class_folders(tmp_path / "set" / "train")
    flat = write(tmp_path / "set" / "test" / "a.png", train[0])
    refused(tmp_path / "set", out, "test must hold class folders as its train folder does, got 1 images")
    flat.unlink()
    write(tmp_path / "set" / "test" / "bird" / "a.png", train[0])
    refused(
        tmp_path / "set",
        out,
        r"class folders of .*test must be those of its train folder, .*, got \['bird'\]",
    )


def test_folder_of_another_layout(out: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    refused(root, out, "set must hold images, or folders of images, got none")
    class_folders(root / "pictures")
    refused(root, out, "pictures must be a class folder that holds images only, got a folder in it: 'cat'")
    class_folders(root)
    write(root / "a.png", pixels(1)[0, ..., 0])
    refused(root, out, r"set must be a folder of images or of class folders, not both, got \['a.png', 'cat'\]")


def test_mixed_sizes(out: Path, tmp_path: Path) -> None:
    class_folders(tmp_path / "pets")
    odd = write(tmp_path / "pets" / "cat" / "2.png", pixels(1, 7, 5)[0, ..., 0])
    odder = write(tmp_path / "pets" / "dog" / "0.png", pixels(1, 9, 9)[0, ..., 0])
    first = tmp_path / "pets" / "cat" / "0.png"
    message = f"size must be .* several sizes, got None, {re.escape(str(first))} of .* and {re.escape(str(odd))} of"
    refused(tmp_path / "pets", out, message)
    made = build_corpus(tmp_path / "pets", out, options(size=(6, 8)))
    assert made.images.shape == (8, 6, 8, 1)
    assert made.source["size"] == [6, 8]
    assert odder.exists()


def test_mixed_modes(out: Path, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "pets")
    colour = write(tmp_path / "pets" / "dog" / "1.png", pixels(1, channels=3)[0])
    message = f"mode must be .* a mixture of both, got None, .*0.png in grey and {re.escape(str(colour))} in rgb"
    refused(tmp_path / "pets", out, message)
    made = build_corpus(tmp_path / "pets", out, options(mode="rgb"))
    assert made.images.shape == (8, 4, 3, 3)
    np.testing.assert_array_equal(made.images[0], np.repeat(images[0][..., np.newaxis], 3, 2))


def odd_pictures() -> dict[str, tuple[Image.Image, list[int], list[int]]]:
    """Pictures of every unusual mode: the picture, and its first pixel in grey and in RGB."""
    palette = Image.new("P", (3, 4), 1)
    palette.putpalette([9, 9, 9, 255, 0, 0])
    hole = palette.copy()
    hole.info["transparency"] = 1
    return {
        "1": (Image.new("1", (3, 4), 1), [255], [255, 255, 255]),
        "P": (palette, [76], [255, 0, 0]),
        "P-transparent": (hole, [255], [255, 255, 255]),
        "LA": (Image.new("LA", (3, 4), (100, 255)), [100], [100, 100, 100]),
        "LA-clear": (Image.new("LA", (3, 4), (100, 0)), [255], [255, 255, 255]),
        "RGBA": (Image.new("RGBA", (3, 4), (10, 20, 30, 255)), [18], [10, 20, 30]),
        "RGBA-clear": (Image.new("RGBA", (3, 4), (10, 20, 30, 0)), [255], [255, 255, 255]),
        "RGBA-half": (Image.new("RGBA", (3, 4), (0, 0, 0, 128)), [127], [127, 127, 127]),
        "16": (Image.fromarray(np.full((4, 3), 257 * 77, np.uint16)), [77], [77, 77, 77]),
        "16-top": (Image.fromarray(np.full((4, 3), 65535, np.uint16)), [255], [255, 255, 255]),
    }


@pytest.mark.parametrize("kind", odd_pictures())
def test_unusual_modes(out: Path, tmp_path: Path, kind: str) -> None:
    picture, grey, rgb = odd_pictures()[kind]
    path = write(tmp_path / "flat" / "a.png", picture)
    message = f"mode must be 'grey' or 'rgb' for images that are neither .*, got None and {re.escape(str(path))} of"
    refused(tmp_path / "flat", out, message)
    made = build_corpus(tmp_path / "flat", out, options(mode="grey"))
    assert made.images[0, 0, 0].tolist() == grey
    again = build_corpus(tmp_path / "flat", tmp_path / "second", options(mode="rgb"))
    assert again.images[0, 0, 0].tolist() == rgb


def test_other_formats(out: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    write(flat / "a.gif", Image.new("L", (3, 4), 50))
    write(flat / "b.bmp", Image.new("RGB", (3, 4), (50, 50, 50)))
    write(flat / "c.jpg", Image.new("CMYK", (3, 4), (0, 0, 0, 205)))
    write(flat / "d.webp", Image.new("RGB", (3, 4), (50, 50, 50)), lossless=True)
    write(flat / "e.pgm", Image.new("L", (3, 4), 50))
    made = build_corpus(flat, out, options(mode="grey"))
    assert made.images.shape == (5, 4, 3, 1)
    assert np.abs(made.images.astype(int) - 50).max() <= 2


def test_numbers_without_a_range_are_refused(out: Path, tmp_path: Path) -> None:
    write(tmp_path / "flat" / "a.tif", Image.new("F", (3, 4), 0.5))
    refused(tmp_path / "flat", out, r"a\.tif must have 8 or 16 bits per channel, got Pillow mode 'F'", mode="grey")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation(out: Path, tmp_path: Path, suffix: str) -> None:
    lying = np.zeros((8, 16), np.uint8)
    lying[:, 8:] = 255  # white on the right
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    write(tmp_path / "flat" / f"a.{suffix}", lying, exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
    upright = write(tmp_path / "flat" / "b.png", np.zeros((16, 8), np.uint8))
    made = build_corpus(tmp_path / "flat", out, QUIET)
    assert made.images.shape == (2, 16, 8, 1)
    assert made.images[0, :6].max() < 20  # what was on the left is on top
    assert made.images[0, 10:].min() > 235
    write(upright, np.zeros((8, 16), np.uint8))
    refused(
        tmp_path / "flat",
        out.parent.with_name("x") / "o",
        "size must be .*, got None, .* of 16x8 and .* of 8x16",
    )


@pytest.mark.parametrize("damage", ["header", "body", "empty", "not an image"])
def test_corrupt_images_are_named(out: Path, tmp_path: Path, damage: str) -> None:
    for index in range(5):
        write(tmp_path / "flat" / f"{index}.jpg", pixels(1, 32, 32, 3)[0])
    path = tmp_path / "flat" / "3.jpg"
    content = path.read_bytes()
    bad = {
        "header": b"\0" * 20 + content[20:],
        "body": content[: len(content) // 2],
        "empty": b"",
        "not an image": b"hi",
    }
    path.write_bytes(bad[damage])
    refused(tmp_path / "flat", out, f"{re.escape(str(path))} must be an image that can be read")


def test_order_does_not_depend_on_the_file_system(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path / "pets", 12)
    first = build_corpus(tmp_path / "pets", out, QUIET)
    genuine = os.scandir

    class Reversed:
        def __init__(self, path: Any) -> None:
            with genuine(path) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self) -> list[Any]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    listing = folders._listing(tmp_path / "pets" / "cat")
    monkeypatch.undo()
    assert listing == folders._listing(tmp_path / "pets" / "cat")
    assert build_corpus(tmp_path / "pets", tmp_path / "again", QUIET).hash == first.hash


def malformed_exif(kind: str) -> tuple[bytes, bool]:
    """Exif data that can't be read in full, and whether they say that the image lies on its side."""
    header = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8)
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    beyond = struct.pack("<HHII", 0x010F, 2, 40, 60_000)  # text outside of the data
    wrong = struct.pack("<HHII", 0x011A, 5, 1, 50_000)  # a fraction outside of the data
    unknown = struct.pack("<HHII", 0xC4A5, 99, 7, 3)  # of a type that does not exist
    made = {
        "garbage": (b"Exif\0\0" + bytes(range(200, 250)), False),
        "empty": (b"Exif\0\0", False),
        "cut off": (header[:9], False),
        "beyond": (header + struct.pack("<H", 2) + beyond + orientation, True),
        "wrong": (header + struct.pack("<H", 2) + orientation + wrong, True),
        "unknown": (header + struct.pack("<H", 2) + orientation + unknown, True),
        "text": (header + struct.pack("<H", 1) + struct.pack("<HHI4s", 0x0112, 2, 4, b"6\0\0\0"), False),
        "no such": (header + struct.pack("<H", 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 99, 0), False),
    }
    return made[kind]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", ["garbage", "empty", "cut off", "beyond", "wrong", "unknown", "text", "no such"])
def test_malformed_exif_is_read_as_viewers_do(out: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    exif, turned = malformed_exif(kind)
    lying = np.zeros((8, 16), np.uint8)
    lying[:, 8:] = 255  # white on the right
    write(tmp_path / "flat" / f"a.{suffix}", lying, exif=exif, quality=100)
    made = build_corpus(tmp_path / "flat", out, options(mode="grey"))
    shown = made.images[0, ..., 0]
    assert shown.shape == ((16, 8) if turned else (8, 16))
    white = shown[9:] if turned else shown[:, 9:]
    assert white.min() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_once(out: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(pixels(1, 3, 5)[0, ..., 0])
    file = io.BytesIO()
    picture.save(file, "png", exif=exif)
    opened = Image.open(file)
    expected = np.asarray(ImageOps.exif_transpose(opened))
    made = build_corpus([(opened, None), (upright(opened), None), (upright(upright(opened)), None)], out, QUIET)
    for image in made.images[..., 0]:
        np.testing.assert_array_equal(image, expected)


def test_broken_links_pipes_and_circles_are_left_out(out: Path, tmp_path: Path) -> None:
    write(tmp_path / "flat" / "a.png", pixels(1)[0, ..., 0])
    (tmp_path / "flat" / "b.png").symlink_to("b.png")
    (tmp_path / "flat" / "c.png").symlink_to("nothing.png")
    os.mkfifo(tmp_path / "flat" / "d.png")
    (tmp_path / "flat" / "e.png").symlink_to("a.png")
    made = build_corpus(tmp_path / "flat", out, QUIET)
    account = read_account(made)
    assert account is not None
    assert (len(made), account.duplicates) == (2, 1)
    assert [what.names for what in account.left_out.values()] == [("b.png", "c.png", "d.png")]
