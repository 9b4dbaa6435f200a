"""The account of a build: which images were read, what was left out, which images are copies, what was converted."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from npgen.errors import check_type
from npgen.storage import read_json, write_json

FORMAT = "npgen-build-account"
VERSION = 1
FILE = "account.json"
# Names that are kept per reason, and names that a line of text shows.
KEPT, SHOWN = 1000, 5


@dataclass(frozen=True)
class LeftOut:
    """Things of a source that did not become images of the corpus, all for one reason.

    Attributes
    ----------
    count
        Their number.
    names
        Their names, of which the first 1,000 are kept.
    """

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class BuildAccount:
    """What `build_corpus` made of its source; stored in the corpus's folder as `account.json`.

    Attributes
    ----------
    read
        Numbers of images that were read, held-out ones included, by format and size in pixels, such as "PNG 28x28"
        (height, then width, as they were read).
    left_out
        What was left out, by reason.
    converted
        Numbers of images whose pixels were converted, by conversion.
    duplicates, heldout_duplicates
        Numbers of source images, and of held-out images, that are exact copies of an earlier one.
    heldout_in_corpus
        Number of held-out images that are exact copies of a source image.
    copies
        Pairs of an exact copy and what it is a copy of, by name; the first 1,000.
    """

    read: dict[str, int]
    left_out: dict[str, LeftOut]
    converted: dict[str, int]
    duplicates: int
    heldout_duplicates: int | None
    heldout_in_corpus: int | None
    copies: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """Return the account as lines of text: first what was read, at last what was left out."""
        lines = [f"read {_counted(self.read)}"]
        if self.converted:
            lines.append(f"converted: {_counted(self.converted)}")
        lines.append(f"exact duplicates: {self.duplicates:,} of the source images are copies of another")
        if self.heldout_duplicates is not None:
            lines[-1] += f", {self.heldout_duplicates:,} of the held-out images"
            lines.append(f"held-out images that are also source images: {self.heldout_in_corpus:,}")
        for copy, original in self.copies[:SHOWN]:
            lines.append(f"  {copy} = {original}")
        for reason, what in self.left_out.items():
            lines.append(f"left out, {reason}: {what.count:,} ({_listed(what.names, what.count)})")
        if not self.left_out:
            lines.append("left out: nothing")
        return lines

    def save(self, folder: Path) -> None:
        """Write the account into a corpus's folder."""
        write_json(folder / FILE, {"format": FORMAT, "version": VERSION, **asdict(self)})


def read_account(corpus: Any) -> BuildAccount | None:
    """Read what a build made of its source.

    Parameters
    ----------
    corpus
        A corpus, or the path of its folder.

    Returns
    -------
    BuildAccount or None
        None if the corpus was not made by `build_corpus`, or by an earlier npgen.

    Raises
    ------
    ValueError
        If the file is not an account, or of a newer npgen.

    Examples
    --------
    >>> pairs = [(np.full((8, 8), 10 * (k // 2), np.uint8), k % 2) for k in range(20)]
    >>> made = npgen.build_corpus(pairs, "twins", npgen.BuildOptions(quiet=True))
    >>> account = npgen.read_account(made)
    >>> account.read, account.duplicates
    ({'array 8x8': 20}, 10)
    """
    path = getattr(corpus, "path", corpus)
    check_type("corpus", path, str, os.PathLike, type(None))
    if path is None or not (file := Path(path) / FILE).is_file():
        return None
    content = read_json(file)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        got = f"{content.get('format')!r}, version {content.get('version')!r}"
        raise ValueError(f"{file} must be of format {FORMAT!r}, version {VERSION}, got {got}")
    try:
        return BuildAccount(
            {str(name): int(count) for name, count in content["read"].items()},
            {reason: LeftOut(int(one["count"]), tuple(one["names"])) for reason, one in content["left_out"].items()},
            {str(name): int(count) for name, count in content["converted"].items()},
            int(content["duplicates"]),
            content["heldout_duplicates"],
            content["heldout_in_corpus"],
            tuple((str(copy), str(original)) for copy, original in content["copies"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} must hold an account of a build, got one that can't be read: {error!r}") from error


@dataclass
class Tally:
    """What a build has seen so far.

    Attributes
    ----------
    read, converted
        Numbers of images by format and size, and by conversion.
    left_out
        Names by reason.
    """

    read: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, left_out: Mapping[str, Sequence[str]]) -> None:
        """Add names of what is left out, by reason."""
        for reason, names in left_out.items():
            if names:
                self.left_out.setdefault(reason, []).extend(names)

    def account(self, sources: Digests, heldout: Digests | None) -> BuildAccount:
        """Return the account of a build whose images have these digests."""
        copies = sources.copies_of(sources)
        again = across = None
        if heldout is not None:
            again, across = heldout.copies_of(heldout), heldout.copies_of(sources)
        named = [*copies, *(again or []), *(across or [])][:KEPT]
        return BuildAccount(
            dict(sorted(self.read.items(), key=lambda item: (-item[1], item[0]))),
            {reason: LeftOut(len(names), tuple(names[:KEPT])) for reason, names in self.left_out.items()},
            dict(sorted(self.converted.items())),
            len(copies),
            None if again is None else len(again),
            None if across is None else len(across),
            tuple(named),
        )


class Digests:
    """Digests of images by which exact copies are found, and the images' names."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._digests: list[bytes] = []
        self._first: dict[bytes, int] = {}

    def add(self, pixels: npt.NDArray[np.uint8], name: str) -> None:
        """Add the next image, (h, w, C)."""
        digest = image_digest(pixels)
        self._first.setdefault(digest, len(self._digests))
        self._digests.append(digest)
        self.names.append(name)

    def copies_of(self, others: Self) -> list[tuple[str, str]]:
        """Return the names of images that are copies of an image of others, or of an earlier one of the same."""
        pairs = []
        for index, digest in enumerate(self._digests):
            first = others._first.get(digest)
            if first is not None and not (others is self and first == index):
                pairs.append((self.names[index], others.names[first]))
        return pairs


def image_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a digest of an image (h, w, C): equal for equal images only."""
    digest = hashlib.blake2b(repr(pixels.shape).encode("ascii"), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{count:,} × {name}" for name, count in list(counts.items())[: 2 * SHOWN]]
    more = list(counts.values())[2 * SHOWN :]
    return ", ".join(shown) + (f", {sum(more):,} of {len(more)} other kinds" if more else "")


def _listed(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {count - SHOWN:,} more" if count > SHOWN else "")
