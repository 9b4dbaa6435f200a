"""The memory budget, which releases pages of memory maps and nothing else; and reuse of freed memory."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import npgen
from npgen.config import MODELS
from npgen.runtime.memory import MemoryBudget, resident_bytes
from npgen.storage import npy

MAPPED = 256 << 20


@pytest.fixture
def mapped(tmp_path):
    """A memory-mapped array of 256 MiB, in the page cache."""
    array = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.uint8, (MAPPED,))
    array[:] = 1
    array.flush()
    del array
    return np.load(tmp_path / "big.npy", mmap_mode="r")


@pytest.mark.skipif(resident_bytes() is None, reason="this system does not report resident memory")
def test_pages_are_released(mapped):
    before = resident_bytes()
    assert int(mapped.sum()) == MAPPED
    assert resident_bytes() > before + MAPPED / 2
    with MemoryBudget(before) as budget:
        budget.watch(mapped)
        deadline = time.monotonic() + 10
        while resident_bytes() > before + MAPPED / 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert resident_bytes() < before + MAPPED / 4
    assert int(mapped.sum()) == MAPPED


def test_arrays_in_memory_are_not_affected():
    array = np.ones(1 << 20, np.uint8)
    with MemoryBudget(1) as budget:
        budget.watch(array)
        time.sleep(0.1)
    assert array.all()


def test_a_budget_changes_no_byte(digits, tmp_path):
    stored = digits.save(tmp_path / "corpus")
    config = npgen.Config(window=5, shortlist=20)
    options = {"encoder": "pixels", "progress": False}
    for model in MODELS:
        free = npgen.generate(stored, 8, model, config, **options)
        tight = npgen.generate(stored, 8, model, config, memory=1, **options)
        np.testing.assert_array_equal(free.images, tight.images)
        for ours, theirs in zip(free.trace.arrays(), tight.trace.arrays(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_rows_are_read_from_the_file(mapped, tmp_path):
    rows = np.array([5, 0, MAPPED - 1])
    np.testing.assert_array_equal(npy.read_rows(mapped, rows), mapped[rows])
    np.testing.assert_array_equal(npy.read_rows(np.arange(9), np.array([3, 1])), [3, 1])
    with (tmp_path / "big.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match=r"big\.npy must hold row 268435455, got a shorter file"):
        npy.read_rows(mapped, rows[2:])


def test_a_budget_is_positive(digits):
    with pytest.raises(ValueError, match="memory must be a positive number of bytes or None, got 0"):
        npgen.generate(digits, 1, "local", npgen.Config(window=5), memory=0)
    with pytest.raises(TypeError, match="memory must be a whole number, got 0.5"):
        npgen.generate(digits, 1, "local", npgen.Config(window=5), memory=0.5)


FAULTS = """
import resource

import numpy as np

from npgen.runtime.memory import retain_freed_memory


def faults():
    '''Count the pages that the system has to supply when 3 MiB are written, after as many were freed.'''
    np.ones(3 << 20, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(3 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


with retain_freed_memory():
    retained = faults()
try:
    with retain_freed_memory():
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print(retained, faults())
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="the C library is not glibc")
def test_freed_memory_is_reused_inside_the_block():
    # In a process of its own: what this one did before decides where its memory comes from.
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    retained, afterwards = map(int, result.stdout.split())
    assert retained < 100
    assert afterwards > 500
