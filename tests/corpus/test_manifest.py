"""The manifest of a corpus folder, and what is refused in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_corpus import CLASSES, small

from npgen.corpus.manifest import Manifest, corpus_hash, read_manifest, write_manifest
from npgen.corpus.names import load_corpus
from npgen.storage.npy import write_array

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize(("arrays", "version"), [(("images",), 1), (("images", "labels"), 1), (("images", "sizes"), 2)])
def test_a_manifest_has_the_oldest_version_that_can_hold_it(tmp_path: Path, arrays: tuple[str], version: int) -> None:
    manifest = Manifest("name", (6, 5, 4, 1), None, dict.fromkeys(arrays, "0" * 64), None, {"kind": "test"})
    write_manifest(tmp_path, manifest)
    assert json.loads((tmp_path / "manifest.json").read_text())["version"] == version
    assert read_manifest(tmp_path) == manifest


def test_a_folder_without_a_manifest_is_not_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus must be a folder with a manifest.json, .* npgen corpus build"):
        read_manifest(tmp_path)


def test_the_hash_depends_on_shape_arrays_and_classes() -> None:
    arrays = {"images": "a", "labels": "b"}
    assert corpus_hash((6, 5, 4, 1), arrays, None) == corpus_hash([6, 5, 4, 1], dict(reversed(arrays.items())), None)
    others = [
        corpus_hash((6, 5, 4, 3), arrays, None),
        corpus_hash((6, 5, 4, 1), {"images": "a"}, None),
        corpus_hash((6, 5, 4, 1), arrays, ["x"]),
    ]
    assert len({corpus_hash((6, 5, 4, 1), arrays, None), *others}) == 4


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
        ({"source": {"a": float("nan")}}, "must be a JSON file, got one that cannot be read: nan is not a JSON number"),
        ({"classes": ["a", "b", "d"]}, "heldout must be labelled, with classes"),
    ],
)
def test_open_refuses_a_bad_manifest(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    small().save(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
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
