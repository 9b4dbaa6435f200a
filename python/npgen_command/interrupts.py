"""Ctrl-C ends a command soon, and says so in one line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

# Seconds in which a command may end in good order: undo what it was writing, close its progress bars.
GRACE = 0.2
# What a shell makes of a process that SIGINT ended.
INTERRUPTED = 128 + signal.SIGINT

_interrupted = threading.Event()
_ending = threading.Lock()


def run(app: Callable[[], None], heeded: bool) -> None:
    """Run an application that ends with SystemExit, and mind Ctrl-C if that is to be heeded."""
    if heeded:
        _watch()
    try:
        app()
    except BaseException as error:
        # Modules that are interrupted while they are imported may fail in any way, or go on as if nothing were.
        if _interrupted.is_set():
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            _end(told=isinstance(error, SystemExit) and error.code == INTERRUPTED)
        if heeded:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to end in good order
        raise


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _interrupted.is_set():  # once: the way out must not be interrupted
        _interrupted.set()
        raise KeyboardInterrupt


def _watch() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, as ever, and end the process soon, whatever becomes of that.

    Python raises it between two steps of its own only; one call of a library may take seconds, and so may the
    interpreter's own end, which waits for threads. A hard end loses nothing: what is half-written has no name yet.
    """
    arrivals, departures = socket.socketpair()
    departures.setblocking(False)
    # The system's own handler writes the signal's number there, at once.
    signal.set_wakeup_fd(departures.detach(), warn_on_full_buffer=False)

    def wait() -> None:
        while arrivals.recv(1)[0] != signal.SIGINT:
            pass
        arrivals.settimeout(GRACE)
        with contextlib.suppress(TimeoutError):
            arrivals.recv(1)  # a second Ctrl-C is impatient
        _end(told=False)

    threading.Thread(target=wait, name="npgen-interrupt", daemon=True).start()
    signal.signal(signal.SIGINT, _interrupt)


def _end(told: bool) -> None:
    """End the process as it stands, without waiting for its threads."""
    _ending.acquire()  # whoever comes second waits for the end
    if not told:
        with contextlib.suppress(OSError):
            # A terminal has shown ^C, and perhaps a progress bar, in this line.
            os.write(2, b"\nnpgen: interrupted\n" if os.isatty(2) else b"npgen: interrupted\n")
    os._exit(INTERRUPTED)
