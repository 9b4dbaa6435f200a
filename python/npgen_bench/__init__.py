"""Measures npgen beside its alternatives; no part of npgen."""

from npgen_bench.table import run_bench

__all__ = [
    "run_bench",
]
