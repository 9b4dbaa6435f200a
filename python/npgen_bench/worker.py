"""What `npgen bench` measures, section by section, each in a process of its own.

Run as a module, it reads one `Task` as JSON from standard input and writes its rows as JSON to standard output. In a
process of its own, a section has a peak of memory, and a number of threads that libraries only take as they start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.corpus import load_corpus
from npgen.encoders import embed, load_encoder
from npgen.sampling import Library, PixelPlan, PixelRun, known_rect
from npgen_bench.rivals import LIBRARIES, Shortlist, shortlist_form, use_threads
from npgen_bench.scan import measure_scan
from npgen_bench.task import NPGEN, SEED, VISIT, Row, Task, in_turns, not_installed, peak_memory, timed

QUERIES = 64


def measure_shortlist(task: Task) -> list[Row]:
    """Time the search for each canvas's nearest keys, npgen's and everybody else's, in turns."""
    corpus = load_corpus(task.corpus)
    encoder = load_encoder(task.encoder, corpus)
    keys = embed(corpus, encoder, threads=task.threads, progress=False)  # (N, D)
    shape = corpus.images.shape[1:3]
    ids = np.sort(np.random.default_rng(SEED).permutation(len(corpus))[:QUERIES])
    # Images known as far as a sample is half-way.
    half = known_rect(shape, (shape[0] // 4, shape[1] // 4, shape[0] // 2, shape[1] // 2))
    queries = encoder.encode(np.asarray(corpus.images[ids]), half, threads=task.threads)  # (B, D)
    nobody = np.full(len(queries), -1, np.int32)
    k = task.config.shortlist
    what = f"shortlist, {k} of {len(corpus)} keys of width {keys.shape[1]}, {len(queries)} queries at once"

    def own(queries: NDArray[np.float32]) -> NDArray[np.int32]:
        return _core.shortlist(keys, queries, k, nobody, task.threads)[0]

    expected = own(queries)
    turns: list[tuple[Row, Shortlist]] = []
    if task.takes(NPGEN):
        turns.append((Row(what, NPGEN, task.threads, "query", None), own))
    absent = []
    for library in filter(task.takes, LIBRARIES):
        row = Row(what, library, task.threads, "query", None)
        try:
            use_threads(library, task.threads)
            form = shortlist_form(library, keys, k)
        except ModuleNotFoundError as error:
            row.remark = not_installed(error)
            absent.append(row)
            continue
        if not same_ids(keys, queries, expected, form(queries)):
            raise RuntimeError(f"the shortlist of {library} is not npgen's")
        turns.append((row, form))
    visits = [partial(_visit, form, queries) for _, form in turns]
    for (row, _), seconds in zip(turns, in_turns(visits, task.seconds), strict=True):
        row.seconds = float(np.median(seconds)) / len(queries)
        row.details = {"repeats": len(seconds), "queries": len(queries)}
    return [row for row, _ in turns] + absent


def _visit(form: Shortlist, queries: NDArray[np.float32]) -> list[float]:
    return timed(lambda: form(queries), VISIT + 1)[1:]


def same_ids(
    keys: NDArray[np.float32],
    queries: NDArray[np.float32],
    expected: NDArray[np.integer],
    found: NDArray[np.integer],
    tolerance: float = 1e-5,
) -> bool:
    """Tell whether two shortlists (B, K) hold the same ids, up to an error of `tolerance` in products with queries."""
    for query, ours, theirs in zip(queries.astype(np.float64), expected, found, strict=True):
        if len(set(theirs.tolist())) != len(ours):
            return False
        last = keys[ours].astype(np.float64) @ query
        odd = np.setxor1d(ours, theirs)
        if (np.abs(keys[odd].astype(np.float64) @ query - last.min()) > tolerance).any():
            return False
    return True


class _Stopwatch:
    """Adds up the time that each step of a run takes."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - start


def measure_model(task: Task) -> list[Row]:
    """Time generation, batch after batch, and what its parts take of it."""
    corpus = load_corpus(task.corpus)
    plan = PixelPlan(corpus, task.section, task.config, SEED)
    what = f"{task.section}, anchor weight {task.config.anchor_weight:g}" if task.has_anchors else task.section
    encoder = keys = None
    if plan.model.semantics == "embedding":
        encoder = load_encoder(task.encoder, corpus)
        keys = embed(corpus, encoder, threads=task.threads, progress=False)
    clock = _Stopwatch()
    run = PixelRun(plan, Library(corpus, keys, task.threads), encoder, task.threads, clock)
    bar = tqdm(disable=True)

    def batch(first: int, count: int) -> float:
        samples = run.blank(run.facts(first, count))
        start = time.perf_counter()
        run.fill(samples, bar)
        return time.perf_counter() - start

    if encoder is not None:
        batch(0, 1)  # loads weights
        clock.seconds.clear()
    before = run.scan.terms()
    times: list[float] = []
    while sum(times) < task.seconds:
        times.append(batch(1 + len(times) * task.batch_size, task.batch_size))
    done, due = (after - earlier for after, earlier in zip(run.scan.terms(), before, strict=True))
    scan = clock.seconds["fill"]
    spent = {"encoder": clock.seconds["query"], "shortlist": clock.seconds["shortlist"], "scan": scan}
    spent["rest"] = sum(times) - sum(spent.values())
    row = Row(what, NPGEN, task.threads, "sample", float(np.median(times)) / task.batch_size)
    row.pixels = plan.drawn
    row.terms = done / scan / task.threads
    row.skipped = 1 - done / due if due else None
    shares = [f"{part} {seconds / sum(times):.0%}" for part, seconds in spent.items() if seconds > 0]
    row.remark = f"{len(times) * task.batch_size} samples, batches of {task.batch_size}; {', '.join(shares)}"
    row.details = {"batches": times, "batch_size": task.batch_size, "spent": spent, "terms": [done, due]}
    return [row]


def measure(task: Task) -> list[Row]:
    """Measure one section in this process."""
    start = time.perf_counter()
    sections = {"scan": measure_scan, "shortlist": measure_shortlist}
    rows = sections.get(task.section, measure_model)(task)
    for row in rows:
        row.peak = peak_memory()
        row.details["section_seconds"] = time.perf_counter() - start
    return rows


if __name__ == "__main__":
    try:
        json.dump([dataclasses.asdict(row) for row in measure(Task.from_json(json.load(sys.stdin)))], sys.stdout)
    except KeyboardInterrupt:
        sys.exit(130)
