"""Run folders of samples read back: as a whole, or shard by shard."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import invalid
from npgen.runs.coarse import coarse_forms, coarse_of
from npgen.runs.facts import RunFacts
from npgen.runs.samples import Samples
from npgen.runs.shards import ArrayForm, Shard, check_finished, read_arrays, read_manifest
from npgen.runs.trace import TRACE_DTYPES, Trace


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
        If it is damaged, unfinished, no run, or of a newer npgen.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> npgen.generate(corpus, n=2, model="class", progress=False).save("run")
    >>> npgen.load_samples("run")
    Samples(n=2, size=28×28×1, model='class', seed=0, first=0, corpus='mnist-5k')
    """
    folder = Path(path)
    facts, shards = read_manifest(folder)
    check_finished(folder, facts.n, shards, "generate")
    return concatenated(list(read_shards(folder, facts, shards)))


def read_shards(folder: Path, facts: RunFacts, shards: Sequence[Shard]) -> Iterator[Samples]:
    """Read the samples of a run shard by shard, each checked against its hashes."""
    for shard in shards:
        arrays = _read_shard(folder, shard, facts)
        yield Samples(
            facts.part(shard.first, shard.n),
            trace=Trace(*(arrays.pop(name) for name in TRACE_DTYPES)),
            coarse=coarse_of(arrays),
            **arrays,
        )


def concatenated(parts: Sequence[Samples]) -> Samples:
    """Join consecutive samples of one run, in memory."""
    others = iter(zip(*(part.arrays() for part in parts[1:]), strict=True))
    return parts[0].mapped(lambda array: np.concatenate([array, *next(others, ())]))


def _read_shard(folder: Path, shard: Shard, facts: RunFacts) -> dict[str, NDArray[Any]]:
    n = shard.n
    forms: dict[str, ArrayForm] = {
        "images": (np.uint8, (n, None, None, None)),
        "anchor": (np.int32, (n,)),
        **{name: (dtype, (n, None, None)) for name, dtype in TRACE_DTYPES.items()},
    }
    optional: dict[str, ArrayForm] = {
        "fallbacks": (np.int32, (n,)),
        "queries": (np.float32, (n, None, None)),
        "densities": (np.float32, (n, facts.config.select)),
        "grown": (np.int32, (n, None, None, 3)),
        "seam_energy": (np.float64, (n, 2)),
        "codes": (np.uint8, (n, None, None, None)),
        **coarse_forms(n),
    }
    forms |= {name: form for name, form in optional.items() if name in shard.sha256}
    counted = "fallbacks" in shard.sha256 or facts.config.tolerance == "candidates"
    for name in (*forms, *(() if counted else ("fallbacks",))):
        if name not in shard.sha256:
            raise ValueError(f"run {str(folder)!r} must have a complete manifest, got one without {name!r}")
    arrays = read_arrays(folder, shard, forms)
    # Version 1 did not count fallbacks; there are none where the tolerance is relative to the candidates.
    arrays.setdefault("fallbacks", np.zeros(n, np.int32))
    frame = arrays["images"].shape[:3]
    for name in TRACE_DTYPES:
        if arrays[name].shape != frame:
            raise invalid(f"{name} of shard {shard.name}", f"of shape {frame}", arrays[name].shape)
    return arrays
