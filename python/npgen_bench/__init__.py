"""Benchmarks: npgen beside NumPy, PyTorch and FAISS. The package `npgen` does not need this one.

`npgen bench` calls `run_bench` (`table`), which measures each section in a process of its own (`worker`): the scan of
one pixel (`scan`, with the libraries' forms of it in `rivals`), the search of nearest keys (`shortlist`, with the
libraries' search in `libraries`), and whole models (`models`). `task` holds what all of them share. Two more benchmarks
are commands: `python -m npgen_bench.els` for score machines, `python -m npgen_bench.tokens` for tokens.
"""

from npgen_bench.models import measure_model
from npgen_bench.table import Bench, run_bench
from npgen_bench.task import Row, Task

__all__ = [
    "Bench",
    "Row",
    "Task",
    "measure_model",
    "run_bench",
]
