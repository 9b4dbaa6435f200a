"""Runs that are written as they are made, and gone on with after anything that stopped them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from npgen.config import Config, find_model
from npgen.errors import invalid
from npgen.runs.reading import joined, read_shards
from npgen.runs.samples import write_shard
from npgen.runs.shards import MANIFEST, check_shards, read_manifest, shard_size
from npgen.storage import new_folder, read_json, write_json

if os.name == "posix":
    import fcntl

LOCK = ".lock"
# What a process that was killed while it wrote the first manifest leaves beside the lock.
PARTIAL = re.compile(rf"\.{re.escape(MANIFEST)}\.[0-9a-f]+\.partial")
# What parts of one run may differ in.
OF_A_PART = ("first", "n", "shards")
# Writes samples, which have a `first`, into a folder, and returns the manifest's entry.
ShardWriter = Callable[[Any, Path], dict[str, Any]]


class RunFolder:
    """A run in the making: shards of whole samples, each of them on disk before the manifest names it.

    Whatever ends the process, what the manifest names is whole; a shard that it does not name is made again.
    """

    def __init__(self, path: Path, facts: dict[str, Any], write: ShardWriter) -> None:
        self.path, self.facts, self.write = path, facts, write
        self.shards: list[dict[str, Any]] = []

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: str | os.PathLike[str], facts: dict[str, Any], write: ShardWriter = write_shard
    ) -> Iterator[RunFolder]:
        """Claim a folder for a run, or for the rest of it.

        Parameters
        ----------
        path
            Folder to make, or that of the same run, interrupted or finished.
        facts
            What the run is: its manifest, less the shards.
        write
            Writes samples into a folder, and returns what the manifest is to say of it: `name`, `n` and `sha256`.

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
        run = cls(Path(path).absolute(), facts, write)
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

    def append(self, samples: Any) -> None:
        """Write the next shard."""
        # One that the manifest does not name was left by a process that ended just then.
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
            # Asked for last: another process may have begun the run just now, and have written what was listed.
            if others and not (self.path / MANIFEST).exists():
                raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")
        elif os.path.lexists(self.path) and not self.path.is_dir():
            raise FileExistsError(f"out must be a new folder or that of an interrupted run, got {str(self.path)!r}")

    def _go_on(self) -> None:
        manifest = read_json(self.path / MANIFEST)
        with contextlib.suppress(KeyError, TypeError, ValueError):  # settings that it does not name have their defaults
            manifest["config"] = Config.from_json(manifest["config"]).to_json()
        different = [name for name, value in self.facts.items() if manifest.get(name) != value]
        if different:
            name = different[0]
            kept, wanted = manifest.get(name), self.facts[name]
            if isinstance(kept, dict) and isinstance(wanted, dict):
                both = {**kept, **wanted}
                inner = next(
                    part for part in both if (part in kept, kept.get(part)) != (part in wanted, wanted.get(part))
                )
                name, kept, wanted = f"{name}: {inner}", kept.get(inner), wanted.get(inner)
            raise invalid(f"run {str(self.path)!r}", f"of {name} {wanted!r}, or another folder", kept)
        check_shards(self.path, manifest.get("shards"))
        self.shards = manifest["shards"]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if os.name != "posix":  # Windows has no such locks
            yield
            return
        lock = self.path / LOCK
        # Were it a link, what it leads to would be emptied.
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its owner may have removed it just then, and who locks a new one would not see this one.
                if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    raise FileNotFoundError(lock)
            except OSError as error:
                raise FileExistsError(f"run {str(self.path)!r} is being written by another process") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)


def part_of(n: int, index: int, count: int) -> tuple[int, int]:
    """Divide n samples into `count` parts of nearly the same size: where part `index` begins, and its length.

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
    """Make one run of runs that are its parts: the folder that one process would have written.

    Parameters
    ----------
    parts
        Folders of finished runs, in any order, that differ in the indices of their samples alone, and together have
        consecutive ones.
    out
        Run folder to make; an interrupted call is gone on with.

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
    manifests = [read_manifest(folder) for folder in folders]
    order = sorted(range(len(parts)), key=lambda at: manifests[at]["first"])
    facts = {name: value for name, value in manifests[order[0]].items() if name != "shards"}
    following = facts["first"]
    for at in order:
        manifest, name = manifests[at], f"part {str(folders[at])!r}"
        for key, value in facts.items():
            if key not in OF_A_PART and manifest.get(key) != value:
                raise invalid(name, f"of the same {key} as {str(folders[order[0]])!r}, {value}", manifest.get(key))
        done = sum(shard["n"] for shard in manifest["shards"])
        if done != manifest["n"]:
            raise invalid(name, f"finished, of {manifest['n']} samples", done)
        if manifest["first"] != following:
            raise invalid(name, f"the one that begins with sample {following}", manifest["first"])
        following += manifest["n"]
    facts["n"] = following - facts["first"]
    tokens = facts.get("tokens") is not None
    size = shard_size(find_model(facts["model"]), Config.from_json(facts["config"]), tokens)
    with RunFolder.open(out, facts) as folder:
        skip, held = folder.done, []
        for at in order:
            for shard in read_shards(folders[at], manifests[at]):
                new = max(0, facts["first"] + skip - shard.first)
                if new < len(shard):
                    held.append(shard[new:])
                while sum(map(len, held)) >= size:
                    together = joined(held)
                    folder.append(together[:size])
                    held = [together[size:]] if len(together) > size else []
        if held:
            folder.append(joined(held))
