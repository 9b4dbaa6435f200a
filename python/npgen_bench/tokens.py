"""`python -m npgen_bench.tokens CORPUS`: Hamming scans beside NumPy's, and samples of tokens beside samples of pixels.

NumPy counts differing bits in each layout that packed tokens can have; layouts are prepared beforehand.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.config import Config
from npgen.corpus import Corpus, load_corpus
from npgen.encoders import embed, load_encoder
from npgen.sampling import Library, PixelPlan, PixelRun, TokenRun
from npgen.storage import write_json
from npgen.tokens import Tokens, load_tokens
from npgen_bench.task import RUNS_PER_TURN, SEED, in_turns, threads_in_words, timed

# Images per block where NumPy works block by block, so that its intermediate arrays stay in the cache.
BLOCK = 4096

Count = Callable[[NDArray[np.uint8]], NDArray[Any]]


def numpy_forms(lines: NDArray[np.uint8]) -> dict[str, Count]:
    """Return NumPy's forms of counting the bits in which the context of each image differs from that of a canvas.

    Parameters
    ----------
    lines
        (T, N) bytes of the contexts of all images.

    Returns
    -------
    dict
        By name, functions that take a canvas's bytes (T,) and return distances (N,).
    """
    terms, count = lines.shape
    padded = np.zeros((-(-terms // 8) * 8, count), np.uint8)
    padded[:terms] = lines
    rows = np.ascontiguousarray(padded.T).view(np.uint64)  # (N, T / 8)
    columns = np.ascontiguousarray(rows.T)  # (T / 8, N)
    images = np.ascontiguousarray(lines.T)  # (N, T)
    bits = np.array([value.bit_count() for value in range(256)], np.uint8)

    def words(canvas: NDArray[np.uint8]) -> NDArray[np.uint64]:
        return np.pad(canvas, (0, len(padded) - terms)).view(np.uint64)

    def in_blocks(canvas: NDArray[np.uint8]) -> NDArray[Any]:
        own, found = words(canvas)[:, None], np.empty(count, np.uint16)
        for start in range(0, count, BLOCK):
            differing = np.bitwise_count(columns[:, start : start + BLOCK] ^ own)
            differing.sum(0, np.uint16, out=found[start : start + BLOCK])
        return found

    return {
        "bytes, image after image": lambda canvas: np.bitwise_count(images ^ canvas).sum(1, np.uint16),
        "bytes, image beside image": lambda canvas: np.bitwise_count(lines ^ canvas[:, None]).sum(0, np.uint16),
        "bytes, by table": lambda canvas: bits[lines ^ canvas[:, None]].sum(0, np.uint16),
        "words, image after image": lambda canvas: np.bitwise_count(rows ^ words(canvas)).sum(1, np.uint16),
        "words, image beside image": lambda canvas: np.bitwise_count(columns ^ words(canvas)[:, None]).sum(
            0, np.uint16
        ),
        "words, image beside image, in blocks": in_blocks,
    }


def measure_scan(tokens: Tokens, gamma: int | None, canvases: int, seconds: float) -> dict[str, tuple[float, float]]:
    """Time the distances of all images at the middle cell, in raster order, on one thread.

    npgen is timed inside the core, since a fill never returns distances to Python.

    Parameters
    ----------
    tokens
        Tokens of N images.
    gamma
        Range γ in cells; None means global.
    canvases
        Number of canvases that npgen scans together.
    seconds
        Time for all contenders together.

    Returns
    -------
    dict
        Seconds per canvas of each contender, npgen first: the median, and the least, which other work on the machine
        disturbs least.
    """
    height, width = tokens.grid
    cell = (height // 2, width // 2)
    known = np.zeros(tokens.grid, np.bool_)
    known.reshape(-1)[: cell[0] * width + cell[1]] = True
    reach = height + width if gamma is None else gamma
    y, x = np.nonzero(known)
    near = np.maximum(np.abs(y - cell[0]), np.abs(x - cell[1])) <= reach
    y, x = y[near], x[near]
    lines = np.ascontiguousarray(tokens.planes[y, x]).reshape(-1, len(tokens))  # (T, N)
    ids = np.random.default_rng(SEED).choice(len(tokens), canvases, replace=len(tokens) < canvases)
    codes = tokens.codes(ids)  # (B, h, w, Y)
    contexts = [np.ascontiguousarray(code[y, x]).reshape(-1) for code in codes]
    settings = _core.TokenSettings(gamma=gamma, disc=False, radius=0, epsilon=0, k_min=1, flip=None, threads=1)
    filler = _core.TokenFiller(tokens.planes, tokens.bits, settings)

    forms = numpy_forms(lines)
    expected = filler.distances(codes[:1], known, cell)[0]
    for name, form in forms.items():
        if not np.array_equal(form(contexts[0]), expected):
            raise RuntimeError(f"NumPy ({name}) must count the same distances")

    def own() -> list[float]:
        found: list[float] = (filler.time_scan(codes, known, cell, RUNS_PER_TURN + 1)[1:] / canvases).tolist()
        return found

    # NumPy takes one canvas at a time, since its best form gains nothing from several; a few are enough to time.
    turns: list[Callable[[], list[float]]] = [own]
    turns += [partial(_turn, form, contexts[: max(1, canvases // 16)]) for form in forms.values()]
    times = in_turns(turns, seconds)
    names = ["npgen", *forms]
    return {name: (float(np.median(one)), min(one)) for name, one in zip(names, times, strict=True)}


def _turn(form: Count, canvases: list[NDArray[np.uint8]]) -> list[float]:
    return [timed(partial(form, canvas), 1)[0] for canvas in canvases]


def measure_samples(
    corpus: Corpus, tokens: Tokens, gamma: int | None, threads: int, batch_size: int, seconds: float
) -> dict[str, float]:
    """Time samples of tokens and of pixels, in turns; return seconds per sample by name."""
    raster = Config(gamma=gamma, order="raster")
    reach = "global" if gamma is None else f"γ {gamma}"
    runs: dict[str, PixelRun | TokenRun] = {}
    for name, model, config in (
        (f"tokens, {reach}, raster", "local", raster),
        ("tokens, global, raster", "local", replace(raster, gamma=None)),
        (f"tokens, {reach}, raster, histogram", "local", replace(raster, draw="histogram")),
        (f"tokens, {reach}, rings", "local", replace(raster, order="rings")),
    ):
        runs[name] = TokenRun(corpus, model, config, SEED, threads, tokens)
    for model in ("full", "local"):
        encoder = keys = None
        if model == "full":
            encoder = load_encoder("auto", corpus)
            keys = embed(corpus, encoder, threads=threads, progress=False)
        plan = PixelPlan(corpus, model, Config(), SEED)
        runs[f"pixels, {model}"] = PixelRun(plan, Library(corpus, keys, threads), encoder, threads)
    turns = []
    for name, run in runs.items():
        # A sample of pixels from all images takes seconds.
        size = max(1, batch_size // 16) if name == "pixels, local" else batch_size
        turns.append(partial(_batch, run, size))
        _batch(run, 1)  # loads weights
    return {name: float(np.median(times)) for name, times in zip(runs, in_turns(turns, seconds), strict=True)}


def _batch(run: PixelRun | TokenRun, size: int) -> list[float]:
    samples = run.blank(run.facts(0, size))
    return [time / size for time in timed(lambda: run.fill(samples, tqdm(disable=True)), 1)]


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m npgen_bench.tokens")
    parser.add_argument("corpus")
    parser.add_argument("--tokens", default="auto", help="auto, or the folder of a token store")
    parser.add_argument("--gamma", type=int, default=5, help="range in cells; 0 stands for global")
    parser.add_argument("--batch", type=int, default=64, help="canvases filled together")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=20, help="for each table")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    given = parser.parse_args()
    corpus = load_corpus(given.corpus)
    tokens = load_tokens(given.tokens, corpus)
    gamma = given.gamma or None
    scan = measure_scan(tokens, gamma, given.batch, given.seconds)
    print(f"{tokens}, distances of all images at one cell, γ {gamma or 'global'}, 1 thread")
    for name, times in scan.items():
        columns = [f"{one * 1e6:9.1f} µs {one / own:6.1f} ×" for one, own in zip(times, scan["npgen"], strict=True)]
        print(f"{name:>38}  median {columns[0]}  least {columns[1]}")
    print()
    samples = measure_samples(corpus, tokens, gamma, given.threads, given.batch, given.seconds)
    print(f"samples per second, batches of {given.batch}, {threads_in_words(given.threads)}, decoding included")
    for name, seconds in samples.items():
        print(f"{name:>38}  {1 / seconds:9.2f}")
    if given.json:
        facts = {name: str(value) for name, value in vars(given).items()}
        write_json(given.json, {"arguments": facts, "scan": scan, "samples": samples})


if __name__ == "__main__":
    main()
