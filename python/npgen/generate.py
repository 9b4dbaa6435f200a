"""`npgen.generate`: samples of a corpus, batch after batch."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from npgen.config import Config, find_model
from npgen.corpus import Corpus
from npgen.encoder import AnyEncoder, load_encoder
from npgen.errors import invalid
from npgen.memory import MemoryBudget
from npgen.runs import RunFolder
from npgen.stages import Run, shard_size
from npgen.trace import Samples, load_samples


def generate(
    corpus: Corpus,
    n: int = 16,
    model: str = "full",
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
) -> Samples:
    """Generate images, every pixel of which is a copy of a known pixel of a known image.

    A sample is a function of corpus, encoder, model, config, seed and its index alone: batch size, threads and the
    other samples of the call have no part in it.

    Parameters
    ----------
    corpus
        N source images of H×W pixels and C channels.
    n
        Number of samples.
    model
        "full": semantics, locality and low level; "local": no semantics; "texture": no locality either, the
        algorithm of Efros and Leung (1999) on a corpus; "semantic": no low level, a uniform draw from the shortlist;
        "class": as "full", with the label of the seed's image in place of its meaning.
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

    Returns
    -------
    Samples
        Images (n, H, W, C) uint8 and the trace of every pixel.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the corpus has no encoder, or `out` holds another run.
    FileExistsError
        If `out` holds something else, or is being written.
    """
    parts = find_model(model)
    config = config or Config()
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise invalid(name, f"at least {least}", value)
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise invalid("seed", "a whole number in 0…2⁶⁴ − 1", seed)
    if threads is not None and threads < 1:
        raise invalid("threads", "at least 1 or None", threads)
    run = Run(corpus, parts, config, int(seed), threads, apart=memory is not None)
    with MemoryBudget(memory) as budget:
        budget.watch(corpus.images)
        if parts.semantics == "embedding":
            run.use_encoder(load_encoder(encoder, corpus, device), progress)
            budget.watch(run.keys)
        blank = partial(
            Samples.empty,
            model=model,
            config=config,
            seed=int(seed),
            corpus=corpus,
            encoder_id=run.encoder.id if run.encoder else None,
            queries=run.queries,
        )
        shape = (*run.shape, corpus.images.shape[3])
        pixels = len(run.order.pixels) * (1 + config.sweeps)
        bar = tqdm(total=n * pixels, unit="px", unit_scale=True, disable=not progress)

        def filled(start: int, end: int) -> Samples:
            samples = blank((end - start, *shape), first=int(first) + start)
            for at in range(0, len(samples), batch_size):
                run.fill(samples[at : at + batch_size], bar)
            return samples

        if out is None:
            with bar:
                return filled(0, n)
        facts = {**blank((0, *shape), first=int(first)).provenance(), "n": int(n)}
        with bar, RunFolder.open(out, facts) as folder:
            bar.update(folder.done * pixels)
            while folder.done < n:
                folder.append(filled(folder.done, min(folder.done + shard_size(parts, config), n)))
    return load_samples(out)
