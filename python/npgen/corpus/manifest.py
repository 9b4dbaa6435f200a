"""`manifest.json` of a corpus folder: content, checks, and the hash that identifies a corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from npgen.errors import check_name
from npgen.storage import read_json, write_json

FORMAT = "npgen-corpus"
VERSION = 2


@dataclass(frozen=True)
class Manifest:
    """Description of the arrays in a corpus folder.

    It contains no file names: these are fixed, so that a manifest cannot refer to files outside its folder.

    Attributes
    ----------
    name
        Short name, one path component.
    shape
        (N, H, W, C) of `images.npy`, which is uint8.
    classes
        Class names, indexed by label, or None.
    sha256
        Hash of each array's file: `images` and, if there are any, `labels` and `sizes`.
    heldout
        Hash of the corpus in the sub-folder `heldout`, or None without one.
    source
        Where the images came from.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    sha256: dict[str, str]
    heldout: str | None
    source: dict[str, Any]


def corpus_hash(shape: Sequence[int], sha256: Mapping[str, str], classes: Sequence[str] | None) -> str:
    """Compute the identity of a corpus from everything in it that samples depend on.

    Parameters
    ----------
    shape
        (N, H, W, C).
    sha256
        Hash of each array's file.
    classes
        Class names or None.

    Returns
    -------
    str
        SHA-256 over these and the format version.
    """
    identity = [FORMAT, _version(sha256), list(shape), dict(sha256), None if classes is None else list(classes)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()


def _version(sha256: Mapping[str, str]) -> int:
    """Return the oldest format version that can hold these arrays: version 2 adds `sizes` to version 1."""
    return 2 if "sizes" in sha256 else 1


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`. It is written last: a folder without it is not a corpus.

    Parameters
    ----------
    folder
        Folder of the corpus.
    manifest
        Its content.
    """
    version = _version(manifest.sha256)
    content = {"format": FORMAT, "version": version, "dtype": "uint8", **asdict(manifest)}
    write_json(folder / "manifest.json", content)


def is_corpus_folder(folder: Path) -> bool:
    """Return whether a folder is a corpus, whole or damaged: not one whose `manifest.json` is of something else."""
    path = folder / "manifest.json"
    if not path.is_file():
        return False
    try:
        return read_json(path).get("format") == FORMAT
    except (ValueError, OSError):
        return True  # the reader says what is wrong with it


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json`.

    Parameters
    ----------
    folder
        Folder of the corpus.

    Returns
    -------
    Manifest
        Well-formed; the arrays are not looked at.

    Raises
    ------
    ValueError
        If the folder has none, it is malformed, or it has a newer format.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise ValueError(
            f"corpus must be a folder with a manifest.json, got {str(folder)!r}. "
            f"Make one with: npgen corpus build {folder} --out DIR"
        )
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(f"format in {path} must be {FORMAT!r}, got {content.get('format')!r}")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(
            f"version in {path} must be at most {VERSION}, got {version!r}: it needs a newer npgen to open"
        )
    for key, allowed, valid in _checks(content):
        if key not in content or not valid:
            got = repr(content[key]) if key in content else "nothing"
            raise ValueError(f"{key} in {path} must be {allowed}, got {got}")
    check_name(content["name"])
    values = {field.name: content[field.name] for field in fields(Manifest)}
    classes = values["classes"]
    values.update(shape=tuple(values["shape"]), classes=None if classes is None else tuple(classes))
    return Manifest(**values)


def _checks(content: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Return (key, what is allowed, whether it is that) for each item."""
    shape, hashes, classes = content.get("shape"), content.get("sha256"), content.get("classes")
    heldout = content.get("heldout")
    return [
        (
            "shape",
            "[N, H, W, C] with all positive and C 1 or 3",
            isinstance(shape, list)
            and len(shape) == 4
            and all(type(extent) is int and extent > 0 for extent in shape)
            and shape[3] in (1, 3),
        ),
        ("dtype", "'uint8'", content.get("dtype") == "uint8"),
        (
            "sha256",
            "a hash for images and, with labels, for labels",
            isinstance(hashes, dict)
            and {"images"} <= set(hashes) <= {"images", "labels", *(["sizes"] if content.get("version") == 2 else [])}
            and all(isinstance(digest, str) for digest in hashes.values()),
        ),
        (
            "classes",
            "a list of names or null",
            classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes)),
        ),
        ("heldout", "a hash or null", heldout is None or isinstance(heldout, str)),
        ("name", "a string", isinstance(content.get("name"), str)),
        ("source", "an object", isinstance(content.get("source"), dict)),
    ]
