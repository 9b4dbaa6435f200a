"""Sources of images: known names, folders, array files, datasets and corpora.

`open_source` lists the images of a source as one or two `Split`s, without reading them; `build` reads them one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from npgen.corpus.decode import IMAGE_SUFFIXES, read_image
from npgen.corpus.names import DEMO_NAME, KNOWN_NAMES, demo_corpus
from npgen.corpus.store import Corpus, open_corpus
from npgen.errors import invalid
from npgen.storage import npy, sha256_file

_DIGITS = tuple("0123456789")
_TORCHVISION = {  # name: (class, what it reads below the root, class names that replace its own)
    "mnist": ("MNIST", "MNIST/raw", _DIGITS),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw", None),
    "kmnist": ("KMNIST", "KMNIST/raw", None),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", None),
    "cifar100": ("CIFAR100", "cifar-100-python", None),
    "svhn": ("SVHN", "train_32x32.mat and test_32x32.mat", _DIGITS),
}
# Names of arrays in .npz files: of images, and of their labels.
_ARRAY_KEYS = (
    ("images", "x", "x_train", "train_images", "arr_0"),
    ("labels", "y", "y_train", "train_labels", "arr_1"),
)
_TEST_KEYS = (("x_test", "test_images", "heldout_images"), ("y_test", "test_labels", "heldout_labels"))


@dataclass(frozen=True)
class Split:
    """A list of images that are read on demand.

    Attributes
    ----------
    count
        Number of images.
    read
        Returns (image, label) by index: the image in any form that `decode.to_pil` accepts, the label or None.
    where
        Returns the name of the image of an index for messages.
    classes
        Class names, if the source knows them.
    source
        Where the images come from, JSON-able.
    """

    count: int
    read: Callable[[int], tuple[Any, Any]]
    where: Callable[[int], str]
    classes: tuple[str, ...] | None
    source: dict[str, Any]


def default_name(source: object) -> str:
    """Return the name of a corpus that is built from a source, if no other name is given.

    Parameters
    ----------
    source
        As for `open_source`.

    Returns
    -------
    str
        The known name, the file's name without suffix, the folder's name, or the name of the dataset's class.
    """
    if isinstance(source, str) and source in KNOWN_NAMES:
        return source
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).resolve()
        return path.stem if path.is_file() else path.name
    return source.name if isinstance(source, Corpus) else type(source).__name__.lower()


def open_source(source: object, root: str | os.PathLike[str] | None, download: bool) -> tuple[Split, Split | None]:
    """Recognise a source and list its images.

    Parameters
    ----------
    source
        As for `build_corpus`.
    root, download
        Folder of a torchvision dataset's files, and whether missing files may be downloaded.

    Returns
    -------
    Split, Split or None
        The source images; and the images to hold out, if the source has a test split.

    Raises
    ------
    FileNotFoundError
        If the source, or the files of a torchvision dataset, are not there.
    ValueError
        If it holds nothing that can be read.
    TypeError
        If it is of none of the accepted types.
    """
    if isinstance(source, Corpus):
        return _corpus_splits(source)
    if isinstance(source, str) and source == DEMO_NAME:
        return _corpus_splits(demo_corpus())
    if isinstance(source, str) and source in _TORCHVISION:
        train, test = (_torchvision_split(source, which, root, download) for which in ("train", "test"))
        return train, test
    if not isinstance(source, (str, os.PathLike)):
        return dataset_split(source, "source"), None
    path = Path(source)
    if (path / "manifest.json").is_file():
        return _corpus_splits(open_corpus(path))
    if path.is_dir():
        return _folder_splits(path)
    if path.suffix in (".npy", ".npz") and path.is_file():
        return _array_splits(path)
    allowed = f"one of {', '.join(KNOWN_NAMES)}, a folder of images, a .npy or .npz file"
    if path.exists():
        raise invalid("source", allowed, str(path))
    if str(source) == path.name:
        raise invalid("source", f"{allowed}, or a map-style dataset", str(source))
    raise FileNotFoundError(f"source must be {allowed}, got {str(path)!r}, where there is nothing")


def corpus_split(corpus: Corpus, indices: Sequence[int] | None = None) -> Split:
    """List the images of a corpus.

    Parameters
    ----------
    corpus
        The corpus; its held-out images are not listed.
    indices
        Which images, in this order; None means all.

    Returns
    -------
    Split
        Those images.
    """
    chosen = range(len(corpus)) if indices is None else indices

    def read(index: int) -> tuple[Any, Any]:
        image_id = chosen[index]
        return corpus.image(image_id), None if corpus.labels is None else corpus.labels[image_id]

    return Split(
        len(chosen),
        read,
        lambda index: f"image {chosen[index]} of {corpus.name}",
        corpus.classes,
        corpus.source,
    )


def _corpus_splits(corpus: Corpus) -> tuple[Split, Split | None]:
    return corpus_split(corpus), None if corpus.heldout is None else corpus_split(corpus.heldout)


def dataset_split(dataset: Any, parameter: str) -> Split:
    """List the images of a map-style dataset.

    Parameters
    ----------
    dataset
        A dataset of (image, label) pairs with a length, or a corpus.
    parameter
        Name of the dataset for messages.

    Returns
    -------
    Split
        All its images.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(dataset, Corpus):
        return corpus_split(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or isinstance(dataset, dict):
        raise TypeError(
            f"{parameter} must be a name, a path or a map-style dataset with a length, got {type(dataset).__name__}"
        )

    def read(index: int) -> tuple[Any, Any]:
        item = dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"item {index} of {parameter} must be an (image, label) pair, got {type(item).__name__}")
        return item[0], item[1]

    classes = getattr(dataset, "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else None
    source = {"kind": "dataset", "class": f"{type(dataset).__module__}.{type(dataset).__qualname__}"}
    return Split(len(dataset), read, lambda index: f"item {index} of {parameter}", names, source)


def _torchvision_split(name: str, which: str, root: str | os.PathLike[str] | None, download: bool) -> Split:
    dataset_name, content, names = _TORCHVISION[name]
    if root is None:
        raise invalid("root", f"the folder that holds {content}", None)
    from torchvision import datasets

    chosen: dict[str, Any] = {"split": which} if name == "svhn" else {"train": which == "train"}
    try:
        dataset = getattr(datasets, dataset_name)(root=root, download=download, **chosen)
    except Exception as error:  # torchvision raises many kinds: missing files, no network, damaged files
        root = os.fspath(root)
        if isinstance(error, RuntimeError) and "not found" in str(error).lower():
            raise FileNotFoundError(
                f"root must be a folder that holds a complete {content}, got {root!r}. "
                "Pass --download (download=True) to fetch the files"
            ) from error
        if download and isinstance(error, (OSError, RuntimeError)):
            raise OSError(f"{dataset_name} could not be downloaded into {root!r}: {error}") from error
        raise ValueError(f"root must hold readable {content}, got {root!r}: {error}") from error
    split = dataset_split(dataset, f"{dataset_name} {which}")
    source = {"kind": "torchvision", "dataset": dataset_name, "split": which}
    return replace(split, classes=names or split.classes, source=source)


def _array_splits(path: Path) -> tuple[Split, Split | None]:
    names = {key for group in _ARRAY_KEYS + _TEST_KEYS for key in group}
    if path.suffix == ".npy":
        found, arrays = ["images"], {"images": npy.open_any_array(path)}
    else:
        found, arrays = npy.read_archive(path, names)
    train, test = (_array_split(arrays, keys, path) for keys in (_ARRAY_KEYS, _TEST_KEYS))
    if train is None:
        raise invalid(f"keys of {path}", f"one of {', '.join(_ARRAY_KEYS[0])} among others", found)
    return train, test


def _array_split(
    arrays: dict[str, npt.NDArray[Any]], keys: tuple[tuple[str, ...], tuple[str, ...]], path: Path
) -> Split | None:
    images, labels = (next((arrays[key] for key in group if key in arrays), None) for group in keys)
    if images is None:
        return None
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    source = {"kind": path.suffix[1:], "file": path.name, "sha256": sha256_file(path)}
    try:
        return corpus_split(Corpus.from_arrays(images, labels, name=path.name, source=source))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from error


def _folder_splits(path: Path) -> tuple[Split, Split | None]:
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return _folder_split(path), None
    train = _folder_split(path / "train")
    return train, _folder_split(path / "test", train)


def _folder_split(folder: Path, train: Split | None = None) -> Split:
    """List the images of a folder, which holds images or class folders; those of `train` have the same classes."""
    images, subfolders = _listing(folder)
    by_class = {name: listing for name in subfolders if any(listing := _listing(folder / name))}
    if train is not None and train.classes is not None and not by_class:
        raise ValueError(f"{folder} must hold class folders as its train folder does, got {len(images)} images")
    if images and by_class:
        raise invalid(str(folder), "a folder of images or of class folders, not both", [images[0], min(by_class)])
    for name, (_, deeper) in by_class.items():
        if deeper:
            raise ValueError(
                f"{folder / name} must be a class folder that holds images only, got a folder in it: {deeper[0]!r}"
            )
    classes = tuple(by_class) if train is None else train.classes or ()
    unknown = sorted(set(by_class) - set(classes))
    if unknown:
        raise invalid(f"class folders of {folder}", f"those of its train folder, {classes}", unknown)
    items: list[tuple[Path, int | None]] = [(folder / file, None) for file in images]
    for name, (inside, _) in by_class.items():
        items += [(folder / name / file, classes.index(name)) for file in inside]
    if not items:
        raise ValueError(
            f"{folder} must hold images, or folders of images, got none ({', '.join(sorted(IMAGE_SUFFIXES))})"
        )

    def read(index: int) -> tuple[Any, Any]:
        path, label = items[index]
        return read_image(path), label

    source = {"kind": "folder", "folder": str(folder.absolute())}
    return Split(len(items), read, lambda index: str(items[index][0]), classes or None, source)


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the images and of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    images = [e.name for e in visible if Path(e.name).suffix.lower() in IMAGE_SUFFIXES and e.is_file()]
    return images, [entry.name for entry in visible if entry.is_dir()]
