"""Imports that Ctrl-C cannot leave half done."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType

# Imports that have been started, by module name.
_started: dict[str, Future[ModuleType]] = {}


def import_uninterrupted(name: str) -> None:
    """Import a module in a thread of its own, where KeyboardInterrupt is never raised.

    Importing torch takes a second or more, and after an interrupted import torch cannot be imported again in the same
    process, such as a notebook's kernel. Here Ctrl-C interrupts only the caller, which waits; the import itself is
    completed in the thread.

    Parameters
    ----------
    name
        Name of the module.

    Raises
    ------
    ModuleNotFoundError
        If there is no such module.
    """
    if name not in _started:
        if name in sys.modules:  # an ordinary import statement was first
            return
        thread = ThreadPoolExecutor(1, f"npgen-import-{name}")
        _started[name] = thread.submit(importlib.import_module, name)
        thread.shutdown(wait=False)
    try:
        _started[name].result()
    except Exception:
        del _started[name]
        raise
