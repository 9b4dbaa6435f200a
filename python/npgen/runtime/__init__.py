"""The process: ranks, threads, devices and memory."""

from npgen.runtime.devices import resolve_device
from npgen.runtime.imports import import_whole
from npgen.runtime.memory import MemoryBudget, freed_memory_kept
from npgen.runtime.ranks import Ranks, open_ranks
from npgen.runtime.workers import torch_workers

__all__ = [
    "MemoryBudget",
    "Ranks",
    "freed_memory_kept",
    "import_whole",
    "open_ranks",
    "resolve_device",
    "torch_workers",
]
