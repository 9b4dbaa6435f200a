"""Generation with one model: time per sample, and the shares of encoder, shortlist and scan."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from tqdm.auto import tqdm

from npgen.corpus import load_corpus
from npgen.encoders import embed, load_encoder
from npgen.sampling import Library, PixelPlan, PixelRun
from npgen_bench.task import NPGEN, SEED, Row, Task


class _Stopwatch:
    """Sums, per step of a run, the seconds that it takes."""

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
    """Time generation, batch after batch, and the steps of it."""
    # 1. Open: corpus, encoder, keys. Not timed.
    corpus = load_corpus(task.corpus)
    plan = PixelPlan(corpus, task.section, task.config, SEED)
    encoder = keys = None
    if plan.model.embedding:
        encoder = load_encoder(task.encoder, corpus)
        keys = embed(corpus, encoder, threads=task.threads, progress=False)
    clock = _Stopwatch()
    run = PixelRun(plan, Library(corpus, keys, task.threads), encoder, task.threads, clock)
    bar = tqdm(disable=True)

    def fill(first: int, count: int) -> float:
        samples = run.blank(run.facts(first, count))
        start = time.perf_counter()
        run.fill(samples, bar)
        return time.perf_counter() - start

    if encoder is not None:
        fill(0, 1)  # loads the encoder's weights
        clock.seconds.clear()

    # 2. Fill batches until the time is over.
    terms_before = run.scan.terms()
    times: list[float] = []
    while sum(times) < task.seconds:
        times.append(fill(1 + len(times) * task.batch_size, task.batch_size))
    computed, total = (after - before for after, before in zip(run.scan.terms(), terms_before, strict=True))

    # 3. Sum up.
    scan = clock.seconds["fill"]
    spent = {"encoder": clock.seconds["query"], "shortlist": clock.seconds["shortlist"], "scan": scan}
    spent["rest"] = sum(times) - sum(spent.values())
    shares = [f"{step} {seconds / sum(times):.0%}" for step, seconds in spent.items() if seconds > 0]
    what = f"{task.section}, anchor weight {task.config.anchor_weight:g}" if task.has_anchors else task.section
    row = Row(what, NPGEN, task.threads, "sample", float(np.median(times)) / task.batch_size)
    row.pixels = plan.drawn
    row.terms = computed / scan / task.threads
    row.skipped = 1 - computed / total if total else None
    row.remark = f"{len(times) * task.batch_size} samples, batches of {task.batch_size}; {', '.join(shares)}"
    row.details = {"batches": times, "batch_size": task.batch_size, "spent": spent, "terms": [computed, total]}
    return [row]
