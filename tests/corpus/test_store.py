"""The corpus in memory and as a folder."""

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
from small_corpus import CLASSES, pixels, small

from npgen.corpus.names import load_corpus
from npgen.corpus.store import Corpus
from npgen.corpus.verify import verify_corpus
from npgen.storage.files import sha256_file

pytestmark = pytest.mark.usefixtures("own_home")
in_place = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    count, height, width = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    channels = draw(st.sampled_from([1, 3]))
    images = draw(hnp.arrays(np.uint8, (count, height, width, channels)))
    classes = draw(st.none() | st.lists(st.text(), unique=True, min_size=1, max_size=4))
    top = 50 if classes is None else len(classes) - 1
    labels = draw(st.none() | st.lists(st.integers(0, top), min_size=count, max_size=count))
    return Corpus.from_arrays(images, labels, None if labels is None else classes, source={"n": count}, white=255)


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
    made = Corpus.from_arrays(images.astype(dtype), white=255)
    np.testing.assert_array_equal(made.images[..., 0], images)
    assert made.hash == Corpus.from_arrays(images, white=255).hash


def test_types_and_shapes() -> None:
    made = Corpus.from_arrays(pixels().tolist(), [0, 1, 2, 0, 1, 2], CLASSES)
    assert made.images.dtype == np.uint8
    assert made.images.shape == (6, 5, 4, 1)
    assert made.labels is not None
    assert made.labels.dtype == np.int64
    assert not made.labels.flags.writeable
    assert (made.path, made.heldout, made.name, made.source, len(made)) == (None, None, "arrays", {}, 6)
    assert made.classes == ("a", "b", "c")


def test_the_corpus_is_a_read_only_copy() -> None:
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


def test_repr(tmp_path: Path) -> None:
    assert repr(small()) == "Corpus('small', 6 images 5x4x1, 3 classes, 3 held out, in memory)"
    assert repr(Corpus.from_arrays(pixels(), [0] * 6)) == "Corpus('arrays', 6 images 5x4x1, labelled, in memory)"
    path = tmp_path / "c"
    assert repr(small(heldout=False).save(path)) == f"Corpus('small', 6 images 5x4x1, 3 classes, {path})"


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
    assert (len(saved.heldout), saved.heldout.name) == (3, "others")
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


def test_importing_the_corpus_is_light() -> None:
    program = "import sys; import npgen.corpus; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
