"""The corpus: source images with labels, read-only and hashed, in memory or memory-mapped from a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npgen.corpus.checks import checked_classes, checked_images, checked_labels, checked_source
from npgen.corpus.manifest import Manifest, corpus_hash, read_manifest, write_manifest
from npgen.corpus.sizes import badly_padded, check_sizes, describe_sizes, stack_images
from npgen.corpus.values import check_white
from npgen.errors import check_name, check_type, invalid
from npgen.storage import new_folder, npy, sha256_file

# Files up to this size are hashed whenever they are opened, which takes about a second at most.
HASHED_BYTES = 1 << 30


@dataclass(frozen=True, eq=False, repr=False)
class Corpus:
    """Source images with their labels; made by `Corpus.from_arrays`, `build_corpus` and `load_corpus`.

    Attributes
    ----------
    images
        (N, H, W, C) uint8, read-only; C is 1 or 3. Images of several sizes each fill the upper left of the H × W frame;
        the rest of the frame repeats their last row and column. `image` returns an image without this padding.
    labels
        (N,) int64, read-only, or None.
    classes
        Class names, indexed by label, or None.
    name
        Short name, one path component.
    path
        Folder of the corpus; None for a corpus in memory.
    heldout
        Images that are not used as sources, but compared with samples in evaluations; or None.
    source
        Where the images came from, JSON-able.
    stored_hashes
        `array_hashes` as read from the manifest; None for a corpus in memory.
    sizes
        (N, 2) int32, height and width of each image, read-only; None if all images fill the frame.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    >>> corpus = npgen.Corpus.from_arrays(images, np.arange(20) % 2, classes=["even", "odd"])
    >>> corpus
    Corpus('arrays', 20 images 8x8x1, 2 classes, in memory)
    >>> corpus.class_of(3)
    'odd'
    >>> corpus.save("corpus").path.name
    'corpus'
    """

    images: npt.NDArray[np.uint8]  # (N, H, W, C)
    labels: npt.NDArray[np.int64] | None  # (N,)
    classes: tuple[str, ...] | None
    name: str
    path: Path | None = None
    heldout: Corpus | None = None
    source: dict[str, Any] = field(default_factory=dict)
    stored_hashes: dict[str, str] | None = None
    sizes: npt.NDArray[np.int32] | None = None  # (N, 2)

    def __post_init__(self) -> None:
        for array in (self.images, self.labels, self.sizes):
            if array is not None:
                array.flags.writeable = False  # unpickled arrays are writeable

    @classmethod
    def from_arrays(
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        classes: Sequence[str] | None = None,
        *,
        name: str = "arrays",
        heldout: Corpus | None = None,
        source: dict[str, Any] | None = None,
        keep_sizes: bool = False,
        white: float | None = None,
    ) -> Corpus:
        """Make a corpus in memory.

        Parameters
        ----------
        images
            (N, H, W), (N, H, W, 1) or (N, H, W, 3): uint8, or any other integer or float dtype whose values
            are whole numbers from 0 to 255; or booleans, of which True is white. Copied, unless read-only already.
        labels
            (N,) integers from 0 up, or None.
        classes
            One name per label value, or None.
        name
            Short name, one path component.
        heldout
            Images for evaluations, of the same shape and classes.
        source
            Where the images came from, JSON-able.
        keep_sizes
            Whether `images` may be a list of images of several sizes, which then keep them. Only the model "texture"
            supports such a corpus.
        white
            The value that stands for white: values from 0 to `white` become 0 to 255. None takes values as they are,
            and refuses images whose values are all 0 or 1, which may be black and white or all but black.

        Returns
        -------
        Corpus
            With `path` None; `save` writes it.

        Raises
        ------
        ValueError
            If a value or a shape is not as above.
        TypeError
            If a dtype is not as above.
        """
        check_white(white)
        pixels, sizes = (
            stack_images(images, white) if keep_sizes else (checked_images(images, white, settled=False), None)
        )
        numbers = None if labels is None else checked_labels(labels, len(pixels))
        names = None if classes is None else checked_classes(classes, numbers)
        check_name(name)
        if heldout is not None:
            check_type("heldout", heldout, Corpus)
            _check_heldout(heldout, _shape(pixels, sizes), numbers is not None, names)
        origin = checked_source({} if source is None else source)
        return cls(pixels, numbers, names, name, None, heldout, origin, sizes=sizes)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        count, height, width, channels = self.images.shape
        size = (
            f"{height}x{width}x{channels}"
            if self.sizes is None
            else f"{describe_sizes(self.sizes)}, {channels} channels"
        )
        parts = [f"{self.name!r}", f"{count} images {size}"]
        if self.classes is not None:
            parts.append(f"{len(self.classes)} classes")
        elif self.labels is not None:
            parts.append("labelled")
        if self.heldout is not None:
            parts.append(f"{len(self.heldout)} held out")
        parts.append("in memory" if self.path is None else str(self.path))
        return f"Corpus({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A memory map would be pickled with all its bytes; a stored corpus is opened again instead.
        if self.path is not None:
            return _reopen, (self.path, self.hash)
        rest = (self.name, None, self.heldout, self.source, None, self.sizes)
        return Corpus, (self.images, self.labels, self.classes, *rest)

    @cached_property
    def array_hashes(self) -> dict[str, str]:
        """SHA-256 of each array's `.npy` file as `save` writes it: `images` and, if any, `labels` and `sizes`."""
        if self.stored_hashes is not None:
            return self.stored_hashes
        arrays = {"images": self.images, "labels": self.labels, "sizes": self.sizes}
        return {key: npy.sha256_array(array) for key, array in arrays.items() if array is not None}

    @cached_property
    def hash(self) -> str:
        """SHA-256 over format version, shape, array hashes and classes: the corpus's identity in keys and runs."""
        return corpus_hash(self.images.shape, self.array_hashes, self.classes)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one image in its own size, (h, w, C) uint8."""
        image: npt.NDArray[np.uint8] = self.images[index]
        if self.sizes is None:
            return image
        height, width = self.sizes[index]
        return image[:height, :width]

    def holds(
        self, image_id: npt.NDArray[np.integer[Any]], y: npt.NDArray[np.integer[Any]], x: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.bool_]:
        """Return which addresses exist: (image_id, y, x), each an array of the result's shape."""
        exists: npt.NDArray[np.bool_] = (image_id >= 0) & (image_id < len(self)) & (y >= 0) & (x >= 0)
        if self.sizes is None:
            height, width = self.images.shape[1:3]
        else:
            height, width = np.moveaxis(self.sizes[np.where(exists, image_id, 0)], -1, 0)
        exists &= (y < height) & (x < width)
        return exists

    def class_of(self, image: int) -> str | None:
        """Return the class name of an image, or its label as a string if classes have no names; None without labels."""
        if self.labels is None:
            return None
        label = int(self.labels[image])
        return str(label) if self.classes is None else self.classes[label]

    def save(self, path: str | os.PathLike[str]) -> Corpus:
        """Write the corpus as a folder, atomically.

        Parameters
        ----------
        path
            Where the folder goes; nothing may be there.

        Returns
        -------
        Corpus
            The same corpus, memory-mapped from the folder.

        Raises
        ------
        FileExistsError
            If something is at `path`.
        OSError
            If it cannot be written, for instance because the disk is full; then nothing is left.
        """
        with new_folder(path) as folder:
            _write(self, folder)
        return open_corpus(path)


def open_corpus(path: str | os.PathLike[str], *, verified: bool = True) -> Corpus:
    """Open a corpus folder: its manifest, and its arrays memory-mapped read-only.

    Parameters
    ----------
    path
        The folder; unlike in `load_corpus`, not a name.
    verified
        Whether to check hashes, padding and labels, and to open the held-out images; else the corpus has none.

    Returns
    -------
    Corpus
        As `load_corpus` returns it.

    Raises
    ------
    ValueError
        If the folder is not a corpus, has a newer format, or its files do not match its manifest.
    """
    folder = Path(path).absolute()
    manifest = read_manifest(folder)
    images = npy.open_array(folder / "images.npy", np.uint8, manifest.shape)
    labels = None
    if "labels" in manifest.sha256:
        labels = npy.open_array(folder / "labels.npy", np.int64, manifest.shape[:1])
    sizes = None
    if "sizes" in manifest.sha256:
        sizes = npy.open_array(folder / "sizes.npy", np.int32, (manifest.shape[0], 2))
        try:
            check_sizes(sizes, manifest.shape)
        except ValueError as error:
            raise ValueError(f"{folder / 'sizes.npy'} must hold the sizes of its images: {error}") from error
    if verified and images.nbytes <= HASHED_BYTES:
        check_hashes(folder, manifest.sha256)
        check_padding(folder, images, sizes)
    if verified and labels is not None:
        try:
            checked_labels(labels, len(images))
            if manifest.classes is not None:
                checked_classes(manifest.classes, labels)
        except ValueError as error:
            raise ValueError(f"{folder / 'labels.npy'} must hold labels of its manifest's classes: {error}") from error
    heldout = None
    if verified and manifest.heldout is not None:
        heldout = open_corpus(folder / "heldout")
        _check_heldout(heldout, _shape(images, sizes), labels is not None, manifest.classes)
        if heldout.hash != manifest.heldout:
            raise ValueError(
                f"{folder / 'heldout'} must be the corpus of hash {manifest.heldout}, got {heldout.hash}: "
                "the held-out images were exchanged; build the corpus again"
            )
    rest = (folder, heldout, manifest.source, manifest.sha256, sizes)
    return Corpus(images, labels, manifest.classes, manifest.name, *rest)


def check_hashes(folder: Path, sha256: dict[str, str]) -> None:
    """Raise ValueError unless the arrays of a corpus folder have these hashes."""
    for key, expected in sha256.items():
        file = folder / f"{key}.npy"
        found = sha256_file(file)
        if found != expected:
            raise ValueError(f"{file} must have sha256 {expected}, got {found}: it was altered; build the corpus again")


def check_padding(folder: Path, images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32] | None) -> None:
    """Raise ValueError unless all images of a corpus folder repeat their edges beyond their own sizes."""
    if sizes is not None and (number := next(badly_padded(images, sizes), None)) is not None:
        raise ValueError(
            f"{folder / 'images.npy'} must repeat the edges of images beyond their sizes, got others at image "
            f"{number}; build the corpus again"
        )


def check_corpus(corpus: object, one_size: str | None = None, parameter: str = "corpus") -> None:
    """Check that an argument is a corpus.

    Parameters
    ----------
    corpus
        The value given.
    one_size
        What needs images of one size, for the message; None if they may have several.
    parameter
        Name of the parameter, as the caller wrote it.

    Raises
    ------
    TypeError
        If it is not a `Corpus`.
    ValueError
        If its images have several sizes and `one_size` is given.
    """
    check_type(parameter, corpus, Corpus)
    if one_size is not None and isinstance(corpus, Corpus) and corpus.sizes is not None:
        raise ValueError(
            f"{parameter} must be of images of one size for {one_size}, got {corpus.name!r} of "
            f"{describe_sizes(corpus.sizes)}. Build one with: npgen corpus build … --size HEIGHT WIDTH"
        )


def write_corpus_manifest(corpus: Corpus, folder: Path, sha256: dict[str, str]) -> None:
    """Write the manifest of a corpus folder, the last of its files.

    Parameters
    ----------
    corpus
        The corpus.
    folder
        Folder from `new_folder` that holds `images.npy` and, if the corpus has them, `labels.npy`, `sizes.npy` and the
        folder `heldout` already.
    sha256
        Hashes of these arrays' files, by name without suffix.
    """
    heldout = None if corpus.heldout is None else corpus.heldout.hash
    manifest = Manifest(corpus.name, corpus.images.shape, corpus.classes, sha256, heldout, corpus.source)
    write_manifest(folder, manifest)


def _write(corpus: Corpus, folder: Path) -> None:
    arrays = {"images": corpus.images, "labels": corpus.labels, "sizes": corpus.sizes}
    sha256 = {key: npy.write_array(folder / f"{key}.npy", array) for key, array in arrays.items() if array is not None}
    if corpus.heldout is not None:
        (folder / "heldout").mkdir()
        _write(corpus.heldout, folder / "heldout")
    write_corpus_manifest(corpus, folder, sha256)


def _reopen(path: Path, expected: str) -> Corpus:
    corpus = open_corpus(path)
    if corpus.hash != expected:
        raise ValueError(f"{path} must be the corpus of hash {expected}, got {corpus.hash}: it was exchanged")
    return corpus


def _shape(images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32] | None) -> tuple[int, ...]:
    """Return the shape that all images of a corpus share: (H, W, C), or (C,) if sizes differ."""
    return images.shape[1:] if sizes is None else images.shape[3:]


def _check_heldout(heldout: Corpus, shape: tuple[int, ...], labelled: bool, classes: tuple[str, ...] | None) -> None:
    if heldout.images.shape[-len(shape) :] != shape:
        raise invalid("heldout", f"images of shape {shape}", heldout.images.shape[1:])
    if (heldout.labels is not None) != labelled or heldout.classes != classes:
        allowed = f"{'labelled' if labelled else 'unlabelled'}, with classes {classes}"
        got = f"{'labelled' if heldout.labels is not None else 'unlabelled'}, with classes {heldout.classes}"
        raise ValueError(f"heldout must be {allowed}, got {got}")
    if heldout.heldout is not None:
        raise invalid("heldout", "without held-out images of its own", repr(heldout.heldout))
