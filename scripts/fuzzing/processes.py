"""Cases run in child processes: a case that crashes or hangs is recorded, and the cases after it still run."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

# Bytes that a case may allocate, and that may stay resident after it, beyond those before it.
ADDRESS_SPACE = 6 << 30
RESIDENT = 512 << 20
FILE_SIZE = 1 << 30
# Seconds that a process may take to end.
PATIENCE = 10.0
# Exceptions that bad input may raise. A decoding error is not enough: its message does not name the file or field.
ACCEPTED = (ValueError, TypeError, OSError, OverflowError)
REFUSED = (UnicodeDecodeError,)


class Escape(BaseException):
    """A case opened a file outside its folder."""


@dataclass(frozen=True)
class Outcome:
    """The result of a case.

    Attributes
    ----------
    number
        The case.
    target
        The function or reader under test.
    answer
        "success", the name of the exception, or how the process failed.
    fault
        Whether this answer is a bug.
    detail
        For a fault, where and why; for an accepted exception, its message.
    """

    number: int
    target: str
    answer: str
    fault: bool
    detail: str


# Runs a case in the working directory, by its number; the name of its target is known beforehand.
Run = Callable[[int], None]
Name = Callable[[int], str]


def outcomes(
    numbers: Sequence[int], name: Name, run: Run, scratch: Path, *, jobs: int, batch: int, limit: float
) -> Iterator[Outcome]:
    """Run cases in child processes, some at a time, and yield their results.

    Parameters
    ----------
    numbers
        The cases.
    name, run
        Return the target of a case, and run it.
    scratch
        Folder to work in; each child has its own in it.
    jobs, batch
        Number of processes at a time, and of cases in each process.
    limit
        Seconds that a case may take.

    Yields
    ------
    Outcome
        One per case, in any order.
    """
    waiting = [numbers[start : start + batch] for start in range(0, len(numbers), batch)][::-1]
    children: dict[Connection, _Child] = {}
    try:
        while waiting or children:
            while waiting and len(children) < jobs:
                child = _Child(waiting.pop(), run, scratch)
                children[child.connection] = child
            soonest = min(child.since for child in children.values()) + limit
            ready = wait(list(children), max(0.0, soonest - time.monotonic()))
            for connection, child in list(children.items()):
                accident = None
                if connection in ready:
                    accident = child.receive()
                elif time.monotonic() - child.since > limit:
                    accident = f"hang, more than {limit:g} s"
                    child.end(signal.SIGABRT)  # faulthandler prints where it was
                for number, answer, fault, detail in child.taken():
                    yield Outcome(number, name(number), answer, fault, detail)
                if accident is not None:
                    yield Outcome(child.numbers[0], name(child.numbers[0]), accident, True, child.last_output())
                    child.numbers = child.numbers[1:]
                if accident is not None or not child.numbers:
                    child.end(signal.SIGKILL)
                    del children[connection]
                    if child.numbers:
                        waiting.append(child.numbers)
    finally:
        for child in children.values():
            child.end(signal.SIGKILL)


class _Child:
    """A process that runs cases one after another, and sends the result of each."""

    def __init__(self, numbers: Sequence[int], run: Run, scratch: Path) -> None:
        self.numbers = numbers
        self.folder = scratch / f"{numbers[0]}"
        self.folder.mkdir(parents=True)
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(theirs, numbers, run, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.since = time.monotonic()
        self._found: list[tuple[int, str, bool, str]] = []

    def receive(self) -> str | None:
        """Receive results from the process; if it has ended too early, return how."""
        try:
            while self.connection.poll():
                self._found.append(self.connection.recv())
                self.numbers = self.numbers[1:]
                self.since = time.monotonic()
        except EOFError:
            if self.numbers:
                self.process.join()
                code = self.process.exitcode or 0
                return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return None

    def taken(self) -> list[tuple[int, str, bool, str]]:
        """Return the results received since the last call."""
        found, self._found = self._found, []
        return found

    def end(self, how: signal.Signals) -> None:
        """End the process; with SIGKILL, also remove its files, which hold its last output until then."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, how)
            self.process.join(PATIENCE)  # a process that the kernel does not end must not delay the others
        if how == signal.SIGKILL:
            self.connection.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def last_output(self) -> str:
        """Return the end of the process's standard error."""
        with contextlib.suppress(OSError):
            return (self.folder / "stderr").read_text(errors="replace")[-3000:]
        return ""


def _work(connection: Connection, numbers: Sequence[int], run: Run, folder: Path) -> None:
    _isolate(folder)
    case = folder / "case"
    for number in numbers:
        case.mkdir()
        os.chdir(case)
        before = _peak()
        answer, fault, detail = attempt(run, number, folder)
        if _peak() - before > RESIDENT:
            answer, fault, detail = (
                "memory",
                True,
                f"{(_peak() - before) >> 20} MiB more than before; {answer}: {detail}",
            )
        connection.send((number, answer, fault, detail))
        os.chdir(folder)
        shutil.rmtree(case)
    # Without the interpreter's own end: threads that a case left running must not delay the next batch.
    connection.close()
    os._exit(0)


def attempt(run: Run, number: int, folder: Path) -> tuple[str, bool, str]:
    """Run one case; return its answer, whether that is a fault, and details."""
    os.environ["NPGEN_HOME"] = str(folder / "case" / "home")
    guard = _guarded(folder)
    try:
        with guard, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(number)
    except BaseException as error:
        seen: BaseException | None = error
        while seen is not None:  # an error may be the cause of another
            if isinstance(seen, MemoryError | Escape):
                return type(seen).__name__, True, _where(error)
            seen = seen.__cause__ or seen.__context__
        sound = isinstance(error, ACCEPTED) and not isinstance(error, REFUSED) and str(error).strip()
        return type(error).__name__, not sound, str(error)[:300] if sound else _where(error)
    return "success", False, ""


def _where(error: BaseException) -> str:
    lines = traceback.format_exception(error, limit=-4, chain=False)
    return "".join(line[:1500] for line in lines).rstrip()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _isolate(folder: Path) -> None:
    """Redirect a child's output to a file, and limit its memory and the size of its files."""
    output = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 2)
    os.dup2(output, 1)
    faulthandler.enable()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdin = None  # type: ignore[assignment]
    sys.dont_write_bytecode = True


_inside: list[Path] = []


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Raise Escape when a case reads a file of another case, or writes outside its own folder."""
    if not _inside:
        sys.addaudithook(_watch)
    _inside[:] = [folder / "case", folder.parent]
    try:
        yield
    finally:
        _inside[:] = [Path("/"), Path("/nowhere")]


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir"):
        return
    path = arguments[0]
    if not isinstance(path, str | bytes):  # a handle, opened before
        return
    case, scratch = _inside
    place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 (Path.resolve follows links)
    writes = event not in ("open", "os.listdir", "os.scandir") or (event == "open" and (arguments[2] or 0) & _WRITING)
    if place.is_relative_to(case) or (not writes and not place.is_relative_to(scratch)):
        return
    if str(place).startswith("/dev/"):
        return
    raise Escape(f"{event} {place}")
