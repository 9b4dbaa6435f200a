"""Building of corpus folders from any source of images, one image at a time.

Images go one way: `sources` lists them, `decode` converts one at a time to pixels, and this module checks that they fit
together and writes them. A build that fails leaves nothing.
"""

from __future__ import annotations

import hashlib
import operator
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm.auto import tqdm

from npgen.corpus.account import Digests, Tally
from npgen.corpus.decode import TURNED, Mode, largest_value, plain_mode, to_pil, to_pixels
from npgen.corpus.names import home
from npgen.corpus.sizes import common_frame, none_if_equal, pad_to
from npgen.corpus.sources import dataset_split, default_name, open_source
from npgen.corpus.splits import Split, corpus_split
from npgen.corpus.store import Corpus, open_corpus, write_corpus_manifest
from npgen.corpus.values import check_white, doubtful_range
from npgen.errors import check_choice, check_name, check_number, check_type, check_whole_tuple, invalid
from npgen.storage import new_folder, npy, refuse_existing


@dataclass(frozen=True)
class BuildOptions:
    """How `build_corpus` reads its source.

    Attributes
    ----------
    root
        Folder of a torchvision dataset's files, as torchvision lays them out.
    download
        Whether torchvision may download missing files into `root`.
    mode
        Convert every image to "grey" or "rgb". None: the images must be all plain 8-bit grey or all plain RGB.
    size
        (H, W) to resize every image to. None: the images must all have one size, unless `keep_sizes` is set.
    keep_sizes
        Whether images of several sizes keep them. Only the model "texture" supports such a corpus.
    holdout
        Fraction of the images to hold out for evaluations, the same in each class; 0 to hold out none.
    name
        Name of the corpus. None: that of the source.
    white
        The value of the source that stands for white: values from 0 to `white` become 0 to 255. None takes grey levels
        as they are, 16-bit files as 16 bits, booleans and 1-bit files as black and white, and tensors of floats as from
        0 to 1; images whose values are all 0 or 1 in another form are refused then, as they may be black and white or
        all but black.
    quiet
        Show no progress bar.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    Examples
    --------
    >>> options = npgen.BuildOptions(mode="grey", size=(28, 28), holdout=0.1)
    >>> options.holdout
    0.1
    """

    root: str | os.PathLike[str] | None = None
    download: bool = False
    mode: Mode | None = None
    size: tuple[int, int] | None = None
    keep_sizes: bool = False
    holdout: float = 0.0
    name: str | None = None
    quiet: bool = False
    white: float | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            check_choice("mode", self.mode, get_args(Mode))
        if self.size is not None:
            check_whole_tuple("size", self.size, "height, width", 1)
        check_type("keep_sizes", self.keep_sizes, bool)
        if self.keep_sizes and self.size is not None:
            raise invalid("size", "None where images keep their sizes", self.size)
        check_number("holdout", self.holdout, 0, below=1)
        check_white(self.white)
        if self.name is not None:
            check_name(self.name)


def build_corpus(
    source: object,
    out: str | os.PathLike[str] | None = None,
    options: BuildOptions | None = None,
    *,
    heldout: object = None,
) -> Corpus:
    """Read images from any source and write them as a corpus folder, atomically.

    Parameters
    ----------
    source
        A known name (a torchvision dataset under `options.root`, or `mnist-5k`); a folder of images, of class
        folders of images, or of `train/` and other parts (`test/`, `val/` …, which are held out) that are such folders;
        a `.npy` or `.npz` file; a corpus or its folder; or a map-style dataset of (image, label) pairs. An image is a
        PIL image, an (H, W) or (H, W, C) array of booleans or of whole numbers from 0 to 255, or a (C, H, W) tensor,
        bool, uint8 or float from 0 to 1. Files are read in all formats that Pillow decodes, of several frames or pages
        the first.
    out
        Where the folder goes; nothing may be there. None: the folder of the corpus's name in npgen's cache, where
        `load_corpus` finds it.
    options
        How to read; None means the defaults.
    heldout
        Images to hold out for evaluations: a dataset or a corpus, for a `source` without a test split.

    Returns
    -------
    Corpus
        Memory-mapped from the new folder. Transparent images are laid over white. `read_account` returns what was
        read, converted and left out, and which images are exact copies of others.

    Raises
    ------
    FileExistsError
        If something is at `out`.
    FileNotFoundError
        If the source, or the files of a torchvision dataset, do not exist.
    ValueError
        If images differ in size or mode and `options` do not convert them, if one cannot be read, or if the source
        has none. Nothing is left on disk.
    TypeError
        If `source` is none of the above.

    Examples
    --------
    >>> pairs = [(np.full((8, 8), 10 * k, np.uint8), k % 2) for k in range(20)]
    >>> options = npgen.BuildOptions(holdout=0.2, name="squares", quiet=True)
    >>> corpus = npgen.build_corpus(pairs, "squares", options)
    >>> len(corpus), len(corpus.heldout)
    (16, 4)
    """
    # 1. List the images, and those to hold out.
    check_type("options", options, BuildOptions, type(None))
    options = BuildOptions() if options is None else options
    name = options.name or default_name(source)
    check_name(name)
    target = Path(out) if out is not None else home() / "corpora" / name
    refuse_existing(target)
    train, test = open_source(source, options.root, options.download, options.white)
    if heldout is not None:
        if test is not None:
            raise invalid("heldout", "None for a source with a test split of its own", heldout)
        test = dataset_split(heldout, "heldout")
    if test is not None and options.holdout:
        raise invalid("holdout", "0 for a source with a test split of its own", options.holdout)
    with new_folder(target) as folder:
        undivided = folder / "undivided"
        tally = Tally()
        # 2. Hold out a fraction. It depends on the labels, so all images are first written undivided and read back.
        if options.holdout:
            images, digests = _write_split(train, undivided, name, options, tally)
            train, test = (
                replace(corpus_split(images, ids), where=partial(_name_of, digests.names, ids))
                for ids in _hold_out(images, options.holdout)
            )
        # 3. Write the held-out images, then the source images with a manifest that refers to them.
        test_corpus = test_digests = None
        seen = Tally() if options.holdout else tally  # images that are read back don't count again
        if test is not None:
            test_corpus, test_digests = _write_split(test, folder / "heldout", name, options, seen)
        _, digests = _write_split(train, folder, name, options, seen, test_corpus)
        # 4. Write the account of what came of the source.
        tally.account(digests, test_digests).save(folder)
        if options.holdout:
            shutil.rmtree(undivided)
    return open_corpus(target)


def _name_of(names: list[str], ids: list[int], index: int) -> str:
    return names[ids[index]]


def _write_split(
    split: Split, folder: Path, name: str, options: BuildOptions, tally: Tally, heldout: Corpus | None = None
) -> tuple[Corpus, Digests]:
    """Write the images of a split as a corpus in `folder`, which lies inside a folder that is made atomically."""
    if split.count < 1:
        raise ValueError(f"source must hold at least one image, got {split.count}")
    folder.mkdir(exist_ok=True)
    # 1. Convert and write image after image.
    converter = _Converter(replace(options, white=None) if split.settled else options, tally)
    bar = tqdm(range(split.count), name, unit="image", disable=options.quiet or None)
    write = _write_images_of_any_size if options.keep_sizes else _write_images_of_one_size
    written = write(folder, converter.convert_all(split, bar), split)
    tally.leave_out(split.left_out)
    if options.white is None and not split.settled and converter.largest == 1:
        raise doubtful_range(split.where(0) if split.count == 1 else f"{split.where(0)} and what follows")
    # 2. Check them and their labels as a corpus.
    known = [label for label in written.labels if label is not None]
    if known and len(known) < split.count:
        missing = split.where(written.labels.index(None))
        raise invalid("labels", "there for all images or for none", f"none for {missing}")
    source = {
        **split.source,
        "mode": converter.mode,
        "size": None if options.size is None else list(options.size),
        "holdout": options.holdout,
    }
    corpus = Corpus.from_arrays(
        npy.open_any_array(folder / "images.npy"),  # (N, H, W, C)
        np.array(known, np.int64) if known else None,
        split.classes if known else None,
        name=name,
        source=source,
        white=255,  # grey levels, as they have been written
    )
    corpus = replace(corpus, heldout=heldout, sizes=written.sizes)
    # 3. Write labels and manifest.
    sha256 = dict(written.sha256)
    if corpus.labels is not None:
        sha256["labels"] = npy.write_array(folder / "labels.npy", corpus.labels)
    write_corpus_manifest(corpus, folder, sha256)
    return open_corpus(folder), converter.digests


class _Converter:
    """Conversion of the images of a split to pixels of one mode and, unless sizes are kept, one size.

    Attributes
    ----------
    mode
        That of the options, else that of the first image; None until one was converted.
    largest
        Largest value of images whose values would be doubtful if all were 0 or 1; −1 before the first of them.
    digests
        Of all images that were converted.
    """

    def __init__(self, options: BuildOptions, tally: Tally) -> None:
        self.mode = options.mode
        self.largest: float = -1
        self.digests = Digests()
        self._options = options
        self._tally = tally
        self._first: tuple[str, tuple[int, int]] | None = None  # name and size of the first image

    def convert_all(self, split: Split, indices: Iterable[int]) -> Iterator[tuple[npt.NDArray[np.uint8], int | None]]:
        """Yield the pixels (h, w, C) and the label of image after image."""
        for index in indices:
            given, label = split.read(index)
            where = split.where(index)
            if not split.settled and self.largest <= 1 and (largest := largest_value(given)) is not None:
                self.largest = max(self.largest, largest)
            image = to_pil(given, where, self._options.white)
            if image.info.get(TURNED):
                self._count("turned upright, as Exif data say")
            pixels = self.convert(image, where)
            self._tally.read[f"{_format_of(given)} {image.height}x{image.width}"] += 1
            self.digests.add(pixels, where)
            yield pixels, _checked_label(label, where)

    def convert(self, image: Image.Image, where: str) -> npt.NDArray[np.uint8]:
        """Check that an image fits the first one, and convert it to (h, w, C) uint8."""
        mode, size = plain_mode(image), image.size
        if self._options.mode is None and mode is None:
            raise ValueError(
                "mode must be 'grey' or 'rgb' for images that are neither plain 8-bit grey nor plain RGB, "
                f"got None and {where} of Pillow mode {image.mode!r}"
            )
        if self._first is None:
            self._first = where, size
            self.mode = self.mode or mode
        first, first_size = self._first
        if self._options.mode is None and mode != self.mode:
            raise ValueError(
                "mode must be 'grey' or 'rgb' for a mixture of both, got None, "
                f"{first} in {self.mode} and {where} in {mode}"
            )
        if self._options.size is None and not self._options.keep_sizes and size != first_size:
            raise ValueError(
                "size must be a height and a width to resize to for images of several sizes, got None, "
                f"{first} of {first_size[1]}x{first_size[0]} and {where} of {size[1]}x{size[0]}. "
                "For the model texture they can also stay as they are: --keep-sizes (keep_sizes=True)"
            )
        assert self.mode is not None  # given, or taken from the first image
        if self._options.white is not None:
            self._count(f"scaled so that {self._options.white:g} is white")
        return to_pixels(image, self.mode, self._options.size, where, self._count)

    def _count(self, how: str) -> None:
        self._tally.converted[how] += 1


def _format_of(image: Any) -> str:
    """Return the format of an image for the account: that of its file, or what kind of object it is."""
    if isinstance(image, Image.Image):
        return image.format or "picture"
    return "array" if isinstance(image, np.ndarray) else "tensor"


@dataclass(frozen=True)
class _Written:
    """Images that were written: hashes of files by name, sizes (N, 2) if they differ, and the label of each or None."""

    sha256: dict[str, str]
    sizes: npt.NDArray[np.int32] | None
    labels: list[int | None]


def _write_images_of_one_size(
    folder: Path, images: Iterator[tuple[npt.NDArray[np.uint8], int | None]], split: Split
) -> _Written:
    pixels, label = next(images)
    labels = [label]
    with npy.array_writer(folder / "images.npy", np.uint8, (split.count, *pixels.shape)) as writer:
        writer.write(pixels[np.newaxis])
        for pixels, label in images:
            writer.write(pixels[np.newaxis])
            labels.append(label)
    return _Written({"images": writer.sha256}, None, labels)


def _write_images_of_any_size(
    folder: Path, images: Iterator[tuple[npt.NDArray[np.uint8], int | None]], split: Split
) -> _Written:
    """Write images padded to the frame of the largest, which is known only after all have been read."""
    # 1. Write the pixels of all images to a temporary file.
    unpadded = folder / "unpadded"
    shapes, labels = [], []
    with unpadded.open("wb") as file:
        for pixels, label in images:
            file.write(np.ascontiguousarray(pixels).data)
            shapes.append(pixels.shape)  # (h, w, C)
            labels.append(label)
    # 2. Pad them.
    sizes = np.array([shape[:2] for shape in shapes], np.int32)  # (N, 2)
    channels = shapes[0][2]
    frame = common_frame(sizes, channels, split.where)
    shape = (split.count, *frame, channels)
    with unpadded.open("rb") as file, npy.array_writer(folder / "images.npy", np.uint8, shape) as writer:
        for own in shapes:
            pixels = np.frombuffer(file.read(prod(own)), np.uint8).reshape(own)
            writer.write(pad_to(frame, pixels)[np.newaxis])
    unpadded.unlink()
    sha256, differing = {"images": writer.sha256}, none_if_equal(sizes)
    if differing is not None:
        sha256["sizes"] = npy.write_array(folder / "sizes.npy", differing)
    return _Written(sha256, differing, labels)


def _checked_label(label: Any, where: str) -> int | None:
    if label is None:
        return None
    try:
        return operator.index(label)
    except TypeError as error:
        raise TypeError(f"label of {where} must be an integer or None, got {label!r}") from error


def _hold_out(corpus: Corpus, fraction: float) -> tuple[list[int], list[int]]:
    """Return the ids of the images to use as sources and of those to hold out.

    Within each class, images are ordered by a hash of their id, so the choice is the same on all machines.
    """
    labels = np.zeros(len(corpus), np.int64) if corpus.labels is None else np.asarray(corpus.labels)
    held: set[int] = set()
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        members.sort(key=lambda index: hashlib.sha256(f"npgen holdout {index}".encode()).digest())
        held.update(members[: round(fraction * len(members))])
    if not 0 < len(held) < len(corpus):
        raise ValueError(
            f"holdout must leave images on both sides, got {fraction}, which holds out {len(held)} of {len(corpus)}"
        )
    return [index for index in range(len(corpus)) if index not in held], sorted(held)
