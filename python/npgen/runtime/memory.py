"""Memory that is handed back, and memory that is kept.

Pages of memory maps that were read are handed back when a budget is passed (`MemoryBudget`). What a training frees, it
keeps for its next step (`freed_memory_kept`).
"""

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

# How often the budget is looked at, in seconds: a fast disk cache fills some 100 MB in that time.
INTERVAL = 0.02
# Pages are handed back at this share of the budget, so that what comes in between two looks still fits.
TRIGGER = 0.8
STATM = Path("/proc/self/statm")
# Parameters of glibc's mallopt, and what they are if nobody sets them.
M_TRIM_THRESHOLD, TRIM_THRESHOLD = -1, 128 * 1024
M_MMAP_MAX, MMAP_MAX = -4, 65536
MOST_KEPT = 2**31 - 1


class MemoryBudget:
    """Watches resident memory while work goes on, and hands back pages of memory-mapped arrays in time.

    The arrays stay valid: pages come back from their file when they are read again. Arrays that are not memory maps
    are left alone. Where the system does not tell what is resident, pages are handed back at every look.

    Parameters
    ----------
    budget
        Bytes of resident memory; None means no limit, and nothing is done.

    Raises
    ------
    TypeError
        If the budget is no whole number.
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
        """Count an array among those whose pages may be handed back."""
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
    """Return this process's resident memory in bytes, or None where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return None


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed meanwhile, up to 2 GiB, for what is allocated next.

    A training allocates and frees the same tens of megabytes in every step. By default glibc gets each of them from the
    system and gives it back, and a third of a step on a CPU goes into zeroing pages. Other libraries are left alone.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, MMAP_MAX)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        library.malloc_trim(0)
