"""Run folders read back: whole, or shard by shard."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.errors import invalid
from npgen.runs.samples import TRACE_DTYPES, Samples, Trace
from npgen.runs.shards import ArrayForm, read_arrays, read_manifest


def load_samples(path: str | os.PathLike[str]) -> Samples:
    """Read a run folder that `Samples.save` or `npgen generate` wrote.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    Samples
        All samples, in memory.

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    ValueError
        If it is damaged, no run, or of a newer npgen.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    shards = list(read_shards(folder, manifest))
    there = sum(map(len, shards))
    if there != manifest["n"] or not shards:
        whole = f"of {manifest['n']} samples (generate goes on with an interrupted run)"
        raise invalid(f"run {str(folder)!r}", whole, there)
    return joined(shards)


def read_shards(folder: Path, manifest: dict[str, Any]) -> Iterator[Samples]:
    """Read the samples of a run shard by shard, each checked against its hashes."""
    try:
        config = Config.from_json(manifest["config"])
        first = manifest["first"]
        for shard in manifest["shards"]:
            arrays = _load_shard(folder, shard)
            yield Samples(
                images=arrays["images"],
                trace=Trace(*(arrays[key] for key in TRACE_DTYPES)),
                anchor=arrays["anchor"],
                model=manifest["model"],
                config=config,
                seed=manifest["seed"],
                first=first,
                corpus_name=manifest["corpus"]["name"],
                corpus_hash=manifest["corpus"]["hash"],
                encoder_id=manifest["encoder"],
                fallbacks=arrays["fallbacks"],
                queries=arrays.get("queries"),
                codes=arrays.get("codes"),
                tokens_id=manifest.get("tokens"),
            )
            first += shard["n"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"run {str(folder)!r} must have a whole manifest, got one without {error}") from error


def joined(parts: Sequence[Samples]) -> Samples:
    """Put consecutive samples of one run together, in memory."""
    others = iter(zip(*(part.arrays() for part in parts[1:]), strict=True))
    return parts[0].mapped(lambda array: np.concatenate([array, *next(others, ())]))


def _load_shard(folder: Path, shard: dict[str, Any]) -> dict[str, NDArray[Any]]:
    n = shard["n"]
    forms: dict[str, ArrayForm] = {
        "images": (np.uint8, (n, None, None, None)),
        "anchor": (np.int32, (n,)),
        "fallbacks": (np.int32, (n,)),
        **{key: (dtype, (n, None, None)) for key, dtype in TRACE_DTYPES.items()},
    }
    optional: dict[str, ArrayForm] = {
        "queries": (np.float32, (n, None, None)),
        "codes": (np.uint8, (n, None, None, None)),
    }
    forms |= {key: form for key, form in optional.items() if key in shard["sha256"]}
    arrays = read_arrays(folder, shard, forms, {key: shard["sha256"][key] for key in forms})
    frame = arrays["images"].shape[:3]
    for key in TRACE_DTYPES:
        if arrays[key].shape != frame:
            raise invalid(f"{key} of shard {shard['name']}", f"of shape {frame}", arrays[key].shape)
    return arrays
