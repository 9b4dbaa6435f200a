"""`npgen generate` and `npgen embed`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import BatchSize, CorpusName, Device, EncoderName, Quiet, Threads, app, complain, settings_from
from npgen.config import MODELS
from npgen.errors import invalid

# Samples in the pictures of a run: more would make files that few programs open.
PICTURED = 1024


@app.command()
@complain
def generate(
    corpus: CorpusName,
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 16,
    model: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(MODELS)}; by default full, or of tokens local.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    first: Annotated[int, typer.Option(help="Index of the first sample.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to make or go on with; by default runs/CORPUS-MODEL-SEED.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N parts, from 0; `npgen merge` joins them.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="What the processes of torchrun divide: samples or corpus; `samples` if it started them."),
    ] = None,
    encoder: EncoderName = "auto",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    threads: Threads = None,
    memory: Annotated[
        float | None, typer.Option(help="Resident memory in GiB that reading the corpus is kept within.")
    ] = None,
    quiet: Quiet = False,
    scale: Annotated[int, typer.Option(min=1, help="Side of an image pixel in the pictures.")] = 2,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Images in a row of the pictures; by default about a square.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings; options override it.")] = None,
    window: Annotated[int | None, typer.Option(help="Side w of the context window.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Gaussian's σ in pixels; by default w / 6.4.")] = None,
    locality: Annotated[int | None, typer.Option(help="Largest distance R of pixel and source.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Pool: within (1 + ε) of the nearest.")] = None,
    tolerance: Annotated[
        str | None, typer.Option(help="ε relative to the nearest of: candidates, or the corpus.")
    ] = None,
    k_min: Annotated[int | None, typer.Option(help="Pool: at least this many.")] = None,
    quota: Annotated[int | None, typer.Option(help="Pixels of a window that may come from one image.")] = None,
    shortlist: Annotated[int | None, typer.Option(help="Length K of the shortlist.")] = None,
    semantic: Annotated[str | None, typer.Option(help="topk, or threshold: within (1 + ε) of the nearest.")] = None,
    candidates: Annotated[str | None, typer.Option(help="best or all positions of an image.")] = None,
    anchor_weight: Annotated[float | None, typer.Option(help="Weight β of the anchor in the query.")] = None,
    seed_size: Annotated[int | None, typer.Option(help="Side s of the seed patch.")] = None,
    seed_at: Annotated[
        tuple[int, int] | None, typer.Option(help="Corner (y x) of the seed patch; by default centred.")
    ] = None,
    exclude_seed_image: Annotated[
        bool | None, typer.Option("--exclude-seed-image/--include-seed-image", help="Bar the seed's image.")
    ] = None,
    sweeps: Annotated[int | None, typer.Option(help="Visit all drawn pixels again so many times.")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width of the samples, for a model without locality.")
    ] = None,
    stage_pixels: Annotated[int | None, typer.Option(help="Pixels filled per query; default a ring.")] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Sample tokens, not pixels: auto, or the folder of a token store.")
    ] = None,
    gamma: Annotated[int | None, typer.Option(help="Tokens: range γ of contexts in cells; by default all.")] = None,
    metric: Annotated[str | None, typer.Option(help="Tokens: chebyshev or l2 distance within γ.")] = None,
    order: Annotated[str | None, typer.Option(help="Tokens: rings around a seed patch, or raster.")] = None,
    draw: Annotated[str | None, typer.Option(help="Tokens: from a pool, or by the weights of a histogram.")] = None,
    flip: Annotated[float | None, typer.Option(help="Tokens: bit-flip probability of the histogram.")] = None,
) -> None:
    """Generate samples, with their maps, entropies and the trace of every pixel.

    Samples are written as they are made: the same command goes on with a run that was interrupted.
    """
    from npgen.corpus import load_corpus
    from npgen.evaluation import WINDOW, entropy
    from npgen.runs import part_of, save_pictures
    from npgen.sampling import generate as run
    from npgen.storage import write_json

    settings = settings_from(config, locals())
    if split is None and "WORLD_SIZE" in os.environ:
        split = "samples"
    source = load_corpus(corpus)
    part = ""
    if shard is not None:
        offset, n = part_of(n, *_fraction(shard))
        first, part = first + offset, f"-{shard.replace('/', '-of-')}"
    if model is None:
        model = "full" if tokens is None else "local"
    space = "" if tokens is None else "-tokens"
    out = out or Path("runs") / f"{source.name}-{model}{space}-{seed}{part}"
    start = time.perf_counter()
    samples = run(
        source,
        n,
        model,
        settings,
        seed,
        first=first,
        encoder=encoder,
        batch_size=batch_size,
        device=device,
        threads=threads,
        memory=None if memory is None else int(memory * 2**30),
        progress=not quiet,
        out=out,
        split=split,
        tokens=tokens,
    )
    if not len(samples):
        return  # rank 0 has them
    seconds = time.perf_counter() - start
    side = min(WINDOW, *samples.images.shape[1:3])
    entropies = entropy(samples, source, side)
    summary = {"image_id": entropies.mean_image_id, "class": entropies.mean_class}
    write_json(out / "entropy.json", {"unit": "nats", "window": side, "mean": summary})
    pictures = save_pictures(samples[:PICTURED], source, out, columns, scale)
    typer.echo(f"{len(samples)} samples of {source.name} ({model}) in {seconds:.1f} s")
    typer.echo(f"image-ID entropy {entropies.mean_image_id:.3f} nats")
    if entropies.mean_class is not None:
        typer.echo(f"class entropy    {entropies.mean_class:.3f} nats")
    if len(samples) > PICTURED:
        typer.echo(f"the pictures show the first {PICTURED} samples")
    for path in pictures:
        typer.echo(str(path))


def _fraction(text: str) -> tuple[int, int]:
    try:
        index, count = map(int, text.split("/"))
    except ValueError as error:
        raise invalid("shard", "I/N with I in 0…N − 1", text) from error
    return index, count


@app.command()
@complain
def embed(
    corpus: CorpusName,
    encoder: EncoderName = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Make the keys of a corpus; `generate` does so on demand."""
    from npgen.corpus import load_corpus
    from npgen.encoders import embed as make
    from npgen.encoders import keys_path, load_encoder

    source = load_corpus(corpus)
    phi = load_encoder(encoder, source, device)
    keys = make(source, phi, threads=threads, progress=not quiet)
    typer.echo(f"{keys.shape[0]} keys of width {keys.shape[1]}: {keys_path(source, phi.id)}")
