"""`npgen bench`: the speed of this machine, npgen beside NumPy, PyTorch and FAISS, in one table."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import npgen._core as _core
from npgen.config import MODELS, Config
from npgen.corpus import Corpus, load_corpus
from npgen.encoders import load_encoder
from npgen.errors import invalid
from npgen.sampling import PixelPlan
from npgen_bench.libraries import LIBRARIES
from npgen_bench.task import ALL, NPGEN, Row, Task, threads_in_words

SCAN, SHORTLIST = "scan", "shortlist"
SECTIONS = (SCAN, SHORTLIST, *MODELS)
# Anchor weights at which `full` is measured: 1 needs the encoder once per canvas, less than 1 once per stage.
ANCHOR_WEIGHTS = (1.0, 0.5)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
HEADER = """\
| what | by | threads | time | rate | G terms/s per core | skipped | time / npgen's | scaling | peak MB | remarks |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"""

NOTES = """\
- Times are medians. With one thread all take turns in one process; with more, each library has a process of its own, as
  its waiting threads would slow the others down. Peak memory is that process's, pages of mapped files included.
- Scaling is the rate divided by that of one thread; terms are those computed, divided by the time spent in scans."""
CHECK_NOTE = (
    "- All rivals' pools and shortlists were checked against the definition and npgen's before anything was timed."
)
SCAN_NOTES = """\
- A scan is 300 images × 25 positions × 120 tap·channels (w = 9, R = 2, RGB), at pixels of a half-filled sample, and
  ends with the pool. Images and indices are prepared beforehand, for all alike; npgen prunes, its kernel alone does
  not. FAISS's index is built for each scan, since other pixels have other windows; the weights are part of it, as √w.
- † expands squares into products: faster, but distances near 0, which decide pools, are wrong by up to 0.1."""


@dataclass(frozen=True)
class Bench:
    """The result of `run_bench`.

    Attributes
    ----------
    machine
        CPU, cores, instruction set and versions.
    corpus
        The corpus in words.
    task
        Settings of the run.
    rows
        The table's lines.
    """

    machine: dict[str, Any]
    corpus: str
    task: dict[str, Any]
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """Return all attributes as values that JSON can hold."""
        return dataclasses.asdict(self)

    def markdown(self) -> str:
        """Return the table, with notes that explain it."""
        machine = self.machine
        lines = [
            f"{machine['cpu']}, {machine['cores']} cores, {machine['instruction_set']}; "
            + ", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
            "",
            f"{self.corpus}; encoder: {self.task['encoder']}",
            "",
            HEADER,
        ]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in self.rows]
        units = {row.unit for row in self.rows}
        notes = [*_headlines(self.rows), NOTES]
        notes += [CHECK_NOTE] * bool(units & {"scan", "query"}) + [SCAN_NOTES] * ("scan" in units)
        return "\n".join([*lines, "", *notes])


def run_bench(
    corpus: str | os.PathLike[str],
    only: tuple[str, ...] = (),
    config: Config | None = None,
    *,
    encoder: str | None = None,
    threads: int | None = None,
    seconds: float = 10.0,
    batch_size: int = 64,
    progress: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measure npgen and its rivals on this machine.

    Parameters
    ----------
    corpus
        Name or folder of a corpus.
    only
        Sections to measure, of "scan", "shortlist" and the names of models; empty means all.
    config
        Settings of models and shortlist; None means the defaults. The scan's are fixed.
    encoder
        As `load_encoder` takes it; None means "auto", or "pixels" where the corpus has no encoder.
    threads
        The larger number of threads to measure with, beside 1; None means one per core.
    seconds
        Time to spend on each row.
    batch_size
        Canvases filled together. At least one batch is filled, however long it takes.
    progress
        Called with the name of each section before it is measured.

    Returns
    -------
    Bench
        The table.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or does not fit the corpus.
    OSError
        If a section's process fails.
    """
    for name in only:
        if name not in SECTIONS:
            raise invalid("only", "one of " + ", ".join(map(repr, SECTIONS)), name)
    if not seconds > 0:
        raise invalid("seconds", "a positive number", seconds)
    if threads is not None and threads < 1:
        raise invalid("threads", "at least 1 or None", threads)
    if batch_size < 1:
        raise invalid("batch_size", "at least 1", batch_size)
    source = load_corpus(corpus)
    config = config or Config()
    most = threads or os.cpu_count() or 1
    encoder = encoder or _own_encoder(source)
    task = Task(SCAN, os.fspath(corpus), encoder, config, most, seconds, batch_size)
    load_encoder(encoder, source)
    labelled = source.labels is not None
    possible = [name for name in SECTIONS if name not in MODELS or not MODELS[name].label or labelled]
    for section in possible:
        if section in MODELS:
            PixelPlan(source, section, config, 0)  # raises an error where they do not fit each other
    rows = []
    for section in only or possible:
        for each in _variants(dataclasses.replace(task, section=section)):
            progress(f"measuring {each}")
            rows += _in_a_process(each)
    _compare(rows)
    return Bench(_machine(), repr(source), task.to_json(), rows)


def _own_encoder(corpus: Corpus) -> str:
    """Return "auto" if the corpus has an encoder, else "pixels", which needs no training."""
    trained = corpus.path is not None and (corpus.path / "encoder.safetensors").exists()
    try:
        load_encoder("auto", corpus)
    except ValueError:
        if trained:
            raise
        return "pixels"
    return "auto"


def _variants(task: Task) -> Iterator[Task]:
    """Split a section into tasks, one per process: by threads, library and anchor weight, where these matter."""
    configs, libraries = [task.config], [ALL]
    if task.section in MODELS:
        if task.has_anchors:
            configs = [dataclasses.replace(task.config, anchor_weight=weight) for weight in ANCHOR_WEIGHTS]
    else:
        # Threads divide canvases, not a scan: npgen's scan of one pixel always has one thread.
        libraries = [*LIBRARIES] if task.section == SCAN else [NPGEN, *LIBRARIES]
    for config in configs:
        yield dataclasses.replace(task, config=config, threads=1)
        if task.threads > 1:
            for library in libraries:
                yield dataclasses.replace(task, config=config, library=library)


def _in_a_process(task: Task) -> list[Row]:
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(task.threads))
    command = [sys.executable, "-P", "-m", "npgen_bench.worker"]
    done = subprocess.run(command, input=json.dumps(task.to_json()), env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ChildProcessError(f"{task} could not be measured: {last[0]}")
    return [Row(**row) for row in json.loads(done.stdout)]


def _compare(rows: list[Row]) -> None:
    """Complete the values that compare two rows: ratios to npgen's time, and scaling with threads."""
    for row in rows:
        for other in rows:
            if row.seconds is None or other.seconds is None or row.what != other.what:
                continue
            if row.who == other.who and other.threads == 1 < row.threads:
                row.scaling = other.seconds / row.seconds
            if (
                row.unit != "sample"
                and other.who == NPGEN
                and other.threads == (1 if row.unit == "scan" else row.threads)
            ):
                row.ratio = row.seconds / other.seconds


def _headlines(rows: list[Row]) -> Iterator[str]:
    """Compare npgen's scan with the fastest rival of any kind, and with the fastest exact one."""
    scans = [row for row in rows if row.unit == "scan" and row.ratio is not None]
    rivals = [row for row in scans if not row.who.startswith(NPGEN)]
    for kind, chosen in (
        ("of all rivals", rivals),
        ("that subtracts as npgen does", [row for row in rivals if row.exact]),
    ):
        if chosen:
            best = min(chosen, key=lambda row: row.seconds or 0)
            by = f"{best.who} on {threads_in_words(best.threads)}"
            yield f"- Scan: the best {kind}, {by}, takes {best.ratio:.1f} × npgen's time."


def _cells(row: Row) -> list[str]:
    if row.seconds is None:
        time, rate = "–", "–"
    else:
        time, rate = _duration(row.seconds), f"{_number(1 / row.seconds)} {_PLURAL[row.unit]}/s"
        if row.pixels is not None:
            rate += f", {_number(row.pixels / row.seconds)} px/s"
    return [
        row.what,
        row.who if row.exact else f"{row.who} †",
        str(row.threads),
        time,
        rate,
        "–" if row.terms is None else f"{row.terms / 1e9:.2f}",
        "–" if row.skipped is None else f"{row.skipped:.1%}",
        "–" if row.ratio is None else f"{row.ratio:.2f}",
        "–" if row.scaling is None else f"{row.scaling:.2f}",
        "–" if row.peak is None else f"{row.peak / 1e6:,.0f}",
        row.remark,
    ]


_PLURAL = {"scan": "scans", "query": "queries", "sample": "samples"}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    for scale, unit in ((1, "s"), (1e3, "ms")):
        if seconds * scale >= 0.1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _machine() -> dict[str, Any]:
    versions = {}
    for name in (NPGEN, "numpy", "torch", "faiss-cpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "instruction_set": os.environ.get("NPGEN_SIMD") or _core.instruction_sets()[0],
        "instruction_sets": _core.instruction_sets(),
        "system": platform.platform(),
        "versions": {"Python": platform.python_version(), **versions},
    }


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
