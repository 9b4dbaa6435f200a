"""`npgen generate`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import npgen
from npgen.cli.common import (
    PICTURED,
    BatchSize,
    Columns,
    CorpusName,
    Device,
    EncoderName,
    Quiet,
    Scale,
    Threads,
)
from npgen.cli.option_groups import CONFIG_OPTIONS, takes_config
from npgen.config import MODELS, Config
from npgen.errors import MOST_SEED, check_number, check_whole, invalid
from npgen.evaluation import WINDOW
from npgen.output import check_scale
from npgen.runs import part_of, save_pictures
from npgen.storage import write_json

# Largest limit of memory, in GiB: more than any machine has.
MOST_GIBIBYTES = 2**20


def _defaults(others: Mapping[str, Any]) -> Config:
    """Return the settings of the command's model; tokens have no settings of their own."""
    return Config.of_model(others["model"] or "full") if others["tokens"] is None else Config()


@takes_config("JSON file of settings; options override it.", *CONFIG_OPTIONS, defaults=_defaults)
def generate(
    corpus: CorpusName,
    *,
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 16,
    model: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(MODELS)}; by default full, or local with --tokens.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    first: Annotated[int, typer.Option(help="Index of the first sample.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to make or resume; by default runs/CORPUS-MODEL-SEED.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N parts, from 0; `npgen merge` joins them.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="What the processes of torchrun divide: samples or corpus; under torchrun, samples."),
    ] = None,
    encoder: EncoderName = "auto",
    tokens: Annotated[
        str | None, typer.Option(help="Sample tokens, not pixels: auto, or the folder of a token store.")
    ] = None,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    threads: Threads = None,
    memory: Annotated[
        float | None, typer.Option(help="Limit, in GiB, of the resident memory that reading the corpus takes.")
    ] = None,
    quiet: Quiet = False,
    scale: Scale = 2,
    columns: Columns = None,
    config: Config,
) -> None:
    """Generate samples, with their maps, entropies and the trace of every pixel.

    Samples are written as they are made: the same command resumes a run that was interrupted.
    """
    source = npgen.load_corpus(corpus)
    if split is None and "WORLD_SIZE" in os.environ:
        split = "samples"
    part = ""
    if shard is not None:
        offset, n = part_of(n, *_fraction(shard))
        first, part = first + offset, f"-{shard.replace('/', '-of-')}"
    if model is None:
        model = "full" if tokens is None else "local"
    check_whole("n", n, 1, MOST_SEED)
    height, width = config.size or source.images.shape[1:3]
    check_scale(min(n, PICTURED), height, width, columns, scale)
    limit = None if memory is None else int(check_number("memory", memory, above=0, most=MOST_GIBIBYTES) * 2**30)
    space = "" if tokens is None else "-tokens"
    out = out or Path("runs") / f"{source.name}-{model}{space}-{seed}{part}"
    start = time.perf_counter()
    samples = npgen.generate(
        source,
        n,
        model,
        config,
        seed,
        first=first,
        encoder=encoder,
        batch_size=batch_size,
        device=device,
        threads=threads,
        memory=limit,
        progress=not quiet,
        out=out,
        split=split,
        tokens=tokens,
    )
    if not len(samples):
        return  # under torchrun, rank 0 holds the samples
    seconds = time.perf_counter() - start
    entropies = _write_entropies(samples, source, out)
    pictures = save_pictures(samples[:PICTURED], source, out, columns, scale)
    typer.echo(f"{len(samples)} samples of {source.name} ({model}) in {seconds:.1f} s")
    for name in ("shortlist", "window", "seed_size"):
        used, default = getattr(samples.config, name), getattr(config, name)
        if used != default and tokens is None:
            typer.echo(f"{name} {used}: the default, {default}, does not fit this corpus")
    typer.echo(f"image-ID entropy {entropies.mean_image_id:.3f} nats")
    if entropies.mean_class is not None:
        typer.echo(f"class entropy    {entropies.mean_class:.3f} nats")
    if len(samples) > PICTURED:
        typer.echo(f"the pictures show the first {PICTURED} samples")
    for path in pictures:
        typer.echo(str(path))


def _write_entropies(samples: npgen.Samples, source: npgen.Corpus, out: Path) -> npgen.Entropies:
    """Compute the entropies of the samples' maps, write their means, in nats, to `entropy.json`, and return them."""
    side = min(WINDOW, *samples.images.shape[1:3])
    entropies = npgen.entropy(samples, source, side)
    means = {"image_id": entropies.mean_image_id, "class": entropies.mean_class}
    write_json(out / "entropy.json", {"unit": "nats", "window": side, "mean": means})
    return entropies


def _fraction(text: str) -> tuple[int, int]:
    try:
        index, count = map(int, text.split("/"))
    except ValueError as error:
        raise invalid("shard", "I/N with I in 0…N − 1", text) from error
    return index, count
