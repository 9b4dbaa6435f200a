"""Sources of images: known names, datasets and corpora; `folders` and `array_files` are two more.

`open_source` lists the images of a source as one or two `Split`s, without reading them; `build` reads them one by one.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from npgen.corpus.array_files import array_splits
from npgen.corpus.folders import folder_splits
from npgen.corpus.manifest import is_corpus_folder
from npgen.corpus.names import DEMO_NAME, KNOWN_NAMES, demo_corpus
from npgen.corpus.splits import Split, corpus_split
from npgen.corpus.store import Corpus, open_corpus
from npgen.errors import invalid

_DIGITS = tuple("0123456789")
_TORCHVISION = {  # name: (class, what it reads below the root, class names that replace its own)
    "mnist": ("MNIST", "MNIST/raw", _DIGITS),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw", None),
    "kmnist": ("KMNIST", "KMNIST/raw", None),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", None),
    "cifar100": ("CIFAR100", "cifar-100-python", None),
    "svhn": ("SVHN", "train_32x32.mat and test_32x32.mat", _DIGITS),
}


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


def open_source(
    source: object, root: str | os.PathLike[str] | None, download: bool, white: float | None = None
) -> tuple[Split, Split | None]:
    """Recognise a source and list its images.

    Parameters
    ----------
    source
        As for `build_corpus`.
    root, download
        Folder of a torchvision dataset's files, and whether missing files may be downloaded.
    white
        The value that stands for white in array files; None takes values as they are.

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
    if not os.fspath(source):
        raise invalid("source", "a name or a path", source)
    if is_corpus_folder(path):
        return _corpus_splits(open_corpus(path))
    if path.is_dir():
        return folder_splits(path)
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        return array_splits(path, white)
    allowed = f"one of {', '.join(KNOWN_NAMES)}, a folder of images, a .npy or .npz file"
    if path.exists():
        raise invalid("source", allowed, str(path))
    if str(source) == path.name:
        raise invalid("source", f"{allowed}, or a map-style dataset", str(source))
    raise FileNotFoundError(f"source must be {allowed}, got {str(path)!r}, where there is nothing")


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

    _check_label_count(dataset, parameter)

    def read(index: int) -> tuple[Any, Any]:
        item = dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"item {index} of {parameter} must be an (image, label) pair, got {type(item).__name__}")
        return item[0], item[1]

    classes = getattr(dataset, "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else None
    source = {"kind": "dataset", "class": f"{type(dataset).__module__}.{type(dataset).__qualname__}"}
    return Split(len(dataset), read, lambda index: f"item {index} of {parameter}", names, source)


def _check_label_count(dataset: Any, parameter: str) -> None:
    """Raise ValueError if a dataset that holds its images and labels in memory has more of the one than of the other.

    Torchvision's classes call them `data`, and `targets` or `labels`.
    """
    images: Any = getattr(dataset, "data", None)
    for name in ("targets", "labels"):
        labels: Any = getattr(dataset, name, None)
        if hasattr(images, "__len__") and hasattr(labels, "__len__") and len(images) != len(labels):
            raise ValueError(
                f"{parameter} must have as many labels as images, got {len(labels):,} labels and {len(images):,} "
                "images: one of its files is of another data set, or cut off"
            )


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
