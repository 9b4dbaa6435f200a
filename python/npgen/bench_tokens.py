"""`python -m npgen.bench_tokens CORPUS`: Hamming scans beside NumPy's, samples of tokens beside pixels'.

NumPy counts bits in each layout that packed tokens can have for it, laid out beforehand; the fastest is what counts.
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

from npgen import _core
from npgen.bench_task import SEED, VISIT, in_turns, threads_in_words, timed
from npgen.config import Config, find_model
from npgen.corpus import Corpus, load_corpus
from npgen.embed import embed
from npgen.encoder import load_encoder
from npgen.files import write_json
from npgen.stages import Run
from npgen.token_filling import TokenRun
from npgen.tokens import Tokens, load_tokens
from npgen.trace import Samples

# Images that NumPy looks at together where it goes block by block: what it writes in between stays in the cache.
BLOCK = 4096

Count = Callable[[NDArray[np.uint8]], NDArray[Any]]


def numpy_forms(lines: NDArray[np.uint8]) -> dict[str, Count]:
    """List NumPy's ways of counting how many bits of each image's context differ from a canvas's.

    Parameters
    ----------
    lines
        (T, N): the bytes of the context of all images, side by side.

    Returns
    -------
    dict
        By name, functions of a canvas's bytes (T,) that return distances (N,).
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
    """Time the distances of all images at the middle cell, in raster order, for so many canvases, on one thread.

    npgen's are timed inside the core, as its fills have no use for them outside it. The result is seconds a canvas
    by contender, npgen first, then the forms of NumPy: the median and, as other work on the machine only adds to it,
    the least.
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
            raise RuntimeError(f"NumPy counts otherwise: {name}")

    def own() -> list[float]:
        found: list[float] = (filler.time_scan(codes, known, cell, VISIT + 1)[1:] / canvases).tolist()
        return found

    # NumPy takes canvas after canvas, as its best form has no use for several; a few of them tell the time of one.
    visits: list[Callable[[], list[float]]] = [own]
    visits += [partial(_visit, form, contexts[: max(1, canvases // 16)]) for form in forms.values()]
    times = in_turns(visits, seconds)
    names = ["npgen", *forms]
    return {name: (float(np.median(one)), min(one)) for name, one in zip(names, times, strict=True)}


def _visit(form: Count, canvases: list[NDArray[np.uint8]]) -> list[float]:
    return [timed(partial(form, canvas), 1)[0] for canvas in canvases]


def measure_samples(
    corpus: Corpus, tokens: Tokens, gamma: int | None, threads: int, batch_size: int, seconds: float
) -> dict[str, float]:
    """Time samples of tokens and of pixels, in turns; seconds a sample by name."""
    raster = Config(gamma=gamma, order="raster")
    reach = "global" if gamma is None else f"γ {gamma}"
    runs: dict[str, tuple[str, Run | TokenRun]] = {}
    for name, model, config in (
        (f"tokens, {reach}, raster", "local", raster),
        ("tokens, global, raster", "local", replace(raster, gamma=None)),
        (f"tokens, {reach}, raster, histogram", "local", replace(raster, draw="histogram")),
        (f"tokens, {reach}, rings", "local", replace(raster, order="rings")),
    ):
        runs[name] = model, TokenRun(corpus, model, config, SEED, threads, tokens)
    for model in ("full", "local"):
        of_pixels = Run(corpus, find_model(model), Config(), SEED, threads)
        if model == "full":
            encoder = load_encoder("auto", corpus)
            of_pixels.use_encoder(encoder, embed(corpus, encoder, threads=threads, progress=False))
        runs[f"pixels, {model}"] = model, of_pixels
    visits = []
    for name, (model, run) in runs.items():
        # Pixels that look at all images take seconds each.
        size = max(1, batch_size // 16) if name == "pixels, local" else batch_size
        visits.append(partial(_batch, corpus, model, run, size))
        _batch(corpus, model, run, 1)  # loads weights
    return {name: float(np.median(times)) for name, times in zip(runs, in_turns(visits, seconds), strict=True)}


def _batch(corpus: Corpus, model: str, run: Run | TokenRun, size: int) -> list[float]:
    shape = (size, *corpus.images.shape[1:])
    samples = Samples.empty(shape, model=model, config=run.config, seed=SEED, first=0, corpus=corpus, **run.facts)
    return [time / size for time in timed(lambda: run.fill(samples, tqdm(disable=True)), 1)]


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m npgen.bench_tokens")
    parser.add_argument("corpus")
    parser.add_argument("--tokens", default="auto", help="auto, or the folder of a token store")
    parser.add_argument("--gamma", type=int, default=5, help="range in cells; 0 stands for global")
    parser.add_argument("--batch", type=int, default=64, help="canvases side by side")
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
    print(f"samples a second, batches of {given.batch}, {threads_in_words(given.threads)}, decoding included")
    for name, seconds in samples.items():
        print(f"{name:>38}  {1 / seconds:9.2f}")
    if given.json:
        facts = {name: str(value) for name, value in vars(given).items()}
        write_json(given.json, {"arguments": facts, "scan": scan, "samples": samples})


if __name__ == "__main__":
    main()
