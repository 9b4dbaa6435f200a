"""The command `npgen`: it minds Ctrl-C from its first moment on, then hands over to `npgen.cli`.

This is no module of `npgen`, as importing one imports NumPy and more, which takes a moment that can be interrupted.
"""

import signal


def main() -> None:
    """Run the command line; Ctrl-C ends it within half a second, to a shell with status 130."""
    # A shell has its background jobs ignore Ctrl-C: let them.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        # While modules are imported, the process dies of it: there is nothing yet to end in good order.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from npgen.cli import app
    from npgen_command.interrupts import run

    run(app, heeded)
