"""What the process inherits: standard streams that are closed, terminals of few characters, a user without a home.

A command must work, and do the same, whatever it is started by.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# How characters that npgen prints are written on terminals that lack them.
PLAIN = {
    "…": "...", "–": "-", "—": "-", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "×": "x", "·": "*", "•": "*",
    "→": "->", "≤": "<=", "≥": ">=", "≈": "~", "∈": "in", "±": "+-", "∞": "inf", "√": "sqrt ", "∧": "and", "Σ": "sum ",
    "α": "alpha", "β": "beta", "γ": "gamma", "ε": "epsilon", "θ": "theta", "λ": "lambda", "μ": "mu", "σ": "sigma",
    "φ": "phi", "χ": "chi", "‖": "||", "│": "|", "─": "-", "█": "#",
}  # fmt: skip
READABLE = "npgen-readable"
# Exit status by which shells name a process that SIGPIPE ended.
UNREAD = 128 + 13


def prepare() -> None:
    """Make the process fit to run a command, before anything else is imported."""
    _open_streams()
    _make_readable()
    # The command writes files, and shows nothing on a screen; an inherited backend may not even exist here.
    os.environ["MPLBACKEND"] = "agg"
    _find_folders()


def _open_streams() -> None:
    """Open /dev/null in place of standard streams that are closed.

    Else the next file that is opened gets the number of the closed stream, and messages are written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if opened != number:  # a lower one is closed, too
                os.dup2(opened, number)
                os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "r" if number == 0 else "w", closefd=False)))


def _make_readable() -> None:
    """Have characters that a terminal lacks written as others, rather than end the command."""
    codecs.register_error(READABLE, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return base or character.encode("ascii", "backslashreplace").decode("ascii")


def _find_folders() -> None:
    """Give libraries that ask for a home folders of their own, where the user has none, as in containers."""
    try:
        Path.home()
    except RuntimeError:
        folder = Path(tempfile.gettempdir())
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "npgen-matplotlib"))
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "npgen-torchinductor"))


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """End quietly, as other tools do, if the reader of the output has gone, such as `head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer goes nowhere; the interpreter would complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(UNREAD) from None
