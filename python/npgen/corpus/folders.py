"""Folders of images as sources: flat, with a folder per class, or with a folder per part of a data set."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npgen.corpus.decode import is_image, read_image
from npgen.corpus.splits import Split, joined, part_of_name
from npgen.errors import invalid

# Folders and files that systems make beside images.
_OF_SYSTEMS = frozenset(
    {
        "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found",
        "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    }
)  # fmt: skip
HIDDEN, OF_SYSTEM = "hidden", "of the system"
NO_IMAGE, NO_FILE = "no images that Pillow reads", "neither files nor folders that can be read"
FRAMES, BESIDE = "further frames or pages of a file", "beside the folders of the parts"
EMPTY = "folders without images"


@dataclass
class _Listing:
    """What a folder holds, by name, each sorted; and what is passed over, by reason."""

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)


def folder_splits(path: Path) -> tuple[Split, Split | None]:
    """List the images of a folder.

    Parameters
    ----------
    path
        A folder of images; of class folders; or of a folder for each part of the data set, each of one of these two
        forms. Parts go by their usual names, as train, Training, test, val or validation, in any case: the training
        part gives the source images, all other parts are held out.

    Returns
    -------
    Split, Split or None
        The source images, and the images of the other parts, if there are any.

    Raises
    ------
    ValueError
        If there are no images, or none of the three forms fits.
    """
    listing = _listing(path)
    parts = {name: part_of_name(name) for name in listing.folders}
    training = [name for name, part in parts.items() if part == "train"]
    held = [name for name, part in parts.items() if part == "heldout"]
    others = [name for name, part in parts.items() if part is None and _holds_images(path / name)]
    if not (training and (held or not others)):
        # A class may have the name of a part, as trains do among vehicles; but not if all names are those of parts.
        if held and not others:
            allowed = f"beside a training part, named train, as its folders are those of parts ({', '.join(held)})"
            raise ValueError(f"{path} must hold its held-out parts {allowed}, got no such folder")
        return _folder_split(path), None
    if len(training) > 1:
        raise ValueError(f"{path} must hold one training part, got {' and '.join(training)}")
    if others:
        raise ValueError(
            f"{path} must hold either parts of a data set or class folders, got {', '.join([*training, *held])} and "
            f"{', '.join(others)}: parts are named train, and test, val, valid or validation"
        )
    train = _folder_split(path / training[0], root=path)
    for reason, names in listing.left_out.items():
        train.left_out.setdefault(reason, []).extend(names)
    if listing.images:
        train.left_out.setdefault(BESIDE, []).extend(listing.images)
    empty = [name for name, part in parts.items() if part is None]
    if empty:
        train.left_out.setdefault(EMPTY, []).extend(empty)
    return train, joined([_folder_split(path / name, train, root=path) for name in held])


def _folder_split(folder: Path, train: Split | None = None, root: Path | None = None) -> Split:
    """List the images of a folder, which holds images or class folders; those of `train` have the same classes.

    What is left out is named by its path below `root`.
    """
    listing = _listing(folder)
    left_out = listing.left_out
    by_class: dict[str, list[tuple[str, _Listing]]] = {}  # folders of each class, by its name in composed form
    for name in listing.folders:
        inside = _listing(folder / name)
        if inside.images or inside.folders:
            by_class.setdefault(unicodedata.normalize("NFC", name), []).append((name, inside))
        else:
            listing.leave_out(EMPTY, name)
        for reason, names in inside.left_out.items():
            left_out.setdefault(reason, []).extend(f"{name}/{one}" for one in names)
    by_class = dict(sorted(by_class.items()))
    if train is not None and train.classes is not None and not by_class:
        raise ValueError(f"{folder} must hold class folders as its train folder does, got {len(listing.images)} images")
    if listing.images and by_class:
        mixture = [listing.images[0], min(by_class)]
        raise invalid(str(folder), "a folder of images or of class folders, not both", mixture)
    for members in by_class.values():
        for name, inside in members:
            if inside.folders:
                deeper = inside.folders[0]
                raise ValueError(
                    f"{folder / name} must be a class folder that holds images only, got a folder in it: {deeper!r}"
                )
    classes = tuple(by_class) if train is None else train.classes or ()
    unknown = sorted(set(by_class) - set(classes))
    if unknown:
        raise invalid(f"class folders of {folder}", f"those of its train folder, {classes}", unknown)
    items: list[tuple[Path, int | None]] = [(folder / file, None) for file in listing.images]
    for key, members in by_class.items():
        items += [(folder / name / file, classes.index(key)) for name, inside in members for file in inside.images]
    if not items:
        passed = sum(map(len, left_out.values()))
        got = f"none among {passed:,} other entries" if passed else "none"
        raise ValueError(f"{folder} must hold images, or folders of images, got {got}")
    below = folder if root is None else root
    prefix = "" if folder == below else f"{folder.relative_to(below).as_posix()}/"
    named = {reason: [prefix + name for name in names] for reason, names in left_out.items()}

    def read(index: int) -> tuple[Any, Any]:
        path, label = items[index]

        def leave_out(frames: int) -> None:
            named.setdefault(FRAMES, []).append(f"{path.relative_to(below).as_posix()} ({frames})")

        return read_image(path, leave_out), label

    source = {"kind": "folder", "folder": str(folder.absolute())}
    return Split(len(items), read, lambda index: str(items[index][0]), classes or None, source, left_out=named)


def _holds_images(folder: Path) -> bool:
    """Return whether a folder, or a folder in it, holds images."""
    listing = _listing(folder)
    return bool(listing.images) or any(_listing(folder / name).images for name in listing.folders)


def _listing(folder: Path) -> _Listing:
    """Return the names of the images and of the folders in a folder, and of what is passed over."""
    found = _Listing()
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{folder} must be a folder that can be read: {error.strerror or error}") from error
    for entry in ordered:
        name = entry.name
        if name.startswith("."):
            found.leave_out(HIDDEN, name)
        elif name.lower() in _OF_SYSTEMS:
            found.leave_out(OF_SYSTEM, name)
        elif _is(entry, "dir"):
            found.folders.append(name)
        elif not _is(entry, "file"):
            found.leave_out(NO_FILE, name)
        elif is_image(Path(folder) / name):
            found.images.append(name)
        else:
            found.leave_out(NO_IMAGE, name)
    return found


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Return whether an entry is a file or folder; a link counts as what it leads to, if that is there."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:  # a circle of links
        return False
