"""Ingestion: whatever holds images becomes a corpus folder, one image at a time, or nothing at all."""

from __future__ import annotations

import hashlib
import operator
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm.auto import tqdm

from npgen.corpus.decode import Mode, as_picture, plain_mode, to_pixels
from npgen.corpus.names import home
from npgen.corpus.sizes import common_frame, extended, unless_one
from npgen.corpus.sources import Split, corpus_split, dataset_split, default_name, open_source
from npgen.corpus.store import Corpus, open_corpus, seal_corpus
from npgen.errors import check_name, check_type, invalid
from npgen.storage import new_folder, npy, refuse_existing


@dataclass(frozen=True)
class BuildOptions:
    """How `build_corpus` reads its source.

    Attributes
    ----------
    root
        Folder of a torchvision dataset's files, as torchvision lays them out.
    download
        Whether torchvision may fetch missing files into `root`.
    mode
        Convert every image to grey or RGB. None: the images must all be plain 8-bit grey or all plain RGB.
    size
        (H, W) to resize every image to. None: the images must all be of one size, or keep theirs.
    keep_sizes
        Whether images may be of several sizes, which they keep. Only the model "texture" takes such a corpus.
    holdout
        Share of the images to hold out, the same share of each class; 0 to hold out none.
    name
        Name of the corpus. None: that of the source.
    quiet
        Show no progress bar.
    """

    root: str | os.PathLike[str] | None = None
    download: bool = False
    mode: Mode | None = None
    size: tuple[int, int] | None = None
    keep_sizes: bool = False
    holdout: float = 0.0
    name: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.mode not in (None, "grey", "rgb"):
            raise invalid("mode", "'grey' or 'rgb'", self.mode)
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise invalid("size", "a height and a width of 1 or more", self.size)
        check_type("keep_sizes", self.keep_sizes, bool)
        if self.keep_sizes and self.size is not None:
            raise invalid("size", "None where images keep their sizes", self.size)
        if not 0 <= self.holdout < 1:
            raise invalid("holdout", "at least 0 and less than 1", self.holdout)
        if self.name is not None:
            check_name(self.name)


def build_corpus(
    source: object,
    out: str | os.PathLike[str] | None = None,
    options: BuildOptions | None = None,
    *,
    heldout: object = None,
) -> Corpus:
    """Read images from anywhere and write them as a corpus folder, atomically.

    Parameters
    ----------
    source
        A known name (a torchvision dataset under `options.root`, or `mnist-5k`); a folder of images, of class
        folders of images, or of `train/` and `test/` that are such folders; a `.npy` or `.npz` file; a corpus
        or its folder; or a map-style dataset of (image, label) pairs. An image is a PIL image, an (H, W) or
        (H, W, C) array of whole numbers from 0 to 255, or a (C, H, W) tensor, uint8 or float from 0 to 1.
    out
        Where the folder goes; nothing may be there. None: `home()/corpora/<name>`.
    options
        How to read.
    heldout
        A dataset to hold out, for a `source` that is a dataset.

    Returns
    -------
    Corpus
        Memory-mapped from the new folder. Transparent images are laid over white.

    Raises
    ------
    FileExistsError
        If something is at `out`.
    FileNotFoundError
        If the source, or the files of a torchvision dataset, are not there.
    ValueError
        If the images differ in size or kind and `options` do not say what to make of them, if one cannot be
        read, or if the source holds none. Nothing is left on disk.
    TypeError
        If `source` is none of the above.
    """
    check_type("options", options, BuildOptions, type(None))
    options = BuildOptions() if options is None else options
    name = options.name or default_name(source)
    check_name(name)
    target = Path(out) if out is not None else home() / "corpora" / name
    refuse_existing(target)
    train, test = open_source(source, options.root, options.download)
    if heldout is not None:
        if test is not None:
            raise invalid("heldout", "None for a source with a test split of its own", heldout)
        test = dataset_split(heldout, "heldout")
    if test is not None and options.holdout:
        raise invalid("holdout", "0 for a source with a test split of its own", options.holdout)
    with new_folder(target) as folder:
        whole = folder / "whole"
        if options.holdout:  # all images first: only then are their labels known, and none is decoded twice
            everything = _stream(train, whole, name, options)
            train, test = (corpus_split(everything, part) for part in _hold_out(everything, options.holdout))
        apart = None if test is None else _stream(test, folder / "heldout", name, options)
        _stream(train, folder, name, options, apart)
        if options.holdout:
            shutil.rmtree(whole)
    return open_corpus(target)


class _Uniform:
    """Pixels of one image after the other: all must be like the first, in what the options leave open."""

    def __init__(self, options: BuildOptions) -> None:
        self.mode = options.mode
        self._options = options
        self._first = ""
        self._size = (0, 0)

    def pixels(self, picture: Image.Image, where: str) -> npt.NDArray[np.uint8]:
        """Check one image and convert it to (H, W, C) uint8."""
        plain, size = plain_mode(picture), picture.size
        if self._options.mode is None and plain is None:
            raise ValueError(
                "mode must be 'grey' or 'rgb' for images that are neither plain 8-bit grey nor plain RGB, "
                f"got None and {where} of Pillow mode {picture.mode!r}"
            )
        if not self._first:
            self._first, self._size = where, size
            self.mode = self.mode or plain
        if self._options.mode is None and plain != self.mode:
            raise ValueError(
                "mode must be 'grey' or 'rgb' for a mixture of both, got None, "
                f"{self._first} in {self.mode} and {where} in {plain}"
            )
        if self._options.size is None and not self._options.keep_sizes and size != self._size:
            raise ValueError(
                "size must be a height and a width to resize to for images of several sizes, got None, "
                f"{self._first} of {self._size[1]}x{self._size[0]} and {where} of {size[1]}x{size[0]}. "
                "For the model texture they can also stay as they are: --keep-sizes (keep_sizes=True)"
            )
        assert self.mode is not None
        return to_pixels(picture, self.mode, self._options.size, where)


def _stream(split: Split, folder: Path, name: str, options: BuildOptions, heldout: Corpus | None = None) -> Corpus:
    """Write a split image by image as a corpus in `folder`, which lies in one that is made atomically."""
    if split.count < 1:
        raise ValueError(f"source must hold at least one image, got {split.count}")
    folder.mkdir(exist_ok=True)
    uniform = _Uniform(options)
    labels: list[int | None] = []

    def convert(index: int) -> npt.NDArray[np.uint8]:
        image, label = split.read(index)
        where = split.where(index)
        labels.append(_label(label, where))
        return uniform.pixels(as_picture(image, where), where)

    bar = tqdm(range(split.count), desc=name, unit="image", disable=options.quiet or None)
    write = _write_of_any_size if options.keep_sizes else _write_of_one_size
    hashes, sizes = write(folder, map(convert, bar), split)
    images = npy.open_any_array(folder / "images.npy")  # (N, H, W, C)
    known = [label for label in labels if label is not None]
    if known and len(known) < len(labels):
        missing = split.where(labels.index(None))
        raise invalid("labels", "there for all images or for none", f"none for {missing}")
    source = {
        **split.source,
        "mode": uniform.mode,
        "size": None if options.size is None else list(options.size),
        "holdout": options.holdout,
    }
    corpus = Corpus.from_arrays(
        images,
        np.array(known, np.int64) if known else None,
        split.classes if known else None,
        name=name,
        source=source,
    )
    corpus = replace(corpus, heldout=heldout, sizes=sizes)
    if corpus.labels is not None:
        hashes["labels"] = npy.write_array(folder / "labels.npy", corpus.labels)
    seal_corpus(corpus, folder, hashes)
    return open_corpus(folder)


def _write_of_one_size(
    folder: Path, pictures: Iterator[npt.NDArray[np.uint8]], split: Split
) -> tuple[dict[str, str], npt.NDArray[np.int32] | None]:
    """Write images as they come; return the hash of their file."""
    first = next(pictures)
    with npy.array_writer(folder / "images.npy", np.uint8, (split.count, *first.shape)) as writer:
        writer.write(first[np.newaxis])
        for picture in pictures:
            writer.write(picture[np.newaxis])
    return {"images": writer.sha256}, None


def _write_of_any_size(
    folder: Path, pictures: Iterator[npt.NDArray[np.uint8]], split: Split
) -> tuple[dict[str, str], npt.NDArray[np.int32] | None]:
    """Write images in the frame of the largest, and their sizes if these differ; return the hashes of the files.

    Pictures come only once, so they are put aside until all sizes are known.
    """
    aside = folder / "pictures"
    shapes = []
    with aside.open("wb") as file:
        for picture in pictures:
            file.write(np.ascontiguousarray(picture).data)
            shapes.append(picture.shape)  # (h, w, C)
    sizes = np.array([shape[:2] for shape in shapes], np.int32)  # (N, 2)
    channels = shapes[0][2]
    frame = common_frame(sizes, channels, split.where)
    with (
        aside.open("rb") as file,
        npy.array_writer(folder / "images.npy", np.uint8, (split.count, *frame, channels)) as writer,
    ):
        for shape in shapes:
            picture = np.frombuffer(file.read(prod(shape)), np.uint8).reshape(shape)
            writer.write(extended(picture, frame)[np.newaxis])
    aside.unlink()
    hashes, differing = {"images": writer.sha256}, unless_one(sizes)
    if differing is not None:
        hashes["sizes"] = npy.write_array(folder / "sizes.npy", differing)
    return hashes, differing


def _label(label: Any, where: str) -> int | None:
    if label is None:
        return None
    try:
        return operator.index(label)
    except TypeError as error:
        raise TypeError(f"label of {where} must be an integer or None, got {label!r}") from error


def _hold_out(corpus: Corpus, share: float) -> tuple[list[int], list[int]]:
    """Return the indices to keep and to hold out; hashes order them, the same on every machine for ever."""
    labels = np.zeros(len(corpus), np.int64) if corpus.labels is None else np.asarray(corpus.labels)
    held: set[int] = set()
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        members.sort(key=lambda index: hashlib.sha256(f"npgen holdout {index}".encode()).digest())
        held.update(members[: round(share * len(members))])
    if not 0 < len(held) < len(corpus):
        raise ValueError(
            f"holdout must leave images on both sides, got {share}, which holds out {len(held)} of {len(corpus)}"
        )
    return [index for index in range(len(corpus)) if index not in held], sorted(held)
