"""Run folders: a manifest, and shards of consecutive samples, each a folder of `.npy` files that the manifest names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from npgen.errors import invalid
from npgen.runs.facts import RunFacts, run_name
from npgen.storage import npy, read_json, sha256_file, write_json

MANIFEST = "manifest.json"
# Type and shape of an array of a shard; None is any extent.
ArrayForm = tuple[type[Any], tuple[int | None, ...]]
# Writes samples, which have a `first`, into a folder, and returns the manifest's entry: `name`, `n` and `sha256`.
ShardWriter = Callable[[Any, Path], dict[str, Any]]


@dataclass(frozen=True)
class Shard:
    """One shard of a run.

    Attributes
    ----------
    name
        Its folder inside the run's.
    first, n
        Index of its first sample, and how many it holds.
    sha256
        Hash of each array's file, by the array's name.
    """

    name: str
    first: int
    n: int
    sha256: dict[str, str]


def read_manifest(folder: Path) -> tuple[RunFacts, tuple[Shard, ...]]:
    """Read the manifest of a run folder, finished or not.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    facts
        What the run is.
    shards
        Its shards that are written, in order.

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    ValueError
        If the manifest is damaged, of something else, or of a newer npgen.
    """
    manifest = read_json(folder / MANIFEST)
    facts = RunFacts.from_json(run_name(folder), manifest)
    return facts, shards_of(folder, manifest["shards"], facts.first)


def shards_of(folder: Path, entries: Any, first: int) -> tuple[Shard, ...]:
    """Read a manifest's list of shards; `first` is the index of the run's first sample.

    Raises
    ------
    ValueError
        If it is no such list, or names anything but folders and files inside the run's folder.
    """
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise invalid(run_name(folder), "of a complete manifest, with shards of name, n and sha256", entries)
    shards = []
    for entry in entries:
        for name in (entry["name"], *entry["sha256"]):
            if Path(name).name != name or name in ("", ".", ".."):
                raise invalid("shard", "the name of a folder inside the run's", name)
        shards.append(Shard(entry["name"], first, entry["n"], entry["sha256"]))
        first += entry["n"]
    return tuple(shards)


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("n")) is int
        and 0 < entry["n"] < 2**64
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("sha256"), dict)
        and all(isinstance(digest, str) for digest in entry["sha256"].values())
    )


def check_finished(folder: Path, n: int, shards: tuple[Shard, ...], how: str) -> None:
    """Raise ValueError unless a run's shards hold all its n samples; `how` names the command that finishes a run."""
    written = sum(shard.n for shard in shards)
    if written != n or not shards:
        raise invalid(run_name(folder), f"of {n} samples ({how} resumes an interrupted run)", written)


def write_shards(samples: Any, folder: Path, size: int, write: ShardWriter) -> None:
    """Write samples of either kind into a new run folder: shards of `size` samples, and the manifest that names them.

    Parameters
    ----------
    samples
        Samples that can be sliced, and have a `first` and a `provenance`.
    folder
        The folder.
    size
        Samples per shard.
    write
        Writes one shard.
    """
    shards = []
    for start in range(0, len(samples), size):
        shard = samples[start : start + size]
        part = folder / f"{shard.first:08d}"
        part.mkdir()
        shards.append(write(shard, part))
    write_json(folder / MANIFEST, {**samples.provenance(), "shards": shards})


def read_arrays(folder: Path, shard: Shard, forms: Mapping[str, ArrayForm]) -> dict[str, NDArray[Any]]:
    """Open the arrays of a shard, each of a given type and shape, and checked against its hash.

    Parameters
    ----------
    folder
        The run's.
    shard
        The shard.
    forms
        Type and shape of each array.

    Returns
    -------
    dict
        The arrays by name, memory-mapped.

    Raises
    ------
    ValueError
        If one is of another type or shape, or its file is not as it was written.
    """
    arrays = {}
    for name, (dtype, shape) in forms.items():
        path = folder / shard.name / f"{name}.npy"
        arrays[name] = npy.open_array(path, dtype, shape)
        if sha256_file(path) != shard.sha256.get(name):
            raise invalid(f"array {str(path)!r}", "as it was written", "altered bytes")
    return arrays
