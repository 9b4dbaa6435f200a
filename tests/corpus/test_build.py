"""Building corpora from arrays and datasets: the right corpus, or one clear error and nothing on disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingestion import QUIET, Pairs, class_folders, options, pixels, refused
from PIL import Image

from npgen.corpus import build as data
from npgen.corpus.build import BuildOptions, build_corpus
from npgen.corpus.names import KNOWN_NAMES, load_corpus
from npgen.corpus.store import Corpus

pytestmark = pytest.mark.usefixtures("out")


# Options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "L"}, "mode must be 'grey' or 'rgb', got 'L'"),
        ({"size": (0, 4)}, "each of size must be at least 1, got 0"),
        ({"holdout": 1.0}, "holdout must be a number of at least 0 and below 1, got 1.0"),
        ({"holdout": -0.1}, "holdout must be a number of at least 0 and below 1, got -0.1"),
        ({"holdout": float("nan")}, "holdout must be a number of at least 0 and below 1, got nan"),
        ({"name": "a/b"}, "name must be one path component, got 'a/b'"),
    ],
)
def test_bad_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        BuildOptions(**changes)


def test_options_of_a_wrong_type() -> None:
    with pytest.raises(TypeError, match=re.escape("size must be whole numbers (height, width), got (4,)")):
        BuildOptions(size=(4,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keep_sizes must be of type bool, got int"):
        BuildOptions(keep_sizes=1)  # type: ignore[arg-type]


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
    refused(path, out, r"a\.npz: images must be whole numbers, got fractions from .* --white 1 scales them")
    np.savez(path, images=np.array([{}]))
    refused(path, out, r"a\.npz must be a valid .npz file: images must hold plain numbers, got Python objects")
    np.savez(path, images=pixels(5))
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, out, r"a\.npz must be a valid .npz file: ")
    np.save(tmp_path / "a.npy", pixels(5))
    content = (tmp_path / "a.npy").read_bytes()
    for bad in (content[:-1], content[:40], b"", b"hello"):
        (tmp_path / "a.npy").write_bytes(bad)
        refused(tmp_path / "a.npy", out, r"a\.npy must be (a \.npy file|188 bytes)")


# Datasets


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
        ([(PICTURE * 1j, 0)], TypeError, "item 0 of source: images must be uint8"),
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
from npgen.corpus.build import BuildOptions, build_corpus
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
from npgen.corpus.build import BuildOptions, build_corpus
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
        "account.json",
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
