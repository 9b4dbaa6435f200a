"""Threads that run torch, each on a single thread of its own: they share out work, and no sum is split between them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from npgen.runtime.imports import import_whole

# By process and size: a forked child has none of its parent's threads.
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_starting = threading.Lock()


def torch_workers(count: int | None) -> ThreadPoolExecutor:
    """Return `count` such threads, or torch's own number of them: the same ones whenever this process asks.

    They are kept, as torch takes a millisecond to change its number of threads.
    """
    import_whole("torch")
    import torch

    if count is None:
        with _starting:  # a thread that asks for the first time takes the number that was set last
            count = torch.get_num_threads()
    key = os.getpid(), count
    if key not in _pools:
        with _starting:  # torch's number of threads is changed for that long
            if key not in _pools:
                _pools[key] = _start(count)
    return _pools[key]


def _start(count: int) -> ThreadPoolExecutor:
    import torch

    before = torch.get_num_threads()
    everyone = threading.Barrier(count)

    def use_one() -> None:
        torch.get_num_threads()  # a thread that never asked would take the number that is set last, by whomever
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count, "npgen-encoder", use_one)
    try:
        for _ in pool.map(lambda _: everyone.wait(), range(count)):
            pass
    finally:
        torch.set_num_threads(before)  # the number is each thread's own, but new threads take the last one set
    return pool


def _renew_lock() -> None:
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    # The thread that held the lock is not in the child.
    os.register_at_fork(after_in_child=_renew_lock)
