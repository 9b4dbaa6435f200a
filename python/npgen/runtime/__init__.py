"""The process that npgen runs in: imports, threads, devices, memory, and the other processes of a run.

Nothing here depends on images. Read the modules in any order:

- `imports`: imports of large modules that Ctrl-C cannot break.
- `devices`: names of devices to torch devices.
- `workers`: threads that each run torch on one core.
- `memory`: a limit on resident memory, and an allocator setting that makes training faster.
- `ranks`: the processes that share a run, with collective operations named as in MPI.
"""

from npgen.runtime.devices import resolve_device
from npgen.runtime.imports import import_uninterrupted
from npgen.runtime.memory import MemoryBudget, retain_freed_memory
from npgen.runtime.ranks import Ranks, open_ranks
from npgen.runtime.workers import torch_workers

__all__ = [
    "MemoryBudget",
    "Ranks",
    "import_uninterrupted",
    "open_ranks",
    "resolve_device",
    "retain_freed_memory",
    "torch_workers",
]
