"""Run folders that are written while the samples are made, and resumed after an interruption."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from npgen.config import Config
from npgen.errors import invalid
from npgen.runs.facts import differences, run_name, settings_of
from npgen.runs.reading import concatenated, read_shards
from npgen.runs.samples import Samples
from npgen.runs.shards import MANIFEST, ShardWriter, read_manifest, shards_of
from npgen.runs.writing import write_shard
from npgen.storage import new_folder, read_json, write_json

if os.name == "posix":
    import fcntl

LOCK = ".lock"
# File that a process leaves beside the lock when it is killed while it writes the first manifest.
PARTIAL = re.compile(rf"\.{re.escape(MANIFEST)}\.[0-9a-f]+\.partial")


class RunFolder:
    """A run folder that is being written: each shard is on disk before the manifest names it.

    Whatever ends the process, the shards that the manifest names are complete. A shard that it does not name is made
    again.

    Parameters
    ----------
    path
        The folder.
    facts
        What the run is: its manifest without the shards.
    write
        Writes one shard into a folder, and returns the manifest's entry: `name`, `n` and `sha256`.
    """

    def __init__(self, path: Path, facts: dict[str, Any], write: ShardWriter) -> None:
        self.path, self.facts, self.write = path, facts, write
        self.shards: list[dict[str, Any]] = []

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: str | os.PathLike[str], facts: dict[str, Any], write: ShardWriter = write_shard
    ) -> Iterator[RunFolder]:
        """Lock a folder for a run, new or resumed.

        Parameters
        ----------
        path
            Folder to make, or the folder of the same run, interrupted or finished.
        facts, write
            As of the class.

        Yields
        ------
        RunFolder
            With the shards that are written already. No other process can open the folder meanwhile.

        Raises
        ------
        ValueError
            If the folder holds another run, or is damaged.
        FileExistsError
            If it holds anything else, or another process is writing it.
        """
        run = cls(Path(path).absolute(), facts, write)
        run._check_vacant()
        run.path.mkdir(parents=True, exist_ok=True)
        with run._locked():
            if (run.path / MANIFEST).exists():
                run._resume()
            else:
                run._write_manifest()
            yield run

    @property
    def done(self) -> int:
        """Number of samples that are written."""
        return sum(shard["n"] for shard in self.shards)

    def append(self, samples: Any) -> None:
        """Write the next shard."""
        # A shard that the manifest does not name was left by a process that ended before it could.
        shutil.rmtree(self.path / f"{samples.first:08d}", ignore_errors=True)
        with new_folder(self.path / f"{samples.first:08d}") as folder:
            entry = self.write(samples, folder)
        self.shards.append(entry)
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_json(self.path / MANIFEST, {**self.facts, "shards": self.shards})

    def _check_vacant(self) -> None:
        if self.path.is_dir():
            names = [entry.name for entry in self.path.iterdir()]
            others = [name for name in names if name != LOCK and not PARTIAL.fullmatch(name)]
            # Checked last: another process may have begun the run just now, and have written the files listed.
            if others and not (self.path / MANIFEST).exists():
                raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")
        elif os.path.lexists(self.path) and not self.path.is_dir():
            raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")

    def _resume(self) -> None:
        manifest = read_json(self.path / MANIFEST)
        with contextlib.suppress(KeyError, TypeError, ValueError):  # settings not named are those of an earlier version
            manifest["config"] = Config.from_json(settings_of(manifest)).to_json()
        for name, wanted, found in differences(self.facts, manifest):
            raise invalid(run_name(self.path), f"of {name} {wanted!r}, or another folder", found)
        shards_of(self.path, manifest.get("shards"), self.facts["first"])
        self.shards = manifest["shards"]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if os.name != "posix":  # Windows has no such locks
            yield
            return
        lock = self.path / LOCK
        # O_NOFOLLOW: opening a link for writing would empty the file that it leads to.
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The owner may have removed the file meanwhile: a lock on a removed file locks nothing.
                if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    raise FileNotFoundError(lock)
            except OSError as error:
                raise FileExistsError(f"run {str(self.path)!r} is being written by another process") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)


def part_of(n: int, index: int, count: int) -> tuple[int, int]:
    """Divide n samples into `count` parts of nearly the same size, and return first sample and length of one part.

    Raises
    ------
    ValueError
        If there is no such part, or nothing in it.
    """
    if count < 1 or not 0 <= index < count:
        raise invalid("shard", "I/N with I in 0…N − 1", f"{index}/{count}")
    start, end = (n * at // count for at in (index, index + 1))
    if start == end:
        raise invalid("shard", f"of at most {n} parts, as there are {n} samples", f"{index}/{count}")
    return start, end - start


def merge(parts: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> None:
    """Join runs that are parts of one run into the folder that one process would have written.

    Parameters
    ----------
    parts
        Folders of finished runs, in any order, that differ in nothing but the indices of their samples, which
        together are consecutive.
    out
        Run folder to make; the same call resumes an interrupted one.

    Raises
    ------
    ValueError
        If parts are unfinished, damaged, of different runs, or have gaps or samples in common.
    FileExistsError
        If `out` holds something else.
    """
    if not parts:
        raise invalid("parts", "at least one run", 0)
    folders = [Path(part) for part in parts]
    runs = sorted(((*read_manifest(folder), folder) for folder in folders), key=lambda run: run[0].first)
    facts, _, begin = runs[0]
    n = 0
    for part, shards, folder in runs:
        name = f"part {str(folder)!r}"
        for key, wanted, found in differences(facts.part(part.first, part.n).to_json(), part.to_json()):
            raise invalid(name, f"of the same {key} as {str(begin)!r}, {wanted}", found)
        written = sum(shard.n for shard in shards)
        if written != part.n:
            raise invalid(name, f"finished, of {part.n} samples", written)
        if part.first != facts.first + n:
            raise invalid(name, f"the one that begins with sample {facts.first + n}", part.first)
        n += part.n
    facts = facts.part(facts.first, n)
    with RunFolder.open(out, facts.to_json()) as run:
        done = facts.first + run.done  # index of the first sample that is not written yet
        held: list[Samples] = []
        for part, shards, folder in runs:
            for samples in read_shards(folder, part, shards):
                if samples.first + len(samples) <= done:
                    continue
                held.append(samples[max(0, done - samples.first) :])
                while sum(map(len, held)) >= facts.shard_size:
                    together = concatenated(held)
                    run.append(together[: facts.shard_size])
                    held = [together[facts.shard_size :]] if len(together) > facts.shard_size else []
        if held:
            run.append(concatenated(held))
