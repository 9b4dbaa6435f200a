"""`npgen.generate`: samples of a corpus, batch after batch."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from tqdm.auto import tqdm

from npgen.config import Config, Order, find_model, fitted
from npgen.corpus import Corpus, check_corpus
from npgen.encoders import AnyEncoder, embed, load_encoder
from npgen.errors import check_seed, check_threads, check_type, check_whole, invalid
from npgen.runs import RunFacts, RunFolder, Samples, load_samples
from npgen.runtime import MemoryBudget, Ranks, open_ranks
from npgen.sampling.library import Library, SharedLibrary
from npgen.sampling.meaning import places_of
from npgen.sampling.pixel_run import PixelRun
from npgen.sampling.plan import PixelPlan
from npgen.sampling.token_run import TokenRun
from npgen.tokens import Tokens, load_tokens


def generate(
    corpus: Corpus,
    n: int = 16,
    model: str | None = None,
    config: Config | None = None,
    seed: int = 0,
    *,
    first: int = 0,
    encoder: str | os.PathLike[str] | AnyEncoder = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    progress: bool = True,
    out: str | os.PathLike[str] | None = None,
    split: str | None = None,
    tokens: str | os.PathLike[str] | Tokens | None = None,
    gamma: int | None = None,
    order: Order | None = None,
) -> Samples:
    """Generate images: every pixel is a copy of a known pixel of a known image, or is decoded from known tokens.

    A sample depends on corpus, encoder, model, config, seed and its index alone: not on batch size, threads, the other
    samples of the call, or the processes that share the work.

    Parameters
    ----------
    corpus
        N source images of H×W pixels and C channels.
    n
        Number of samples.
    model
        "full": semantics, locality and low level; "local": no semantics; "texture": no locality either, the
        algorithm of Efros and Leung (1999) on a corpus; "semantic": no low level, a uniform draw from the shortlist;
        "class": as "full", with the label of the seed's image in place of the embedding; "conditional": as "full", with
        both, the nearest images of the seed's label. None means "full", or with tokens "local".
    config
        Settings; None means the defaults of the model, `Config.of_model`. Defaults of `shortlist`, `window` and
        `seed_size` that are too large for the corpus become what fits, as `Samples.config` shows.
    seed
        Seed of all draws, 0…2⁶⁴ − 1.
    first
        Index of the first sample: ``generate(..., n=1, first=17)`` is sample 17 of a larger run.
    encoder
        The encoder φ: "auto", "pixels", the name of a shipped encoder, a file, or an encoder. Only "full",
        "semantic" and "conditional" use it.
    batch_size
        Canvases grown side by side.
    device
        Torch device of the encoder; "auto" takes an accelerator if there is one.
    threads
        CPU threads; None means one per core.
    memory
        Limit of resident memory in bytes while a memory-mapped corpus is read, as far as the rest of the process leaves
        room; None means no limit.
    progress
        Show a progress bar.
    out
        Run folder to write the samples to while they are made, shard by shard. After an interruption at most one shard
        is lost, and the same call resumes the run. None keeps the samples in memory only.
    split
        How the processes that torchrun started divide the work, when all of them make this same call: "samples", where
        each reads all of the corpus, or "corpus", where each reads a part of images and keys. Rank 0 writes. None: this
        process makes all samples.
    tokens
        Sample tokens instead of pixels, from the corpus's token store: "auto", a folder, or tokens, as `load_tokens`
        takes them. A canvas then is a grid of cells of a few bits, compared by Hamming distance within the range γ and
        decoded at the end; for the models "local", "class" and "texture". None: sample pixels.
    gamma, order
        With tokens: replace the config's values.

    Returns
    -------
    Samples
        Images (n, H, W, C) uint8 and the trace of every pixel. Ranks other than 0 return no samples.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the corpus has no encoder, or `out` holds another run.
    FileExistsError
        If `out` holds other files, or another process is writing it.
    ConnectionError
        If another rank has stopped.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, n=2, encoder="pixels", seed=0, progress=False)
    >>> samples.images.shape
    (2, 28, 28, 1)
    >>> bool((samples.replay(corpus) == samples.images).all())  # corpus and trace give the images back
    True
    """
    # 1. Check the arguments, before any work.
    name = model or ("full" if tokens is None else "local")
    config = _with_changes(config, name if tokens is None else None, gamma, order)
    _check_arguments(corpus, n, seed, first, batch_size, threads)
    plan = None
    if tokens is None:
        side = int(min(corpus.images.shape[1:3] if corpus.sizes is None else corpus.sizes.min(0)))
        config = fitted(config, len(corpus), min(side, *(config.size or (side,))))
        plan = PixelPlan(corpus, name, config, int(seed))
    elif split == "corpus":
        raise invalid("split", "'samples' or None with tokens", split)
    with open_ranks(split) as ranks, MemoryBudget(memory) as budget:
        process = _Process(ranks, budget, split, device, ranks.threads(threads), progress and ranks.rank == 0)
        # 2. Open what the run reads: images and keys, or tokens.
        ranks.check_equal("corpus", corpus.hash)
        budget.watch(corpus.images)
        run: CanvasRun
        if plan is not None:
            run = _open_pixels(plan, encoder, process)
        else:
            assert tokens is not None
            run = _open_tokens(corpus, name, config, int(seed), tokens, process)
        facts = run.facts(int(first), int(n))
        ranks.check_equal("run", json.dumps(facts.to_json()))
        # 3. Fill the canvases batch after batch, and write them shard after shard.
        samples = _fill_and_write(run, facts, process, int(batch_size), out)
    return samples if out is None or ranks.rank else load_samples(out)


class CanvasRun(Protocol):
    """A run, of pixels or of tokens, as `generate` uses it."""

    @property
    def drawn(self) -> int:
        """Pixels of a sample that are drawn, in each sweep."""

    def facts(self, first: int, n: int) -> RunFacts:
        """Return what n samples of this run are, from index `first` on."""

    def blank(self, facts: RunFacts) -> Samples:
        """Make canvases of which nothing is known yet."""

    def fill(self, batch: Samples, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of one batch, in place."""


@dataclass(frozen=True)
class _Process:
    """A process and what it may use, none of which decides the samples."""

    ranks: Ranks
    budget: MemoryBudget
    split: str | None
    device: str
    threads: int | None
    progress: bool


def _with_changes(config: Config | None, model: str | None, gamma: int | None, order: Order | None) -> Config:
    """Return the settings, or those of a model of pixels, with those given as arguments in place of the config's."""
    check_type("config", config, Config, type(None))
    if config is None and model is not None:
        config = Config.of_model(model)
    changes: dict[str, Any] = {"gamma": gamma, "order": order}
    return replace(config or Config(), **{name: value for name, value in changes.items() if value is not None})


def _check_arguments(corpus: Corpus, n: int, seed: int, first: int, batch_size: int, threads: int | None) -> None:
    check_corpus(corpus)
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        check_whole(name, value, least)
    check_seed(seed)
    check_threads(threads)


def _open_pixels(plan: PixelPlan, encoder: str | os.PathLike[str] | AnyEncoder, process: _Process) -> PixelRun:
    """Open the corpus, and for an embedding the encoder and the keys, as the processes divide them."""
    corpus, ranks, threads = plan.corpus, process.ranks, process.threads
    if process.split == "corpus":
        if plan.config.tolerance != "candidates":
            allowed = "'samples' or None where tolerance is relative to the corpus"
            raise invalid("split", allowed, process.split)
        if plan.bars_seed_shift:
            raise invalid("split", "'samples' or None with a corpus of one image", process.split)
        if len(corpus) < ranks.count:
            raise invalid("corpus", f"at least one image a rank, {ranks.count}", len(corpus))
    phi = keys = None
    if plan.model.embedding:
        phi = load_encoder(encoder, corpus, process.device)
        places_of(phi, plan.config)  # refuses an encoder without places before any work
        ranks.check_equal("encoder", phi.id)
        keys = embed(corpus, phi, threads=threads, progress=process.progress, ranks=ranks)
        process.budget.watch(keys)
    if process.split == "corpus":
        return PixelRun(plan, SharedLibrary(corpus, ranks, keys, threads), phi, threads)
    return PixelRun(plan, Library(corpus, keys, threads, process.budget.budget is not None), phi, threads)


def _open_tokens(
    corpus: Corpus,
    model: str,
    config: Config,
    seed: int,
    tokens: str | os.PathLike[str] | Tokens,
    process: _Process,
) -> TokenRun:
    """Open the corpus's tokens."""
    store = load_tokens(tokens, corpus, device=process.device, threads=process.threads, progress=process.progress)
    process.ranks.check_equal("tokens", store.id)
    if store.autoencoder is None:
        raise invalid("tokens", "of an autoencoder, which makes images of them", store)
    process.budget.watch(store.planes)
    return TokenRun(corpus, model, config, seed, process.threads, store)


def _fill_and_write(
    run: CanvasRun, facts: RunFacts, process: _Process, batch_size: int, out: str | os.PathLike[str] | None
) -> Samples:
    """Make the samples of a call. Without a folder, return them at rank 0; other ranks return none."""
    ranks, n = process.ranks, facts.n
    pixels = run.drawn * (1 + facts.config.sweeps) * facts.config.select  # per sample
    samples = run.blank(facts.part(facts.first, 0))
    with contextlib.ExitStack() as stack:
        folder = None
        if out is not None and ranks.rank == 0:
            folder = stack.enter_context(RunFolder.open(out, facts.to_json()))
        done = ranks.broadcast(folder.done if folder else 0)
        cuts = [0, n] if out is None else [*range(done, n, facts.shard_size), n]
        shares = [_share(facts, process, end - start) for start, end in pairwise(cuts)]
        bar = tqdm(
            total=(done + sum(end - start for start, end in shares)) * pixels,
            initial=done * pixels,
            unit="px",
            unit_scale=True,
            disable=not process.progress,
        )
        stack.enter_context(bar)
        for start, end in pairwise(cuts):
            samples = _fill(run, facts.part(facts.first + start, end - start), process, batch_size, bar)
            if folder:
                folder.append(samples)
    return samples if ranks.rank == 0 else samples[:0]


def _fill(
    run: CanvasRun,
    facts: RunFacts,
    process: _Process,
    batch_size: int,
    bar: tqdm,  # type: ignore[type-arg]
) -> Samples:
    """Fill this rank's share of some samples; at rank 0, return all of them."""
    ranks = process.ranks
    start, end = _share(facts, process, facts.n)
    samples = run.blank(facts.part(facts.first + start, end - start))
    batches = -(-len(samples) // batch_size)
    if process.split == "corpus":
        # Ranks that share a corpus serve each other: all take part in as many batches as the largest share has.
        largest = int(np.diff(ranks.bounds(facts.n)).max())
        batches = max(batches, -(-largest // batch_size))
    for at in range(batches):
        run.fill(samples[at * batch_size : (at + 1) * batch_size], bar)
    if _scans_together(facts, process):
        return samples
    together = samples.mapped(ranks.gather)
    return replace(together, facts=facts.part(facts.first, len(together)))


def _share(facts: RunFacts, process: _Process, n: int) -> tuple[int, int]:
    """Return which of n samples this rank fills: the first one, and the end."""
    return (0, n) if _scans_together(facts, process) else process.ranks.own_range(n)


def _scans_together(facts: RunFacts, process: _Process) -> bool:
    """Return True if every rank fills every canvas, each scanning its own images: then there are no shortlists."""
    return process.split == "corpus" and not find_model(facts.model).semantics
