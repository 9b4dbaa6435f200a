"""Runs that are written as they are made, and gone on with after anything that stopped them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npgen.errors import invalid
from npgen.files import new_folder, read_json, write_json
from npgen.trace import MANIFEST, Samples, write_shard

if os.name == "posix":
    import fcntl

LOCK = ".lock"


class RunFolder:
    """A run in the making: shards of whole samples, each of them on disk before the manifest names it.

    Whatever ends the process, what the manifest names is whole; a shard that it does not name is made again.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self.shards: list[dict[str, Any]] = []

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | os.PathLike[str], facts: dict[str, Any]) -> Iterator[RunFolder]:
        """Claim a folder for a run, or for the rest of it.

        Parameters
        ----------
        path
            Folder to make, or that of the same run, interrupted or finished.
        facts
            What the run is: its manifest, less the shards.

        Yields
        ------
        RunFolder
            With the shards that are there already. Nobody else can open the folder meanwhile.

        Raises
        ------
        ValueError
            If the folder holds another run, or is damaged.
        FileExistsError
            If it holds anything else, or another process is writing it.
        """
        run = cls(Path(path).absolute(), facts)
        run._check_vacant()
        run.path.mkdir(parents=True, exist_ok=True)
        with run._locked():
            if (run.path / MANIFEST).exists():
                run._go_on()
            else:
                run._write_manifest()
            yield run

    @property
    def done(self) -> int:
        """How many samples are there."""
        return sum(shard["n"] for shard in self.shards)

    def append(self, samples: Samples) -> None:
        """Write the next shard."""
        # One that the manifest does not name was left by a process that ended just then.
        shutil.rmtree(self.path / f"{samples.first:08d}", ignore_errors=True)
        with new_folder(self.path / f"{samples.first:08d}") as folder:
            entry = write_shard(samples, folder)
        self.shards.append(entry)
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_json(self.path / MANIFEST, {**self.facts, "shards": self.shards})

    def _check_vacant(self) -> None:
        if self.path.is_dir() and not (self.path / MANIFEST).exists():
            others = [entry.name for entry in self.path.iterdir() if entry.name != LOCK]
            if others:
                raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")
        elif os.path.lexists(self.path) and not self.path.is_dir():
            raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")

    def _go_on(self) -> None:
        manifest = read_json(self.path / MANIFEST)
        different = [name for name, value in self.facts.items() if manifest.get(name) != value]
        if different:
            name = different[0]
            kept, wanted = manifest.get(name), self.facts[name]
            if isinstance(kept, dict) and isinstance(wanted, dict):
                inner = next(part for part in {**kept, **wanted} if kept.get(part) != wanted.get(part))
                name, kept, wanted = f"{name}: {inner}", kept.get(inner), wanted.get(inner)
            raise invalid(f"run {str(self.path)!r}", f"of {name} {wanted!r}, or another folder", kept)
        shards = manifest.get("shards")
        if not isinstance(shards, list) or not all(isinstance(one, dict) and "n" in one for one in shards):
            raise invalid(f"run {str(self.path)!r}", "of a whole manifest", shards)
        self.shards = shards

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if os.name != "posix":  # Windows has no such locks
            yield
            return
        lock = self.path / LOCK
        with lock.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FileExistsError(f"run {str(self.path)!r} is being written by another process") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
