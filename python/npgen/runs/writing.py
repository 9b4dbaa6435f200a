"""Samples as files: the arrays of shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from npgen.runs.coarse import COARSE_ARRAYS
from npgen.runs.shards import write_shards
from npgen.runs.trace import TRACE_DTYPES
from npgen.storage import npy


def write_run(samples: Any, folder: Path) -> None:
    """Write manifest and shards of `Samples` into a folder in the making."""
    write_shards(samples, folder, samples.facts.shard_size, write_shard)


def write_shard(samples: Any, folder: Path) -> dict[str, Any]:
    """Write `Samples` into a folder, and return the manifest's entry for it."""
    arrays: dict[str, NDArray[Any]] = {
        "images": samples.images,
        "anchor": samples.anchor,
        "fallbacks": samples.fallbacks,
        **dict(zip(TRACE_DTYPES, samples.trace.arrays(), strict=True)),
        **samples.optional_arrays(),
    }
    if samples.coarse is not None:
        arrays |= dict(zip(COARSE_ARRAYS.values(), samples.coarse.arrays(), strict=True))
    hashes = {key: npy.write_array(folder / f"{key}.npy", array) for key, array in arrays.items()}
    return {"name": f"{samples.first:08d}", "n": len(samples), "sha256": hashes}
