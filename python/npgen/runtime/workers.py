"""Threads for torch's computations, each limited to a single core.

Work is divided into batches, one per thread. No sum is divided between threads, so results do not depend on how many
threads there are.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from npgen.runtime.imports import import_uninterrupted

# Pools by process id and number of threads. The process id counts because a forked child has no threads of its parent.
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_lock = threading.Lock()


def torch_workers(count: int | None) -> ThreadPoolExecutor:
    """Return a pool of threads in which torch computes on one core each.

    Parameters
    ----------
    count
        Number of threads; None means torch's own number.

    Returns
    -------
    ThreadPoolExecutor
        The same pool for the same count in all calls of this process: torch takes about a millisecond to change a
        thread's setting. Do not shut it down.
    """
    import_uninterrupted("torch")
    import torch

    if count is None:
        with _lock:  # the setting is per thread; a new thread takes the last one set by any thread, `_start` included
            count = torch.get_num_threads()
    key = os.getpid(), count
    if key not in _pools:
        with _lock:  # meanwhile `_start` changes the setting that new threads take
            if key not in _pools:
                _pools[key] = _start(count)
    return _pools[key]


def _start(count: int) -> ThreadPoolExecutor:
    import torch

    before = torch.get_num_threads()
    all_started = threading.Barrier(count)

    def use_one_core() -> None:
        torch.get_num_threads()  # fixes this thread's own setting; before that it follows the last one set anywhere
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count, "npgen-torch", use_one_core)
    try:
        for _ in pool.map(lambda _: all_started.wait(), range(count)):
            pass
    finally:
        torch.set_num_threads(before)  # for threads that are started later
    return pool


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A lock that another thread held during the fork would stay locked in the child.
    os.register_at_fork(after_in_child=_renew_lock)
