"""Modules that can be imported once only: Ctrl-C must not leave half of one."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType

_begun: dict[str, Future[ModuleType]] = {}


def import_whole(name: str) -> None:
    """Import a module in a thread, which Ctrl-C does not reach.

    An import of torch takes a second or more. Once interrupted, torch refuses to be imported again: a notebook would
    have to be started anew. Here the caller gets its KeyboardInterrupt at once, and the next call a whole module.

    Parameters
    ----------
    name
        Name of the module.

    Raises
    ------
    ModuleNotFoundError
        If there is no such module.
    """
    if name not in _begun:
        if name in sys.modules:  # by somebody else's import
            return
        thread = ThreadPoolExecutor(1, f"npgen-import-{name}")
        _begun[name] = thread.submit(importlib.import_module, name)
        thread.shutdown(wait=False)
    try:
        _begun[name].result()
    except Exception:
        del _begun[name]
        raise
