"""The corpus: what it accepts, what it writes, and that nothing altered goes unseen."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from npgen.corpus.names import load_corpus
from npgen.corpus.store import Corpus
from npgen.corpus.verify import verify_corpus
from npgen.storage.files import sha256_file
from npgen.storage.npy import write_array

pytestmark = pytest.mark.usefixtures("own_home")
CLASSES = ["a", "b", "c"]
in_place = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pixels(count: int = 6, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)


def small(count: int = 6, *, heldout: bool = True, **options: Any) -> Corpus:
    apart = Corpus.from_arrays(pixels(3, seed=1), [0, 1, 2], CLASSES, name="apart") if heldout else None
    return Corpus.from_arrays(pixels(count), np.arange(count) % 3, CLASSES, name="small", heldout=apart, **options)


# From arrays


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    count, height, width = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    channels = draw(st.sampled_from([1, 3]))
    images = draw(hnp.arrays(np.uint8, (count, height, width, channels)))
    classes = draw(st.none() | st.lists(st.text(), unique=True, min_size=1, max_size=4))
    top = 50 if classes is None else len(classes) - 1
    labels = draw(st.none() | st.lists(st.integers(0, top), min_size=count, max_size=count))
    return Corpus.from_arrays(images, labels, None if labels is None else classes, source={"n": count})


@given(made=corpora())
@in_place
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, made: Corpus) -> None:
    path = tmp_path_factory.mktemp("corpora") / "c"
    saved = made.save(path)
    for again in (
        saved,
        load_corpus(path),
        pickle.loads(pickle.dumps(saved)),
        pickle.loads(pickle.dumps(made)),
    ):
        np.testing.assert_array_equal(again.images, made.images)
        assert (again.labels is None) == (made.labels is None)
        if made.labels is not None:
            np.testing.assert_array_equal(again.labels, made.labels)
        assert (again.classes, again.name, again.hash, again.source) == (
            made.classes, made.name, made.hash, made.source
        )  # fmt: skip
        assert not again.images.flags.writeable
    assert verify_corpus(path).corpus.hash == made.hash


@given(images=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)), data=st.data())
@in_place
def test_every_number_type_gives_the_same_corpus(images: np.ndarray, data: st.DataObject) -> None:
    dtype: Any = data.draw(st.sampled_from([np.uint16, np.int64, np.float16, np.float32, np.float64, ">i4"]))
    made = Corpus.from_arrays(images.astype(dtype))
    np.testing.assert_array_equal(made.images[..., 0], images)
    assert made.hash == Corpus.from_arrays(images).hash


def test_types_and_shapes() -> None:
    made = Corpus.from_arrays(pixels().tolist(), [0, 1, 2, 0, 1, 2], CLASSES)
    assert made.images.dtype == np.uint8
    assert made.images.shape == (6, 5, 4, 1)
    assert made.labels is not None
    assert made.labels.dtype == np.int64
    assert not made.labels.flags.writeable
    assert (made.path, made.heldout, made.name, made.source, len(made)) == (None, None, "arrays", {}, 6)
    assert made.classes == ("a", "b", "c")


def test_the_corpus_is_nobody_elses() -> None:
    images = pixels()
    made = Corpus.from_arrays(images)
    before = made.images.copy()
    images[:] = 0
    np.testing.assert_array_equal(made.images, before)
    with pytest.raises(ValueError, match="read-only"):
        made.images[0] = 1
    with pytest.raises(AttributeError):
        made.name = "other"  # type: ignore[misc]


def test_hash_depends_on_everything_that_matters() -> None:
    base = Corpus.from_arrays(pixels(), [0] * 6, ["a"])
    altered = pixels()
    altered[0, 0, 0, 0] ^= 1
    others = [
        Corpus.from_arrays(altered, [0] * 6, ["a"]),
        Corpus.from_arrays(pixels(), [0] * 6, ["b"]),
        Corpus.from_arrays(pixels(), [0] * 6),
        Corpus.from_arrays(pixels()),
        Corpus.from_arrays(pixels(), [0] * 5 + [1], ["a", "b"]),
        Corpus.from_arrays(pixels().reshape(6, 4, 5, 1), [0] * 6, ["a"]),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 7
    same = Corpus.from_arrays(pixels(), [0] * 6, ["a"], name="other", source={"x": 1})
    assert same.hash == base.hash


RAMP = np.arange(256).reshape(16, 4, 4)

BAD_IMAGES = [
    (pixels() / 255.0, ValueError, "images must be whole numbers, got fractions from 0.0"),
    (pixels() / 255.0, ValueError, "Multiply by 255 and round first"),
    (pixels() * 0.7, ValueError, "Round first"),
    (RAMP * 2.0, ValueError, "images must be from 0 to 255, got values from 0.0 to 510.0"),
    (RAMP - 1, ValueError, "images must be from 0 to 255, got values from -1 to 254"),
    (np.where(RAMP > 9, np.nan, 0), ValueError, "images must be finite, got values from nan to nan"),
    (np.where(RAMP > 9, np.inf, 0), ValueError, "images must be finite, got values from 0.0 to inf"),
    (pixels() > 9, TypeError, "images must be uint8, or another integer or float dtype, got bool"),
    (pixels().astype(complex), TypeError, "got complex128"),
    (pixels().astype(object), TypeError, "got object"),
    (["a"], TypeError, "images must be uint8, or another integer or float dtype, got <U1"),
    (
        np.zeros((0, 4, 4), np.uint8),
        ValueError,
        "images must be at least one image of at least one pixel, got (0, 4",
    ),
    (
        np.zeros((2, 0, 4), np.uint8),
        ValueError,
        "images must be at least one image of at least one pixel, got (2, 0",
    ),
    ([], ValueError, "got shape (0,)"),
    (
        np.zeros((4, 4), np.uint8),
        ValueError,
        "images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), got shape (4, 4)",
    ),
    (np.zeros((2, 4, 4, 4), np.uint8), ValueError, "got shape (2, 4, 4, 4)"),
    (np.zeros((2, 3, 4, 4), np.uint8), ValueError, "got shape (2, 3, 4, 4); move the channels last"),
    (
        [np.zeros((4, 4)), np.zeros((4, 5))],
        ValueError,
        "images must be all of one size, got (4, 4) and (4, 5)",
    ),
]


@pytest.mark.parametrize(("images", "error", "message"), BAD_IMAGES)
def test_bad_images(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Corpus.from_arrays(images)


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"labels": [0] * 5}, ValueError, "labels must be one per image, of shape (6,), got (5,)"),
    ({"labels": [[0]] * 6}, ValueError, "labels must be one per image, of shape (6,), got (6, 1)"),
    ({"labels": [0.0] * 6}, TypeError, "labels must be integers, got float64"),
    ({"labels": ["a"] * 6}, TypeError, "labels must be integers, got <U1"),
    ({"labels": [0, 0, -2, 0, 0, 0]}, ValueError, "labels must be 0 or more, got -2"),
    ({"labels": np.full(6, 2**63, np.uint64)}, ValueError, "labels must be at most 999999"),
    (
        {"labels": [0, 1, 2, 3, 0, 0], "classes": CLASSES},
        ValueError,
        "labels must be less than 3, the number of",
    ),
    ({"classes": CLASSES}, ValueError, "classes must be None where there are no labels"),
    ({"labels": [0] * 6, "classes": ["a", "a"]}, ValueError, "classes must be all different, got ('a', 'a')"),
    ({"labels": [0] * 6, "classes": "abc"}, TypeError, "classes must be a list of strings, got 'abc'"),
    ({"labels": [0] * 6, "classes": [1]}, TypeError, "classes must be a list of strings, got [1]"),
    ({"name": ""}, ValueError, "name must be one path component, got ''"),
    ({"name": "../x"}, ValueError, "name must be one path component, got '../x'"),
    ({"source": {"a": float("nan")}}, ValueError, "JSON"),
    ({"heldout": small()}, ValueError, "heldout must be unlabelled, with classes None, got labelled"),
    (
        {"heldout": Corpus.from_arrays(pixels(2, 3))},
        ValueError,
        "heldout must be images of shape (5, 4, 1), got",
    ),
    (
        {"labels": [0] * 6, "classes": CLASSES, "heldout": small()},
        ValueError,
        "heldout must be without held-out images of its own",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Corpus.from_arrays(pixels(), **options)


def test_repr(tmp_path: Path) -> None:
    assert repr(small()) == "Corpus('small', 6 images 5x4x1, 3 classes, 3 held out, in memory)"
    assert repr(Corpus.from_arrays(pixels(), [0] * 6)) == "Corpus('arrays', 6 images 5x4x1, labelled, in memory)"
    path = tmp_path / "c"
    assert repr(small(heldout=False).save(path)) == f"Corpus('small', 6 images 5x4x1, 3 classes, {path})"


# Folders


def test_save_writes_plain_files(tmp_path: Path) -> None:
    saved = small(source={"from": "test"}).save(tmp_path / "c")
    assert isinstance(saved.images, np.memmap)
    assert saved.path == tmp_path / "c"
    np.testing.assert_array_equal(np.load(tmp_path / "c" / "images.npy"), pixels())
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["version"] == 1
    assert manifest["shape"] == [6, 5, 4, 1]
    assert manifest["classes"] == CLASSES
    assert manifest["source"] == {"from": "test"}
    assert manifest["sha256"]["images"] == sha256_file(tmp_path / "c" / "images.npy")
    assert saved.heldout is not None
    assert (len(saved.heldout), saved.heldout.name) == (3, "apart")
    assert saved.heldout.path == tmp_path / "c" / "heldout"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_save_overwrites_nothing(tmp_path: Path) -> None:
    small().save(tmp_path / "c")
    before = (tmp_path / "c" / "manifest.json").read_bytes()
    with pytest.raises(FileExistsError, match="out must be a path that does not exist yet"):
        Corpus.from_arrays(pixels(2)).save(tmp_path / "c")
    assert (tmp_path / "c" / "manifest.json").read_bytes() == before


def test_save_without_space_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    made = small()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=re.escape(f"'{tmp_path / 'c'}'")):
        made.save(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_pickle_of_a_folder_is_small_and_checked(tmp_path: Path) -> None:
    saved = small().save(tmp_path / "c")
    stored = pickle.dumps(saved)
    assert len(stored) < 1000
    again = pickle.loads(stored)
    assert again.heldout.hash == saved.heldout.hash  # type: ignore[union-attr]
    (tmp_path / "c").rename(tmp_path / "old")
    Corpus.from_arrays(pixels(seed=7)).save(tmp_path / "c")
    with pytest.raises(ValueError, match="it was exchanged"):
        pickle.loads(stored)


def test_verify_reports(tmp_path: Path) -> None:
    saved = small(7).save(tmp_path / "c")
    (tmp_path / "c" / "keys").mkdir()
    write_array(tmp_path / "c" / "keys" / "k.npy", np.zeros((7, 2), np.float32))
    report = verify_corpus(tmp_path / "c")
    assert report.corpus.hash == saved.hash
    assert report.class_counts == (3, 2, 2)
    assert report.bytes == 128 + 7 * 20 + 128 + 7 * 8
    assert report.keys == ("k.npy",)
    assert report.heldout is not None
    assert report.heldout.class_counts == (1, 1, 1)


def test_verify_finds_keys_of_another_corpus(tmp_path: Path) -> None:
    small(7).save(tmp_path / "c")
    (tmp_path / "c" / "keys").mkdir()
    write_array(tmp_path / "c" / "keys" / "k.npy", np.zeros((6, 2), np.float32))
    with pytest.raises(ValueError, match=r"k\.npy must be an array of shape \(7, any\), got \(6, 2\)"):
        verify_corpus(tmp_path / "c")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "heldout/images.npy", "heldout/labels.npy"])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=12, deadline=None)
def test_verify_finds_any_altered_byte(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("corpora") / "c"
    small().save(path)
    content = bytearray((path / name).read_bytes())
    content[int(place * len(content))] ^= flip
    (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path / name))):
        verify_corpus(path)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "heldout/images.npy"])
def test_open_finds_a_short_or_long_file(tmp_path: Path, name: str) -> None:
    small().save(tmp_path / "c")
    path = tmp_path / "c" / name
    content = path.read_bytes()
    for altered in (content[:-1], content + b"x"):
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=f"{re.escape(str(path))} must be .* truncated or altered"):
            load_corpus(tmp_path / "c")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "heldout/manifest.json", "heldout"])
def test_open_misses_a_file(tmp_path: Path, name: str) -> None:
    small().save(tmp_path / "c")
    (tmp_path / "c" / name).rename(tmp_path / "away")
    with pytest.raises((FileNotFoundError, ValueError), match=re.escape(str(tmp_path / "c" / name.split("/")[0]))):
        load_corpus(tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version in .* must be at most 2, got 3: it needs a newer npgen"),
        ({"version": "1"}, "version in .* must be at most 2, got '1'"),
        ({"format": "zarr"}, "format in .* must be 'npgen-corpus', got 'zarr'"),
        (
            {"shape": [6, 5, 4]},
            r"shape in .* must be \[N, H, W, C\] with all positive and C 1 or 3, got \[6, 5, 4\]",
        ),
        ({"shape": [6, 5, 4, 2]}, "shape in"),
        ({"shape": [-6, 5, 4, 1]}, "shape in"),
        ({"shape": [6, 5, 4, True]}, "shape in"),
        ({"shape": [10**12, 5, 4, 1]}, r"images.npy must be an array of shape \(1000000000000, 5, 4, 1\)"),
        ({"dtype": "float32"}, "dtype in .* must be 'uint8', got 'float32'"),
        ({"sha256": {"labels": "x"}}, "sha256 in .* must be a hash for images"),
        ({"sha256": {"images": "x", "../../etc/passwd": "x"}}, "sha256 in"),
        ({"sha256": None}, "sha256 in"),
        ({"classes": "abc"}, "classes in .* must be a list of names or null, got 'abc'"),
        ({"heldout": "../elsewhere"}, "heldout must be the corpus of hash ../elsewhere, got"),
        ({"heldout": 5}, "heldout in .* must be a hash or null, got 5"),
        ({"name": "../../x"}, "name must be one path component, got '../../x'"),
        ({"name": None}, "name in .* must be a string, got None"),
        ({"source": []}, "source in .* must be an object"),
        ({"source": {"a": float("nan")}}, "must be a JSON file, got one that cannot be read: nan is no JSON number"),
        ({"classes": ["a", "b", "d"]}, "heldout must be labelled, with classes"),
    ],
)
def test_open_refuses_a_bad_manifest(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    small().save(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_corpus(tmp_path / "c")


@pytest.mark.parametrize(
    ("label", "classes", "message"),
    [
        (-1, CLASSES, "labels must be 0 or more, got -1"),
        (3, CLASSES, "labels must be less than 3, the number of classes, got 3"),
        (2**62, None, "labels must be at most 999999, got 4611686018427387904"),
        (0, ["a", "a", "b"], "classes must be all different"),
    ],
)
def test_open_refuses_forged_labels(tmp_path: Path, label: int, classes: list[str] | None, message: str) -> None:
    saved = small(heldout=False).save(tmp_path / "c")
    assert saved.labels is not None
    digest = write_array(tmp_path / "c" / "labels.npy", np.array([*saved.labels[:-1], label]))
    path = tmp_path / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    forged = {"classes": classes, "sha256": {**manifest["sha256"], "labels": digest}}
    path.write_text(json.dumps(manifest | forged))
    with pytest.raises(ValueError, match=r"labels\.npy must hold labels of its manifest's classes: " + message):
        load_corpus(tmp_path / "c")


@pytest.mark.parametrize("key", ["shape", "dtype", "sha256", "classes", "heldout", "name", "source"])
def test_open_misses_a_key(tmp_path: Path, key: str) -> None:
    small().save(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"{key} in .* must be .*, got nothing"):
        load_corpus(tmp_path / "c")


def test_verify_finds_a_label_outside_the_classes(tmp_path: Path) -> None:
    small(heldout=False).save(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"classes": ["a", "b"]}))
    with pytest.raises(ValueError, match="labels must be less than 2, the number of classes, got 2"):
        verify_corpus(tmp_path / "c")


def test_importing_the_corpus_is_light() -> None:
    program = "import sys; import npgen.corpus; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
