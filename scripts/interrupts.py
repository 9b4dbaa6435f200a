"""Send Ctrl-C at random moments, measure how long npgen takes to end, and check what it leaves behind.

    python scripts/interrupts.py mnist --times 50
    python scripts/interrupts.py mnist-5k --times 20 --on python notebook

Each time in a process of its own and a fresh folder: `npgen generate`, `encoder train`, `embed` and `evaluate`, half of
them on a corpus with keys and classifier, half on one without. Or `npgen.generate` called from plain Python and from a
Jupyter kernel (requires jupyter_client and ipykernel), where the caller must get a KeyboardInterrupt and be able to
generate again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from npgen import Corpus, load_corpus
from npgen.errors import invalid
from npgen.storage import read_json, sha256_file

COMMANDS = ("generate", "train", "embed", "evaluate")
CALLERS = ("python", "notebook")
# What npgen stores in a corpus folder besides the corpus.
COLLECTED = ("keys", "classifier", "features")
# Seconds between two looks at a folder.
LOOK = 0.002
# Seconds after the start of a file's writing within which a process is interrupted.
WRITING = 0.1
# Seconds after which npgen and torch have been imported.
IMPORTED = 2.5
AIMS = {"any moment": 5, "importing": 2, "writing": 3}
# Seconds until a process counts as hung, and how many times a process may end before the signal.
PATIENCE = 60.0
TRIES = 10

CALL = """
import npgen
corpus = npgen.load_corpus({corpus!r})
options = dict(encoder={encoder!r}, progress=False)
"""
GENERATE = "npgen.generate(corpus, 100_000, **options)"
AGAIN = "print('usable', len(npgen.generate(corpus, 2, **options)), flush=True)"
PYTHON = f"""{CALL}
print("ready", flush=True)
try:
    {GENERATE}
except KeyboardInterrupt:
    print("caught", flush=True)
{AGAIN}
"""


@dataclass
class Ended:
    """How a process, or a call, ended after Ctrl-C."""

    moment: str
    seconds: float
    # All that was wrong.
    faults: list[str]
    # Number of temporary files left.
    half_written: int = 0


def main() -> None:
    """Read the command line, interrupt, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("corpus", help="name or folder of the corpus; evaluate takes one with held-out images")
    parser.add_argument("--times", type=int, default=50, help="interrupts in all")
    parser.add_argument("--on", nargs="+", choices=COMMANDS + CALLERS, default=COMMANDS, help="what is interrupted")
    parser.add_argument("--limit", type=float, default=0.5, help="seconds that may pass until the end")
    parser.add_argument("--horizon", type=float, default=15.0, help="seconds after which nothing is interrupted")
    parser.add_argument("--encoder", default="auto", help="encoder of generate and embed")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    given = parser.parse_args()
    # A shell starts background jobs with Ctrl-C ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("interrupts: terminated"))
    try:
        for name, number in (("times", given.times), ("limit", given.limit), ("horizon", given.horizon)):
            if number <= 0:
                raise invalid(name, "more than 0", number)
        with tempfile.TemporaryDirectory(prefix="npgen-interrupts-") as work:
            corpus = load_corpus(given.corpus)
            interrupter = _Interrupter(corpus, given.encoder, Path(work), random.Random(given.seed), given.horizon)
            well = [interrupter.all(on, count, given.limit) for on, count in _shares(given.on, given.times)]
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"interrupts: {error}")
    if not all(well):
        sys.exit("interrupts: not everything ended as it must")


def _shares(names: list[str], times: int) -> list[tuple[str, int]]:
    bounds = [times * at // len(names) for at in range(len(names) + 1)]
    return [(name, bounds[at + 1] - bounds[at]) for at, name in enumerate(names)]


class _Interrupter:
    def __init__(self, corpus: Corpus, encoder: str, work: Path, chance: random.Random, horizon: float) -> None:
        self.corpus, self.encoder, self.work, self.chance = corpus, encoder, work, chance
        self.horizon = horizon
        # Seconds of each command that ended before it was interrupted.
        self.lasting: dict[str, float] = {}
        self.run = work / "run"

    def all(self, on: str, count: int, limit: float) -> bool:
        """Interrupt a command `count` times; return whether it always ended cleanly within `limit` seconds."""
        interrupt: Callable[[bool], Ended] = {
            "python": lambda warm: self.python(),
            "notebook": lambda warm: self.notebook(),
        }.get(on, lambda warm: self.command(on, warm and on != "embed"))  # with keys there is nothing to embed
        seconds, slow, faulty, half_written = [], 0, 0, 0
        for number in range(count):
            ended = interrupt(number % 2 == 1)
            late = ended.seconds > limit
            if late or ended.faults:
                what = "; ".join(ended.faults) or "else well"
                print(f"{on}, {ended.moment}: {ended.seconds:.3f} s; {what}", flush=True)
            seconds.append(ended.seconds)
            slow, faulty = slow + late, faulty + bool(ended.faults)
            half_written += ended.half_written
        if seconds:
            print(
                f"{on}: {count} interrupts, median {statistics.median(seconds):.3f} s, "
                f"longest {max(seconds):.3f} s, {slow} over {limit} s, {faulty} not clean, "
                f"{half_written} temporary files left",
                flush=True,
            )
        return not slow and not faulty

    def command(self, name: str, warm: bool) -> Ended:
        """Interrupt a command in a fresh folder; try again if it ended before."""
        for _ in range(TRIES):
            folder = Path(tempfile.mkdtemp(dir=self.work))
            ended = self._command(name, self._arguments(name, folder, warm), folder, warm)
            shutil.rmtree(folder)
            if ended is not None:
                return ended
        raise invalid("corpus", f"one that keeps {name} busy", self.corpus)

    def _command(self, name: str, arguments: list[str], folder: Path, warm: bool) -> Ended | None:
        before = set(folder.rglob("*"))
        with (folder / "said").open("wb") as said:
            began = time.monotonic()
            process = subprocess.Popen(_npgen(*arguments, "-q"), stderr=said, stdout=said, start_new_session=True)
        key = f"{name} {warm}"
        try:
            moment = self._await_moment(process, folder, self.lasting.get(key, self.horizon))
            after = time.monotonic() - began
            if process.poll() is not None:
                if process.returncode:
                    raise OSError(f"npgen {name} must end well, got: {(folder / 'said').read_text().strip()}")
                self.lasting[key] = min(after, self.lasting.get(key, after))
                return None
            seconds = _stop(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        faults = []
        text = (folder / "said").read_text(errors="replace").strip()
        if process.returncode == -signal.SIGINT:
            # Before npgen begins and after it has ended, the signal kills the process: in a shell, status 130, too.
            # Until npgen's first line runs, Python prints a traceback of its own.
            if "Traceback" in text and "/npgen" in text:
                faults.append(f"no traceback must be shown, got {text!r}")
        elif (process.returncode, text) != (130, "npgen: interrupted"):
            faults.append(f"status 130 and one line must be seen, got {process.returncode} and {text!r}")
        written = [path for path in set(folder.rglob("*")) - before if path.is_file() and path.name != "said"]
        half_written = [path for path in written if _is_partial(path, folder)]
        faults += [fault for path in set(written) - set(half_written) if (fault := _torn(path))]
        where = f"{'with' if warm else 'without'} keys and classifier, {moment}, after {after:.2f} s"
        return Ended(where, seconds, faults, len(half_written))

    def _arguments(self, name: str, folder: Path, warm: bool) -> list[str]:
        if name == "evaluate":
            shutil.copytree(self._made_run(), folder / "run", ignore=shutil.ignore_patterns("evaluation.*"))
            return ["evaluate", str(folder / "run"), "--corpus", self._corpus(folder, warm)]
        corpus = self._corpus(folder, warm)
        encoder = ["--encoder", self.encoder]
        return {
            "generate": ["generate", corpus, "-n", "300", "--out", str(folder / "run"), *encoder],
            "train": ["encoder", "train", corpus, "--out", str(folder / "encoder.safetensors")],
            "embed": ["embed", corpus, *encoder],
        }[name]

    def _corpus(self, folder: Path, warm: bool) -> str:
        """Link the corpus into a folder, with or without keys, classifier and features."""
        assert self.corpus.path is not None
        source = self._warm_corpus() if warm else self.corpus.path
        leave = () if warm else COLLECTED
        _link(source, folder / self.corpus.path.name, leave)
        return str(folder / self.corpus.path.name)

    def _warm_corpus(self) -> Path:
        assert self.corpus.path is not None
        warm = self.work / "warm" / self.corpus.path.name
        if not warm.exists():
            _link(self.corpus.path, warm, ())
            _finish("generate", str(warm), "-n", "300", "--encoder", self.encoder, "--out", str(self.run))
        return warm

    def _made_run(self) -> Path:
        """Return a run to evaluate; the corpus with keys then has its classifier, too."""
        warm = self._warm_corpus()
        if not (self.run / "evaluation.json").exists():
            _finish("evaluate", str(self.run), "--corpus", str(warm))
        return self.run

    def _await_moment(self, process: subprocess.Popen[bytes], folder: Path, horizon: float) -> str:
        """Wait until the moment to interrupt the process, and return a description of it."""
        aim = self.chance.choices(list(AIMS), list(AIMS.values()))[0]
        share, number = self.chance.random(), self.chance.randint(1, 5)
        end = time.monotonic() + horizon

        def wait(over: Callable[[], bool]) -> None:
            while process.poll() is None and time.monotonic() < end and not over():
                time.sleep(LOOK)

        def sleep(seconds: float) -> None:
            until = time.monotonic() + seconds
            wait(lambda: time.monotonic() > until)

        if aim == "writing":
            seen: set[str] = set()

            def nth() -> bool:
                seen.update(str(path) for path in folder.rglob(".*.partial"))
                return len(seen) >= number

            wait(nth)
            sleep(share * WRITING)
        else:
            sleep(share * (IMPORTED if aim == "importing" else horizon))
        return aim

    def python(self) -> Ended:
        """Interrupt npgen.generate in a process of plain Python, which must be able to call it again."""
        code = PYTHON.format(corpus=str(self._warm_corpus()), encoder=self.encoder)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        delay = self.chance.random() * self.horizon
        time.sleep(delay)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline()
        seconds = time.monotonic() - began
        said += process.communicate(timeout=PATIENCE)[0]
        expected = "caught\nusable 2\n"
        faults = [] if said == expected else [f"{expected!r} must be said, got {said!r}"]
        return Ended(f"after {delay:.2f} s", seconds, faults)

    def notebook(self) -> Ended:
        """Interrupt npgen.generate in a Jupyter kernel, where it must be possible to call it again."""
        from jupyter_client.manager import start_new_kernel  # type: ignore[import-not-found, unused-ignore]

        manager, client = start_new_kernel(kernel_name="python3")
        try:

            def execute(code: str) -> dict[str, Any]:
                reply: dict[str, Any] = client.execute_interactive(
                    code, timeout=PATIENCE, output_hook=lambda message: None
                )["content"]
                return reply

            execute(CALL.format(corpus=str(self._warm_corpus()), encoder=self.encoder))
            client.execute(GENERATE)
            delay = self.chance.random() * self.horizon
            time.sleep(delay)
            began = time.monotonic()
            manager.interrupt_kernel()
            reply = client.get_shell_msg(timeout=PATIENCE)["content"]
            seconds = time.monotonic() - began
            faults = []
            if reply.get("ename") != "KeyboardInterrupt":
                faults.append(f"the cell must end with KeyboardInterrupt, got {reply}")
            if execute(AGAIN)["status"] != "ok":
                faults.append("the kernel must stay usable")
            return Ended(f"after {delay:.2f} s", seconds, faults)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def _npgen(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "npgen_command", *arguments]


def _finish(*arguments: str) -> None:
    result = subprocess.run(_npgen(*arguments, "-q"), capture_output=True, text=True)
    if result.returncode:
        raise OSError(f"npgen {arguments[0]} must end well, got: {result.stderr.strip()}")


def _stop(process: subprocess.Popen[bytes]) -> float:
    """Send SIGINT to the process group, as Ctrl-C does; return the seconds until the process has ended."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    return time.monotonic() - began


def _link(source: Path, target: Path, leave: tuple[str, ...]) -> None:
    """Make a folder of hard links to the same files; new files appear in one of them only."""
    shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(*leave))


def _is_partial(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") and part.endswith(".partial") for part in path.relative_to(folder).parts)


def _torn(path: Path) -> str | None:
    """Say what is wrong with a file that has a name, if anything."""
    try:
        if path.suffix == ".json":
            for shard in read_json(path).get("shards", []) if path.name == "manifest.json" else []:
                for array, sha256 in shard["sha256"].items():
                    if sha256_file(path.parent / shard["name"] / f"{array}.npy") != sha256:
                        raise ValueError(f"{array} of shard {shard['name']} must be as it was written")
        elif path.suffix == ".npy":
            np.load(path, mmap_mode="r")
        elif path.suffix == ".png":
            Image.open(path).verify()
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                file.keys()
        elif path.suffix == ".checkpoint" and zipfile.ZipFile(path).testzip() is not None:
            raise ValueError("a checkpoint must be whole")
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        return f"{path.name} must be whole, got {error}"
    return None


if __name__ == "__main__":
    main()
