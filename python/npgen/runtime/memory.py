"""Memory of the process: a limit on what memory maps keep resident, and reuse of freed memory in training."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from npgen.errors import check_whole, invalid

# Seconds between two checks of the budget: enough for a fast disk cache to fill about 100 MB.
INTERVAL = 0.02
# Pages are released at this share of the budget, so that what is read before the next check still fits.
TRIGGER = 0.8
STATM = Path("/proc/self/statm")
# Parameters of glibc's mallopt and their defaults.
M_TRIM_THRESHOLD, TRIM_THRESHOLD = -1, 128 * 1024
M_MMAP_MAX, MMAP_MAX = -4, 65536
# Bytes of freed memory that `retain_freed_memory` retains at most.
MOST_RETAINED = 2**31 - 1


class MemoryBudget:
    """A limit on resident memory: a thread releases pages of memory-mapped arrays before it is reached.

    Use it as a context manager. The arrays stay valid: a released page is read from its file again when it is accessed.
    Arrays that are not memory maps are not affected. On systems that do not report resident memory, pages are released
    at every check.

    Parameters
    ----------
    budget
        Bytes of resident memory; None sets no limit and starts no thread.

    Raises
    ------
    TypeError
        If the budget is not a whole number.
    ValueError
        If it is not positive.
    """

    def __init__(self, budget: int | None) -> None:
        if budget is not None:
            check_whole("memory", budget)
            if budget <= 0:
                raise invalid("memory", "a positive number of bytes or None", budget)
        self.budget = budget
        self._maps: list[mmap.mmap] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="npgen-memory", daemon=True)

    def watch(self, array: NDArray[Any]) -> None:
        """Add an array to those whose pages may be released; does nothing for one that is not a memory map."""
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(base, "madvise"):
            self._maps.append(base)

    def __enter__(self) -> MemoryBudget:
        if self.budget is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        assert self.budget is not None
        while not self._stop.wait(INTERVAL):
            resident = resident_bytes()
            if resident is None or resident > TRIGGER * self.budget:
                for pages in self._maps:
                    pages.madvise(mmap.MADV_DONTNEED)


def resident_bytes() -> int | None:
    """Return this process's resident memory in bytes, or None on systems that do not report it."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return None


@contextlib.contextmanager
def retain_freed_memory() -> Iterator[None]:
    """Let glibc reuse freed memory, up to 2 GiB, instead of returning it to the system, inside a `with` block.

    Training allocates and frees the same tens of megabytes in every step. By default glibc returns large blocks to the
    system at once, and a third of a step on a CPU goes into zeroing new pages. Does nothing with other C libraries.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, MOST_RETAINED)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, MMAP_MAX)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        library.malloc_trim(0)
