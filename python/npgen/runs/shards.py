"""Run folders: a manifest, and shards of whole samples, folders of plain `.npy` files that the manifest names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from npgen.config import Config, Model, find_model
from npgen.errors import MOST_SEED, check_name, check_type, check_whole, invalid
from npgen.storage import npy, read_json, sha256_file, write_json

FORMAT = "npgen-run"
VERSION = 2
# Of runs of tokens, which a reader of version 2 would take for copies of pixels.
TOKEN_VERSION = 3
MANIFEST = "manifest.json"
# Type and shape of an array of a shard; None is any extent.
ArrayForm = tuple[type[Any], tuple[int | None, ...]]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder, finished or not; raise as `load_samples` does."""
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise invalid(f"run {str(folder)!r}", f"a folder of format {FORMAT!r}", manifest.get("format"))
    if manifest.get("version") not in (VERSION, TOKEN_VERSION):
        allowed = f"of format version {VERSION} or {TOKEN_VERSION} (another npgen may read it)"
        raise invalid(f"run {str(folder)!r}", allowed, manifest.get("version"))
    for name in ("model", "config", "seed", "first", "n", "corpus", "encoder", "shards"):
        if name not in manifest:
            raise ValueError(f"run {str(folder)!r} must have a whole manifest, got one without {name!r}")
    check_shards(folder, manifest["shards"])
    run = f"run {str(folder)!r}"
    corpus = manifest["corpus"]
    if not isinstance(corpus, dict) or not all(isinstance(corpus.get(name), str) for name in ("name", "hash")):
        raise invalid(run, "of a corpus with name and hash", corpus)
    check_name(corpus["name"])
    if not isinstance(manifest["config"], dict):
        raise invalid(run, "of a config, an object of settings", manifest["config"])
    try:
        find_model(manifest["model"])
        Config.from_json(manifest["config"])
        check_type("encoder", manifest["encoder"], str, type(None))
        check_type("tokens", manifest.get("tokens"), str, type(None))
        for name in ("seed", "first", "n"):
            check_whole(name, manifest[name], 0, MOST_SEED)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run} must have a whole manifest, got one in which {error}") from error
    return manifest


def check_shards(folder: Path, shards: Any) -> None:
    """Raise ValueError unless a manifest's list of shards is one."""
    if not isinstance(shards, list) or not all(
        isinstance(shard, dict)
        and type(shard.get("n")) is int
        and shard["n"] > 0
        and isinstance(shard.get("name"), str)
        and isinstance(shard.get("sha256"), dict)
        for shard in shards
    ):
        raise invalid(f"run {str(folder)!r}", "of a whole manifest, with shards of name, n and sha256", shards)


def write_shards(samples: Any, folder: Path, size: int, write: Callable[[Any, Path], dict[str, Any]]) -> None:
    """Write a run of some kind of samples into a folder in the making: its shards, and the manifest that names them.

    Parameters
    ----------
    samples
        Samples that can be sliced, and have a `first` and a `provenance`.
    folder
        The folder.
    size
        Samples in a shard.
    write
        Writes samples into a folder, and returns what the manifest is to say of it.
    """
    shards = []
    for start in range(0, len(samples), size):
        shard = samples[start : start + size]
        part = folder / f"{shard.first:08d}"
        part.mkdir()
        shards.append(write(shard, part))
    write_json(folder / MANIFEST, {**samples.provenance(), "shards": shards})


def read_arrays(
    folder: Path, shard: dict[str, Any], forms: Mapping[str, ArrayForm], sha256: Mapping[str, object]
) -> dict[str, NDArray[Any]]:
    """Open the arrays of a shard, each of a type and a shape, and checked against its hash.

    Parameters
    ----------
    folder
        The run's.
    shard
        What the manifest says of the shard.
    forms
        Type and shape of each array.
    sha256
        Its hash.

    Returns
    -------
    dict
        The arrays by name, memory-mapped.

    Raises
    ------
    ValueError
        If one is of another type or shape, or altered, or the shard's name is none.
    """
    if Path(shard["name"]).name != shard["name"] or shard["name"] in ("", ".", ".."):
        raise invalid("shard", "the name of a folder inside the run's", shard["name"])
    arrays = {}
    for name, (dtype, shape) in forms.items():
        path = folder / shard["name"] / f"{name}.npy"
        arrays[name] = npy.open_array(path, dtype, shape)
        if sha256_file(path) != sha256.get(name):
            raise invalid(f"array {str(path)!r}", "as it was written", "altered bytes")
    return arrays


# Samples that a run may lose when it is stopped: many where they take milliseconds, few where each scans all images.
SHARD = 1024
SLOW_SHARD = 64


def shard_size(model: Model, config: Config, tokens: bool = False) -> int:
    """How many samples a run writes at once."""
    slow = model.semantics is None or config.tolerance == "corpus"
    if tokens:
        slow = not model.locality
    return SLOW_SHARD if slow else SHARD
