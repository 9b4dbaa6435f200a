"""What one section of `npgen bench` is given and gives back, and how its contenders are timed."""

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
# Whose code a task runs: everybody's, npgen's, or that of one rival library.
EVERYBODY, NPGEN = "", "npgen"
# Runs of a contender before the next one's turn; one more, before them, warms the caches up.
VISIT = 3
LEAST_ROUNDS = 3


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
        Canvases grown side by side.
    library
        Who takes part: `EVERYBODY`, `NPGEN` or one rival. Models are npgen's anyway.
    """

    section: str
    corpus: str
    encoder: str
    config: Config
    threads: int
    seconds: float
    batch_size: int
    library: str = EVERYBODY

    def takes(self, library: str) -> bool:
        """Tell whether that library takes part."""
        return self.library in (EVERYBODY, library)

    def __str__(self) -> str:
        weight = f", anchor weight {self.config.anchor_weight:g}" if self.has_anchors else ""
        return f"{self.section}{weight}, {self.library or 'everybody'}, {threads_in_words(self.threads)}"

    @property
    def has_anchors(self) -> bool:
        """Whether this is a model that looks up its anchor's like."""
        return self.section in MODELS and MODELS[self.section].semantics == "embedding"

    def to_json(self) -> dict[str, Any]:
        """Return all attributes as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        """Make a task of what `to_json` gave."""
        return cls(**(values | {"config": Config.from_json(values["config"])}))


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    what, who
        What is measured, and whose code does it.
    threads
        Threads it may use.
    unit
        What `seconds` is the time of: "scan", "query" or "sample".
    seconds
        Median time of one unit; None if it could not be measured.
    pixels
        Pixels filled in one unit.
    terms
        Terms per second and core: taps × channels × candidates that were computed, over the time of the scans.
    skipped
        Share of terms that pruning skipped.
    exact
        Whether distances are sums of squared differences.
    ratio
        Time over that of npgen at the same work, one thread for a scan, else as many.
    scaling
        Rate over that with one thread.
    peak
        Largest resident memory of the section's process in bytes, pages of mapped files included.
    remark
        What else there is to know.
    details
        Further numbers, JSON-able.
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
    """Return the seconds that each of some runs takes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def in_turns(visits: Sequence[Callable[[], list[float]]], seconds: float) -> list[list[float]]:
    """Visit all contenders again and again until the time is over: a noisy moment of the machine meets all of them."""
    times: list[list[float]] = [[] for _ in visits]
    start, rounds = time.perf_counter(), 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - start < seconds:
        for mine, visit in zip(times, visits, strict=True):
            mine.extend(visit())
        rounds += 1
    return times


def not_installed(error: ModuleNotFoundError) -> str:
    """Say what to do about a rival that is missing."""
    return f'not installed ({error.name}): pip install "npgen[bench]"'


def peak_memory() -> int:
    """Largest resident memory that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage would count what the parent held when it started this process, too
        lines = dict(line.split(":", 1) for line in status.read_text("ascii", "replace").splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    resource = importlib.import_module("resource")
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024
