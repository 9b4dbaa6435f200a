"""Ctrl-C ends a command within half a second, with one line on stderr and status 130.

Python alone does not ensure that: it raises KeyboardInterrupt only between two steps of Python code, so a long call of
a library delays it, code may catch it, and the interpreter waits for threads when it ends. Therefore a second thread
ends the process when the time for an orderly end, `GRACE`, is over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

# Seconds that a command has for an orderly end: remove half-written files, close progress bars.
GRACE = 0.2
# Exit status by which shells name a process that SIGINT ended.
INTERRUPTED = 128 + signal.SIGINT

_interrupted = threading.Event()
_ending = threading.Lock()


def run(app: Callable[[], None], handles_interrupts: bool) -> None:
    """Run an application that ends with SystemExit, and handle Ctrl-C unless it is to be ignored."""
    if handles_interrupts:
        _watch()
    try:
        app()
    except BaseException as error:
        # A module whose import is interrupted may raise any error.
        if _interrupted.is_set():
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            _end(reported=isinstance(error, SystemExit) and error.code == INTERRUPTED)
        if handles_interrupts:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to clean up
        raise


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _interrupted.is_set():  # only once: cleaning up must not be interrupted
        _interrupted.set()
        raise KeyboardInterrupt


def _watch() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, and end the process `GRACE` seconds later, or at a second Ctrl-C.

    No data are lost: half-written files have temporary names.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # The interpreter's C code writes the number of each signal there at once, whatever Python code is doing.
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)

    def wait() -> None:
        while receiver.recv(1)[0] != signal.SIGINT:
            pass
        receiver.settimeout(GRACE)
        with contextlib.suppress(TimeoutError):
            receiver.recv(1)
        _end(reported=False)

    threading.Thread(target=wait, name="npgen-interrupt", daemon=True).start()
    signal.signal(signal.SIGINT, _interrupt)


def _end(reported: bool) -> None:
    """End the process at once, without waiting for its threads; print the line unless it was printed already."""
    _ending.acquire()  # never released: a second thread that comes here waits for the end of the process
    if not reported:
        with contextlib.suppress(OSError):
            # A terminal has shown ^C, and perhaps a progress bar, in the current line.
            os.write(2, b"\nnpgen: interrupted\n" if os.isatty(2) else b"npgen: interrupted\n")
    os._exit(INTERRUPTED)
