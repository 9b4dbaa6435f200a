"""A cache for values derived from corpora, such as keys and features: computed once, then stored beside the images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from npgen.corpus.store import HASHED_BYTES, Corpus
from npgen.errors import invalid
from npgen.runtime import Ranks
from npgen.storage import npy, sha256_file

T = TypeVar("T")


class CorpusCache(Generic[T]):
    """Derived values of one kind, by corpus and key.

    A value of a corpus with a folder is stored there, as one file or folder. A value of a corpus in memory, or in a
    folder that cannot be written, is held in memory as long as the corpus object exists.

    Parameters
    ----------
    kind
        What the values are, for messages.
    entry
        Path of the file or folder of a value below the corpus folder, with `{key}` for its key. It must be written
        last: where it exists, the value is complete. None holds all values in memory.
    hold
        Whether to hold stored values in memory, too: those that take long to open.
    latest_only
        Whether to hold one value only, the latest of all corpora: for values that are large.
    """

    def __init__(self, kind: str, entry: str | None = None, *, hold: bool = False, latest_only: bool = False) -> None:
        self.kind = kind
        self._entry = entry
        self._hold = hold
        self._latest_only = latest_only
        self._values: WeakKeyDictionary[Corpus, dict[Hashable, T]] = WeakKeyDictionary()

    def path(self, corpus: Corpus, key: Hashable) -> Path | None:
        """Return where a value is stored, whether it exists or not; None if it is held in memory."""
        return None if corpus.path is None or self._entry is None else corpus.path / self._entry.format(key=key)

    def recall(self, corpus: Corpus, key: Hashable) -> T | None:
        """Return a value that is held in memory, or None."""
        return self._values.get(corpus, {}).get(key)

    def remember(self, corpus: Corpus, key: Hashable, value: T) -> T:
        """Hold a value in memory; return it."""
        if self._latest_only:
            self._values.clear()
        self._values.setdefault(corpus, {})[key] = value
        return value

    def fetch(
        self,
        corpus: Corpus,
        key: Hashable,
        *,
        make: Callable[[], T],
        open: Callable[[Path], T] | None = None,
        store: Callable[[Path], T | None] | None = None,
        ranks: Ranks | None = None,
    ) -> T:
        """Return a value: from memory, from the corpus folder, or computed now.

        Parameters
        ----------
        corpus, key
            Which value.
        make
            Computes the value in memory.
        open
            Reads the value from its path; not needed for values that are held in memory only.
        store
            Computes the value, writes it to its path and returns it; returns None if the folder cannot be written. Not
            needed for values that are held in memory only.
        ranks
            Processes that call this together and read the same folder; None for this process alone. `store` and `make`
            are called at all ranks or at none.

        Returns
        -------
        T
            The value.

        Raises
        ------
        ValueError
            If `open` finds that the stored value is damaged or belongs to something else.
        """
        ranks = ranks or Ranks()
        # 1. From memory, if all ranks hold it.
        value = self.recall(corpus, key)
        if not ranks.any(value is None):
            assert value is not None
            return value
        # 2. From the corpus folder; if it is not there, it is computed and stored there.
        path = self.path(corpus, key)
        if path is not None and open is not None and store is not None:
            value = open(path) if ranks.broadcast(path.exists()) else store(path)
            if value is not None:
                return self.remember(corpus, key, value) if self._hold else value
        # 3. Computed in memory: there is no folder, or it cannot be written.
        return self.remember(corpus, key, make())

    def warn_not_stored(self, error: OSError) -> None:
        """Warn that a value is held in memory only; for `store` where the folder cannot be written."""
        warnings.warn(f"{self.kind} held in memory only, as the corpus folder cannot be written: {error}", stacklevel=4)

    def check_manifest(self, path: Path, manifest: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Raise ValueError unless the manifest of the value stored at `path` has these items."""
        for name, value in expected.items():
            if manifest.get(name) != value:
                raise self.damaged(path, f"of {name} {value}", manifest.get(name))

    def open_rows(self, path: Path, file: Path, count: int, sha256: object) -> NDArray[np.float32]:
        """Open an array of the value stored at `path`, as a read-only memory map.

        Parameters
        ----------
        path
            Path of the value, as `path` returns it.
        file
            File of the array: one row per image, float32.
        count
            Number of images N.
        sha256
            The file's hash, which is checked if it has at most `HASHED_BYTES`.

        Returns
        -------
        ndarray
            (N, any) float32.

        Raises
        ------
        ValueError
            If the file was altered, or is an array of another shape or dtype.
        """
        if file.stat().st_size <= HASHED_BYTES and sha256 != sha256_file(file):
            raise self.damaged(path, f"as written, in {file.name}", "altered bytes")
        return npy.open_array(file, np.float32, (count, None))

    def damaged(self, path: Path, allowed: str, got: object) -> ValueError:
        """Build the error for the value stored at `path`; the message says how to have it computed again."""
        return invalid(f"{self.kind} {str(path)!r}", f"{allowed} (delete it to have it computed again)", got)
