"""Array files as sources: `.npy`, and `.npz` with arrays of images and labels, for each part of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from npgen.corpus.splits import HELDOUT_NAMES, TRAIN_NAMES, Part, Split, corpus_split, joined, part_of_name
from npgen.corpus.store import Corpus
from npgen.errors import invalid
from npgen.storage import npy, sha256_file

# Names of arrays of images and of labels, alone for the source images, and with the name of a part before or after.
IMAGES = ("images", "x", "image", "data", "imgs", "pixels")
LABELS = ("labels", "y", "label", "targets", "target")
# Names that NumPy gives to arrays without one.
UNNAMED = {"arr_0": "images", "arr_1": "labels"}
NOT_READ = "arrays that are neither images nor labels by their names"


def array_splits(path: Path, white: float | None = None) -> tuple[Split, Split | None]:
    """List the images of an array file.

    Parameters
    ----------
    path
        A `.npy` file of images (N, H, W), (N, H, W, 1) or (N, H, W, 3); or a `.npz` file of such arrays, whose names
        say what they are: `images` or `x` and `labels` or `y` are the source images, and so are `x_train`,
        `train_images` and the like; `x_test`, `val_images` and the like are held out. `arr_0` and `arr_1`, which NumPy
        gives arrays without names, are images and labels, if there are no more than these.
    white
        The value that stands for white; None takes values as they are.

    Returns
    -------
    Split, Split or None
        The source images, and those of all other parts, if there are any.

    Raises
    ------
    ValueError
        If no array is of images by its name, two are of the same, or an array can't be images or labels.
    """
    if path.suffix.lower() == ".npy":
        return _array_split(path, npy.open_any_array(path), None, "", white), None
    names, _ = npy.read_archive(path, ())
    meanings = _meanings(path, names)
    _, arrays = npy.read_archive(path, set(meanings))
    by_part: dict[tuple[Part, str], dict[str, str]] = {}
    for name, (part, word, kind) in meanings.items():
        kinds = by_part.setdefault((part, word), {})
        if kind in kinds:
            raise ValueError(f"keys of {path} must name one array of {kind} per part, got {kinds[kind]} and {name}")
        kinds[kind] = name
    splits: dict[Part, list[Split]] = {"train": [], "heldout": []}
    for (part, word), kinds in sorted(by_part.items(), key=lambda item: item[0][1]):
        if "images" not in kinds:
            raise invalid(f"keys of {path}", f"with the images of {kinds['labels']} among them", names)
        labels = arrays[kinds["labels"]] if "labels" in kinds else None
        splits[part].append(_array_split(path, arrays[kinds["images"]], labels, word, white))
    if len(splits["train"]) != 1:
        allowed = f"one of {', '.join(IMAGES[:2])}, x_train, train_images, arr_0 among others"
        raise invalid(f"keys of {path}", allowed if not splits["train"] else "of one training part", names)
    train = splits["train"][0]
    if ignored := [name for name in names if name not in meanings]:
        train.left_out[NOT_READ] = ignored
    return train, joined(splits["heldout"])


def _meanings(path: Path, names: list[str]) -> dict[str, tuple[Part, str, str]]:
    """Return what arrays are by their names: the part, its word, and "images" or "labels"; others have no entry."""
    if any(name.startswith("arr_") and name not in UNNAMED for name in names):
        raise ValueError(
            f"keys of {path} must be names where there are more arrays than images and labels, as numpy.savez(file, "
            f"x_train=…, y_train=…, x_test=…, y_test=…) gives them, got {names}"
        )
    return {name: meaning for name in names if (meaning := _meaning(name)) is not None}


def _meaning(name: str) -> tuple[Part, str, str] | None:
    if name in UNNAMED:
        return "train", "", UNNAMED[name]
    plain = name.lower().replace("-", "_")
    if plain in IMAGES or plain in LABELS:
        return "train", "", "images" if plain in IMAGES else "labels"
    for word in (*TRAIN_NAMES, *HELDOUT_NAMES):
        for kind, nouns in (("images", IMAGES), ("labels", LABELS)):
            if any(plain in (f"{noun}_{word}", f"{word}_{noun}", f"{noun}{word}", f"{word}{noun}") for noun in nouns):
                part = part_of_name(word)
                assert part is not None
                return part, "" if part == "train" else word, kind
    return None


def _array_split(
    path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any] | None, word: str, white: float | None
) -> Split:
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    source = {"kind": path.suffix[1:].lower(), "file": path.name, "sha256": sha256_file(path)}
    if word:
        source["part"] = word
    try:
        corpus = Corpus.from_arrays(images, labels, name=path.name, source=source, white=white)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from error
    return corpus_split(corpus)
