"""The command `npgen`: handles Ctrl-C from its first moment on, then runs the command line of `npgen.cli`.

This package is not part of `npgen`: importing any module of `npgen` imports NumPy and more, which takes a moment, and
Ctrl-C must work during that moment, too.
"""

import signal

__all__ = [
    "main",
]


def main() -> None:
    """Run the command line; Ctrl-C ends it within half a second, with status 130 in a shell."""
    from npgen_command.environment import prepare, readers_may_leave

    prepare()
    # A shell starts background jobs with Ctrl-C ignored: that stays so.
    handles_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handles_interrupts:
        # While modules are imported, Ctrl-C kills the process: there is nothing to clean up yet.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from npgen.cli import app
    from npgen_command.interrupts import run

    with readers_may_leave():
        run(app, handles_interrupts)
