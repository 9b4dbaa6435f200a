"""Measures one section of `npgen bench` in a process of its own.

Run as a module, it reads one `Task` as JSON from standard input and writes its rows as JSON to standard output. A
process of its own has its own peak of memory and its own number of threads, which some libraries read only once.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time

from npgen_bench.models import measure_model
from npgen_bench.scan import measure_scan
from npgen_bench.shortlist import measure_shortlist
from npgen_bench.task import Row, Task, peak_memory


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
