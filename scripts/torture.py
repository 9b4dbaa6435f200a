"""Kill a run at random moments, fill its disk, and check that its bytes are those of an undisturbed run.

    python scripts/torture.py mnist-5k -n 2000 --kills 20
    python scripts/torture.py mnist-5k -n 300 --model local --window 5

Three runs of one command: one undisturbed; one that is killed by SIGKILL and resumed, several times; one on a small
disk that fills up and is then enlarged. After each interruption, all shards that the manifest names must be those of
the undisturbed run, and no fewer than before: at most the unfinished shard is lost. At the end all files must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npgen.errors import invalid
from npgen.runs.folder import LOCK
from npgen.runs.shards import MANIFEST
from npgen.storage.files import sha256_file

# Seconds between two looks at the folder.
LOOK = 0.002
# How many times a process may end before it is killed.
TRIES = 20
PARTIAL = re.compile(r"\..+\.[0-9a-f]+\.partial")
AIMS = {"any moment": 5, "writing": 4, "starting": 1}


class FaultError(Exception):
    """A file does not have the bytes that it must have."""


def main() -> None:
    """Read the command line, make the three runs, and report."""
    text = (__doc__ or "").split("\n", 1)[0] + " Further options are those of npgen generate."
    parser = argparse.ArgumentParser(description=text, allow_abbrev=False)
    parser.add_argument("corpus", help="name or folder of the corpus")
    parser.add_argument("-n", type=int, default=2000, help="samples of a run")
    parser.add_argument("--kills", type=int, default=20, help="how often the second run is killed")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments, and is the runs' own seed")
    parser.add_argument("--model", default="full", help="model of the runs")
    parser.add_argument("--work", type=Path, help="folder to make for the runs; by default a temporary one")
    parser.add_argument(
        "--disk",
        choices=("tmpfs", "limit"),
        help="what fills up: a file system in memory, which requires root, or a limit on the size of files; by default "
        "the former where it is possible",
    )
    given, options = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("torture: terminated"))
    try:
        for name, number, least in (("n", given.n, 1), ("kills", given.kills, 0), ("seed", given.seed, 0)):
            if number < least:
                raise invalid(name, f"at least {least}", number)
        with _workplace(given.work) as work:
            command = ["generate", given.corpus, "-n", str(given.n), "--model", given.model, "--seed", str(given.seed)]
            _Torture([*command, *options, "-q"], work, random.Random(given.seed)).all(given.kills, given.disk)
    except (ValueError, OSError, FaultError) as error:
        sys.exit(f"torture: {error}")


@contextlib.contextmanager
def _workplace(path: Path | None) -> Iterator[Path]:
    if path is not None:
        path.mkdir(parents=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="npgen-torture-") as name:
        yield Path(name)


@dataclass
class _Torture:
    command: list[str]
    work: Path
    chance: random.Random
    # The undisturbed run: its files, its manifest, and the seconds of its beginning, of each shard, and of its end.
    whole: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    # Seconds that writing a shard took.
    writing: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def all(self, kills: int, disk: str | None) -> None:
        try:
            self._all(kills, disk)
        finally:
            if self.process is not None:
                _kill(self.process)

    def _all(self, kills: int, disk: str | None) -> None:
        self.undisturbed()
        count = len(self.manifest["shards"])
        size = sum(map(len, self.whole.values()))
        print(f"undisturbed: {count} shards, {len(self.whole)} files, {size:,} bytes, {sum(self.seconds):.1f} s")
        self.killed(kills)
        print(f"killed {kills} times: every byte as undisturbed")
        name = self.filled(disk)
        print(f"disk full once ({name}): every byte as undisturbed")

    def start(self, out: Path, prepare: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        with (self.work / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "npgen_command", *self.command, "--out", str(out)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=prepare,
            )
        return self.process

    def output(self) -> str:
        return (self.work / "log").read_text(errors="replace").strip()

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait() != 0:
            raise FaultError(f"the run must end well, got status {process.returncode}: {self.output()}")

    # 1. The run is undisturbed.
    def undisturbed(self) -> None:
        out = self.work / "undisturbed"
        moments, writes = [time.monotonic()], Counter[str]()
        process = self.start(out)
        while process.poll() is None:
            if (out / MANIFEST).exists() and len(moments) < 2 + len(_named(out)):
                moments.append(time.monotonic())
            writes.update(_partials(out))
            time.sleep(LOOK)
        self.writing = LOOK * max(writes.values(), default=1)
        self.finish(process)
        self.whole, self.manifest = _files(out), json.loads((out / MANIFEST).read_text())
        # Several shards may be written between two looks at the folder.
        end = [time.monotonic()] * (3 + len(self.manifest["shards"]) - len(moments))
        self.seconds = [end - start for start, end in itertools.pairwise(moments + end)]

    # 2. It is killed.
    def killed(self, kills: int) -> None:
        out = self.work / "killed"
        stages = len(self.manifest["shards"]) + 1  # shards, then pictures
        before = 0
        for kill in range(kills):
            # The kills are spread over the stages, so that each stage is hit.
            moment = self.kill(out, kill * stages // kills)
            before, left = self.check(out, before)
            print(
                f"kill {kill + 1:2}, {moment}: {before} of {stages - 1} shards named, all whole; "
                f"half-written: {', '.join(left) or 'none'}",
                flush=True,
            )
        self.finish(self.start(out))
        self.compare(out)

    def kill(self, out: Path, stage: int) -> str:
        """Resume the run, kill it in the given stage, and return when that was; try again if it ended before."""
        for _ in range(TRIES):
            process = self.start(out)
            moment = self._await_moment(process, out, stage)
            _kill(process)
            if process.wait() == -signal.SIGKILL:
                return moment
            self.finish(process)
        raise FaultError(f"the run must take longer, got one that ended {TRIES} times before it was killed")

    def _await_moment(self, process: subprocess.Popen[bytes], out: Path, stage: int) -> str:
        """Wait until the moment to kill the process, and return a description of it."""
        began = time.monotonic()
        aim = self.chance.choices(list(AIMS), list(AIMS.values()))[0]
        share = self.chance.random()
        old = _partials(out)
        # A run that is already beyond the stage is killed before it names another shard.
        there = len(_named(out))
        held = there > stage

        def writes() -> bool:
            return bool(_partials(out) - old)

        def wait(over: Callable[[], bool]) -> None:
            while process.poll() is None and not over() and not (held and writes()):
                time.sleep(LOOK)

        def sleep(seconds: float) -> None:
            end = time.monotonic() + seconds
            wait(lambda: time.monotonic() > end)

        if aim == "starting":
            sleep(share * self.seconds[0])
        else:
            wait(lambda: len(_named(out)) >= stage)
            if aim == "writing":
                wait(writes)
                sleep(share * self.writing)
            else:
                sleep(share * (self.seconds[stage + 1] + (self.seconds[0] if there >= stage else 0)))
        return f"{'writing' if held and writes() else aim}, after {time.monotonic() - began:.2f} s"

    # 3. Its disk is full.
    def filled(self, kind: str | None) -> str:
        with _small_disk(self.work / "disk", kind, self.whole, self.chance) as (name, prepare, enlarge):
            out = self.work / "disk" / "run"
            process = self.start(out, prepare)
            if process.wait() != 1 or "nothing was kept. Free some space" not in self.output():
                raise FaultError(f"a full disk must be named, got status {process.returncode}: {self.output()}")
            named, left = self.check(out, 0)
            if left:
                raise FaultError(f"a full disk must leave nothing half-written, got {', '.join(left)}")
            print(f"disk full: {named} shards named, all whole; said: {self.output()}")
            enlarge()
            self.finish(self.start(out))
            self.check(out, named)
            self.compare(out)
        return name

    def check(self, out: Path, before: int) -> tuple[int, list[str]]:
        """Raise unless all shards in the manifest are whole; return their number and the half-written files."""
        if not out.exists():
            return 0, []
        named = _named(out)
        shards = [shard["name"] for shard in self.manifest["shards"]]
        if named != self.manifest["shards"][: len(named)]:
            raise FaultError(f"{out / MANIFEST} must name the shards {shards}, as undisturbed, got {named}")
        if len(named) < before:
            raise FaultError(f"{out / MANIFEST} must name {before} shards, as before, got {len(named)}")
        for shard in named:
            for array, sha256 in shard["sha256"].items():
                path = out / shard["name"] / f"{array}.npy"
                if sha256_file(path) != sha256:
                    raise FaultError(f"{path} must be as the manifest has it, got other bytes")
        left = []
        for path in sorted(out.iterdir()):
            if path.name in (MANIFEST, LOCK) or path.name in shards[: len(named)]:
                continue
            # The next shard may be whole without being in the manifest yet.
            if PARTIAL.fullmatch(path.name) or path.name in shards[len(named) : len(named) + 1]:
                left.append(path.name)
            elif path.name not in self.whole or path.read_bytes() != self.whole[path.name]:
                raise FaultError(f"{path} must be as undisturbed, got something else")
        return len(named), left

    def compare(self, out: Path) -> None:
        """Raise unless all files are those of the undisturbed run."""
        found = _files(out)
        for name in sorted(self.whole.keys() | found.keys()):
            if self.whole.get(name) != found.get(name):
                there = {False: "nothing", True: "other bytes"}[name in found]
                raise FaultError(f"{out / name} must be as undisturbed, got {there}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _named(out: Path) -> list[dict[str, Any]]:
    try:
        shards: list[dict[str, Any]] = json.loads((out / MANIFEST).read_text())["shards"]
    except FileNotFoundError:
        return []
    return shards


def _partials(out: Path) -> set[str]:
    try:
        return {path.name for path in out.iterdir() if PARTIAL.fullmatch(path.name)}
    except FileNotFoundError:
        return set()


Disk = tuple[str, Callable[[], None] | None, Callable[[], None]]


@contextlib.contextmanager
def _small_disk(path: Path, kind: str | None, whole: dict[str, bytes], chance: random.Random) -> Iterator[Disk]:
    """Make a folder with too little space for a run.

    Yield its kind, a function that the run's process calls before it starts (or None), and one that enlarges the space.
    """
    path.mkdir()
    size = sum(map(len, whole.values()))
    room = int(size * chance.uniform(0.2, 0.9))

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], check=True, capture_output=True)

    if kind != "limit":
        try:
            mount("-o", f"size={room}")
        except (OSError, subprocess.CalledProcessError) as error:
            if kind == "tmpfs":
                reason = getattr(error, "stderr", b"").decode().strip() or error
                raise OSError(f"disk must be 'limit', as no file system can be mounted here ({reason})") from error
        else:
            try:
                yield f"tmpfs of {room:,} bytes", None, lambda: mount("-o", f"remount,size={4 * size + (1 << 20)}")
            finally:
                subprocess.run(["umount", "--lazy", str(path)], check=True)
            return
    # A limit on file size makes a write fail as a full disk does, with EFBIG in place of ENOSPC.
    limit = int(max(len(data) for name, data in whole.items() if name.endswith(".npy")) * chance.uniform(0.2, 0.9))

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    yield f"files of at most {limit:,} bytes", prepare, lambda: None


if __name__ == "__main__":
    main()
