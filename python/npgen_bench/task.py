"""The input and the output of one section of `npgen bench`, and how contenders are timed in turns."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npgen.config import MODELS, Config

SEED = 0
# Whose code a task runs: all, npgen's, or that of one library.
ALL, NPGEN = "", "npgen"
# Timed runs of a contender in one turn. One more run, before them, fills the caches.
RUNS_PER_TURN = 3
MIN_ROUNDS = 3


@dataclass(frozen=True)
class Task:
    """One section to measure.

    Attributes
    ----------
    section
        "scan", "shortlist" or the name of a model.
    corpus
        Name or folder.
    encoder
        As `load_encoder` takes it.
    config
        Settings of models and shortlist.
    threads
        Threads for everything.
    seconds
        Time to spend on each row.
    batch_size
        Canvases filled together.
    library
        Whose code is measured: `ALL`, `NPGEN` or one library. Models are always npgen's.
    """

    section: str
    corpus: str
    encoder: str
    config: Config
    threads: int
    seconds: float
    batch_size: int
    library: str = ALL

    def includes(self, library: str) -> bool:
        """Return whether that library is measured."""
        return self.library in (ALL, library)

    def __str__(self) -> str:
        weight = f", anchor weight {self.config.anchor_weight:g}" if self.has_anchors else ""
        whose = self.library or (NPGEN if self.section in MODELS else "all libraries")
        return f"{self.section}{weight}, {whose}, {threads_in_words(self.threads)}"

    @property
    def has_anchors(self) -> bool:
        """Whether this is a model with an embedding, and so with anchors."""
        return self.section in MODELS and MODELS[self.section].embedding

    def to_json(self) -> dict[str, Any]:
        """Return all attributes as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        """Make a task of the result of `to_json`."""
        return cls(**(values | {"config": Config.from_json(values["config"])}))


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    what, who
        What is measured, and whose code is measured.
    threads
        Threads that the code may use.
    unit
        The unit of work that `seconds` is the time of: "scan", "query" or "sample".
    seconds
        Median time of one unit; None if it could not be measured.
    pixels
        Pixels filled in one unit.
    terms
        Terms (taps × channels × candidates) computed per second and core, during the scans.
    skipped
        Share of the terms that pruning skipped.
    exact
        Whether distances are sums of squared differences, not differences of products.
    ratio
        Time divided by npgen's for the same work: with one thread for a scan, else with as many threads.
    scaling
        Rate divided by the rate with one thread.
    peak
        Largest resident memory of the section's process in bytes, pages of mapped files included.
    remark
        Further facts, in words.
    details
        Further numbers, of types that JSON can hold.
    """

    what: str
    who: str
    threads: int
    unit: str
    seconds: float | None
    pixels: int | None = None
    terms: float | None = None
    skipped: float | None = None
    exact: bool = True
    ratio: float | None = None
    scaling: float | None = None
    peak: int | None = None
    remark: str = ""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


def threads_in_words(count: int) -> str:
    """Return "1 thread" or "2 threads"."""
    return "1 thread" if count == 1 else f"{count} threads"


def timed(run: Callable[[], object], repeats: int) -> list[float]:
    """Run a function several times, and return the seconds of each run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def in_turns(turns: Sequence[Callable[[], list[float]]], seconds: float) -> list[list[float]]:
    """Call all contenders in turns until the time is over, so that disturbances of the machine affect all alike.

    Parameters
    ----------
    turns
        One function per contender, which returns the seconds of each of its runs.
    seconds
        Time for all of them together; there are at least `MIN_ROUNDS` rounds.

    Returns
    -------
    list of list of float
        The seconds of all runs, per contender.
    """
    times: list[list[float]] = [[] for _ in turns]
    start, rounds = time.perf_counter(), 0
    while rounds < MIN_ROUNDS or time.perf_counter() - start < seconds:
        for runs, turn in zip(times, turns, strict=True):
            runs.extend(turn())
        rounds += 1
    return times


def peak_memory() -> int:
    """Return the largest resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage includes the memory of the parent at the time of the fork
        lines = dict(line.split(":", 1) for line in status.read_text("ascii", "replace").splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    resource = importlib.import_module("resource")
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024
