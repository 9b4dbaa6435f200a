"""Verification of a corpus folder, and what opening it finds already."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import small

from npgen.corpus.names import load_corpus
from npgen.corpus.verify import verify_corpus
from npgen.storage.npy import write_array

pytestmark = pytest.mark.usefixtures("own_home")


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


def test_verify_finds_a_label_outside_the_classes(tmp_path: Path) -> None:
    small(heldout=False).save(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"classes": ["a", "b"]}))
    with pytest.raises(ValueError, match="labels must be less than 2, the number of classes, got 2"):
        verify_corpus(tmp_path / "c")


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
