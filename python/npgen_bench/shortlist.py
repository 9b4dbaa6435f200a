"""The search of the nearest keys of a canvas: npgen's and that of each library, timed in turns."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import load_corpus
from npgen.encoders import embed, load_encoder
from npgen.sampling import known_rect
from npgen_bench.libraries import LIBRARIES, Floats, Search, not_installed, prepare_search, use_threads
from npgen_bench.task import NPGEN, RUNS_PER_TURN, SEED, Row, Task, in_turns, timed

QUERIES = 64


def measure_shortlist(task: Task) -> list[Row]:
    """Time the search of the nearest keys of each canvas, npgen's and that of all libraries, in turns."""
    corpus = load_corpus(task.corpus)
    encoder = load_encoder(task.encoder, corpus)
    keys = embed(corpus, encoder, threads=task.threads, progress=False)  # (N, D)
    height, width = corpus.images.shape[1:3]
    ids = np.sort(np.random.default_rng(SEED).permutation(len(corpus))[:QUERIES])
    # Half of each side is known, as it is about half-way through a sample.
    known = known_rect((height, width), (height // 4, width // 4, height // 2, width // 2))
    queries = encoder.encode(np.asarray(corpus.images[ids]), known, threads=task.threads)  # (B, D)
    none_barred = np.full(len(queries), -1, np.int32)
    k = task.config.shortlist
    what = f"shortlist, {k} of {len(corpus)} keys of width {keys.shape[1]}, {len(queries)} queries at once"

    def own(queries: Floats) -> NDArray[np.int32]:
        return _core.shortlist(keys, queries, k, none_barred, task.threads)[0]

    expected = own(queries)
    contenders: list[tuple[Row, Search]] = []
    if task.includes(NPGEN):
        contenders.append((Row(what, NPGEN, task.threads, "query", None), own))
    missing = []
    for library in filter(task.includes, LIBRARIES):
        row = Row(what, library, task.threads, "query", None)
        try:
            use_threads(library, task.threads)
            search = prepare_search(library, keys, k)
        except ModuleNotFoundError as error:
            row.remark = not_installed(error)
            missing.append(row)
            continue
        if not same_ids(keys, queries, expected, search(queries)):
            raise RuntimeError(f"the shortlist of {library} is not npgen's")
        contenders.append((row, search))
    turns = [partial(_turn, search, queries) for _, search in contenders]
    for (row, _), seconds in zip(contenders, in_turns(turns, task.seconds), strict=True):
        row.seconds = float(np.median(seconds)) / len(queries)
        row.details = {"repeats": len(seconds), "queries": len(queries)}
    return [row for row, _ in contenders] + missing


def _turn(search: Search, queries: Floats) -> list[float]:
    return timed(lambda: search(queries), RUNS_PER_TURN + 1)[1:]


def same_ids(
    keys: Floats,
    queries: Floats,
    expected: NDArray[np.integer],
    found: NDArray[np.integer],
    tolerance: float = 1e-5,
) -> bool:
    """Return whether two shortlists (B, K) hold the same ids, except where products differ by at most `tolerance`."""
    for query, own_ids, other_ids in zip(queries.astype(np.float64), expected, found, strict=True):
        if len(set(other_ids.tolist())) != len(own_ids):
            return False
        last = keys[own_ids].astype(np.float64) @ query
        differing = np.setxor1d(own_ids, other_ids)
        if (np.abs(keys[differing].astype(np.float64) @ query - last.min()) > tolerance).any():
            return False
    return True
