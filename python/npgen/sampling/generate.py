"""`npgen.generate`: samples of a corpus, batch after batch."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from npgen.config import Config, Order, find_model
from npgen.corpus import Corpus
from npgen.encoders import AnyEncoder, embed, load_encoder
from npgen.errors import MOST_THREADS, check_type, check_whole, invalid
from npgen.runs import RunFolder, Samples, load_samples, shard_size
from npgen.runtime import MemoryBudget, Ranks, open_ranks
from npgen.sampling.library import Library, SharedLibrary
from npgen.sampling.pixel_run import Run
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
    """Generate images, every pixel of which is a copy of a known pixel of a known image, or comes from a known token.

    A sample is a function of corpus, encoder, model, config, seed and its index alone: batch size, threads and the
    other samples of the call have no part in it, nor the processes that share the work.

    Parameters
    ----------
    corpus
        N source images of H×W pixels and C channels.
    n
        Number of samples.
    model
        "full": semantics, locality and low level; "local": no semantics; "texture": no locality either, the
        algorithm of Efros and Leung (1999) on a corpus; "semantic": no low level, a uniform draw from the shortlist;
        "class": as "full", with the label of the seed's image in place of its meaning. None: "full", or of tokens
        "local".
    config
        Settings; None means the defaults.
    seed
        Seed of all draws, 0…2⁶⁴ − 1.
    first
        Index of the first sample: ``generate(..., n=1, first=17)`` is sample 17 of a larger run.
    encoder
        What images mean: "auto", "pixels", the name of a shipped encoder, a file, or an encoder. Used by "full" and
        "semantic" alone.
    batch_size
        Canvases grown side by side.
    device
        Torch device of the encoder; "auto" takes an accelerator if there is one.
    threads
        CPU threads; None means one a core.
    memory
        Resident memory in bytes that reading a memory-mapped corpus is kept within, as far as the rest of the process
        leaves room; None means no limit.
    progress
        Show a progress bar.
    out
        Run folder to write the samples to while they are made, shard by shard, so that no more than one is lost
        whatever happens: the same call goes on with what is there. None keeps them in memory only.
    split
        What the processes that torchrun started divide among them, all making this same call: "samples", each with all
        of the corpus; or "corpus", each with a part of images and keys. Rank 0 writes. None: this process alone makes
        all.
    tokens
        Sample in token space, from the corpus's token store: "auto", a folder, or tokens, as `load_tokens` takes them.
        Canvases are of cells of a few bits, compared by Hamming distance within the range γ, and decoded in the end;
        for the models "local", "class" and "texture". None: sample pixels.
    gamma, order
        Of tokens: in place of the config's.

    Returns
    -------
    Samples
        Images (n, H, W, C) uint8 and the trace of every pixel. At ranks other than 0 there are none of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the corpus has no encoder, or `out` holds another run.
    FileExistsError
        If `out` holds something else, or is being written.
    ConnectionError
        If another rank is gone.
    """
    if model is None:
        model = "full" if tokens is None else "local"
    parts = find_model(model)
    config = config or Config()
    check_type("corpus", corpus, Corpus)
    check_type("config", config, Config)
    changes: dict[str, Any] = {"gamma": gamma, "order": order}
    config = replace(config, **{name: value for name, value in changes.items() if value is not None})
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        check_whole(name, value, least)
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise invalid("seed", "a whole number in 0…2⁶⁴ − 1", seed)
    if threads is not None:
        check_whole("threads", threads, 1, MOST_THREADS)
    if tokens is not None and split == "corpus":
        raise invalid("split", "'samples' or None with tokens", split)
    with open_ranks(split) as ranks, MemoryBudget(memory) as budget:
        threads = ranks.threads(threads)
        run: Run | TokenRun
        if tokens is None:
            library = _library(corpus, config, split, ranks, threads, apart=memory is not None)
            run = Run(corpus, parts, config, int(seed), threads, library)
        else:
            ranks.check_equal("corpus", corpus.hash)
            store = load_tokens(tokens, corpus, device=device, threads=threads, progress=progress and not ranks.rank)
            ranks.check_equal("tokens", store.id)
            if store.autoencoder is None:
                raise invalid("tokens", "of an autoencoder, which makes images of them", store)
            run = TokenRun(corpus, model, config, int(seed), threads, store)
            budget.watch(store.planes)
        budget.watch(corpus.images)
        progress = progress and ranks.rank == 0
        if isinstance(run, Run) and parts.semantics == "embedding":
            phi = load_encoder(encoder, corpus, device)
            ranks.check_equal("encoder", phi.id)
            run.use_encoder(phi, embed(corpus, phi, threads=threads, progress=progress, ranks=ranks))
            budget.watch(run.library.keys)

        def blank(shape: tuple[int, ...], first: int) -> Samples:
            return Samples.empty(
                shape, model=model, config=config, seed=int(seed), first=first, corpus=corpus, **run.facts
            )

        shape = (*run.shape, corpus.images.shape[3])
        facts = {**blank((0, *shape), first=int(first)).provenance(), "n": int(n)}
        ranks.check_equal("run", json.dumps(facts))
        pixels = run.drawn * (1 + config.sweeps)

        # Canvases that any image may serve have to be wherever there are some.
        everywhere = split == "corpus" and parts.semantics is None
        share = (lambda total: (0, total)) if everywhere else ranks.own_range

        def fill(start: int, end: int) -> Samples:
            """Fill this rank's share of some samples of the call; at rank 0, return all of them."""
            own = share(end - start)
            samples = blank((own[1] - own[0], *shape), first=int(first) + start + own[0])
            # Ranks that share a corpus go from batch to batch together, even those that have no more of their own.
            together = int(np.diff(ranks.bounds(end - start)).max())
            for at in range(0, max(len(samples), together if split == "corpus" else 0), batch_size):
                run.fill(samples[at : at + batch_size], bar)
            return samples if everywhere else replace(samples.mapped(ranks.gather), first=int(first) + start)

        with contextlib.ExitStack() as stack:
            folder = None if out is None or ranks.rank else stack.enter_context(RunFolder.open(out, facts))
            done = ranks.broadcast(folder.done if folder else 0)
            shards = [0, n] if out is None else [*range(done, n, shard_size(parts, config, tokens is not None)), n]
            own = sum(np.diff(share(end - start))[0] for start, end in pairwise(shards))
            bar = tqdm(
                total=(done + own) * pixels, initial=done * pixels, unit="px", unit_scale=True, disable=not progress
            )
            stack.enter_context(bar)
            for start, end in pairwise(shards):
                samples = fill(start, end)
                if folder:
                    folder.append(samples)
    if ranks.rank:
        return blank((0, *shape), first=int(first))
    return samples if out is None else load_samples(out)


def _library(
    corpus: Corpus, config: Config, split: str | None, ranks: Ranks, threads: int | None, apart: bool
) -> Library:
    """Open the corpus as it is divided."""
    ranks.check_equal("corpus", corpus.hash)
    if split != "corpus":
        return Library(corpus, threads, apart)
    if config.tolerance != "candidates":
        raise invalid("split", "'samples' or None where tolerance is relative to the corpus", split)
    if len(corpus) < ranks.count:
        raise invalid("corpus", f"at least one image a rank, {ranks.count}", len(corpus))
    return SharedLibrary(corpus, ranks, threads)
