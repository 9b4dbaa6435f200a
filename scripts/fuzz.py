"""Attack npgen's readers with malformed stores, and its functions with malformed arguments.

    python scripts/fuzz.py --cases 100000 --log fuzz.log

Each case depends on the seed and its number alone; `--case 123` runs one case again, in this process. A case must
succeed, or raise ValueError, TypeError, OSError or OverflowError: any other exception, a crash, a hang, unbounded
memory or a file opened outside the store is a fault. Linux only.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import os
import re
import sys
import tempfile
import time
from bisect import bisect
from pathlib import Path
from random import Random

from fuzzing.processes import Outcome, attempt, outcomes

BATCH = 500


def main() -> int:
    """Read the command line, run the cases and print their results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=1000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0, help="seed of all cases")
    parser.add_argument("--case", type=int, help="run this one alone, in this process, and show its traceback")
    parser.add_argument("--list", action="store_true", help="list all targets")
    parser.add_argument("--only", default="", help="targets whose names contain this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a case may take")
    parser.add_argument("--log", type=Path, help="file to write each case's outcome to")
    options = parser.parse_args()
    if options.cases < 1 or options.jobs < 1:
        parser.error(f"cases and jobs must be at least 1, got {options.cases} and {options.jobs}")
    if options.list:
        print("\n".join(targets()))
        return 0
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="npgen-fuzz-", dir=memory if memory.is_dir() else None) as scratch:
        cases = Cases(options.seed, Path(scratch))
        if options.case is not None:
            return repeat(cases, options.case, Path(scratch))
        numbers = [number for number in range(options.cases) if options.only in cases.name(number)]
        return fuzz(cases, numbers, options, Path(scratch))


def targets() -> dict[str, int]:
    """Return the weight of each target among all cases, by name."""
    from fuzzing.calls import functions
    from fuzzing.stores import STORES

    return {name: weight for name, (weight, *_) in (STORES | functions()).items()}


class Cases:
    """All cases of a seed."""

    def __init__(self, seed: int, scratch: Path) -> None:
        """Make the stores in a child process: threads that torch starts for it do not survive a fork."""
        with multiprocessing.get_context("fork").Pool(1) as pool:
            self.stores = pool.apply(_stores, (scratch / "stores",))
        import torch
        from matplotlib.backends import backend_agg, backend_svg  # noqa: F401 (they search fonts once)

        torch.set_num_threads(1)
        self.seed = seed
        weights = targets()
        self.names = list(weights)
        self.marks = list(itertools.accumulate(weights.values()))

    def name(self, number: int) -> str:
        """Return the target of a case."""
        return self.names[bisect(self.marks, self._random(number).randrange(self.marks[-1]))]

    def run(self, number: int) -> None:
        """Run a case in the working directory."""
        from fuzzing.calls import call
        from fuzzing.stores import STORES

        random, name = self._random(number), self.name(number)
        random.randrange(self.marks[-1])
        if name in STORES:
            STORES[name][1](random, self.stores)
        else:
            call(random, name)

    def _random(self, number: int) -> Random:
        return Random(f"{self.seed} {number}")


def _stores(folder: Path) -> dict[str, object]:
    from fuzzing.stores import make_stores

    folder.mkdir()
    return make_stores(folder)


def repeat(cases: Cases, number: int, scratch: Path) -> int:
    """Run one case in this process, where a debugger can follow it."""
    folder = scratch / "again"
    (folder / "case").mkdir(parents=True)
    os.chdir(folder / "case")
    answer, fault, detail = attempt(cases.run, number, folder)
    print(f"case {number} of seed {cases.seed}, {cases.name(number)}: {'FAULT ' * fault}{answer}\n{detail}")
    os.chdir("/")
    return int(fault)


def fuzz(cases: Cases, numbers: list[int], options: argparse.Namespace, scratch: Path) -> int:
    """Run cases in processes and print faults as they come, then counts by target and answer."""
    began = time.monotonic()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    faults: collections.Counter[tuple[str, str]] = collections.Counter()
    done = outcomes(numbers, cases.name, cases.run, scratch, jobs=options.jobs, batch=BATCH, limit=options.limit)
    with (options.log or Path(os.devnull)).open("w", buffering=1, encoding="utf-8") as log:
        for outcome in done:
            counts[outcome.target][outcome.answer] += 1
            print(_line(outcome), file=log)
            if outcome.fault:
                places = re.findall(r'File "(.*?)", line (\d+)', outcome.detail)
                kind = (outcome.answer, str(places[-1:]) if places else outcome.target)
                faults[kind] += 1
                if faults[kind] == 1:
                    print(f"FAULT seed {options.seed} {_line(outcome)}", flush=True)
        table = summary(counts, faults.total(), time.monotonic() - began)
        print(table, file=log)
    print(table)
    return int(bool(faults))


def _line(outcome: Outcome) -> str:
    detail = outcome.detail if outcome.fault else ascii(outcome.detail)
    return f"case {outcome.number} {outcome.target}: {outcome.answer} {detail}"


def summary(counts: dict[str, collections.Counter[str]], faults: int, seconds: float) -> str:
    """Lay out counts by target and answer."""
    lines = []
    for target, answers in sorted(counts.items()):
        parts = ", ".join(f"{answer} {count}" for answer, count in answers.most_common())
        lines.append(f"{target:28} {answers.total():7}  {parts}")
    total = sum((answers for answers in counts.values()), collections.Counter[str]())
    parts = ", ".join(f"{answer} {count}" for answer, count in total.most_common())
    lines.append(f"{'all':28} {total.total():7}  {parts}")
    lines.append(f"{total.total()} cases in {seconds:.0f} s, {faults} faults")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
