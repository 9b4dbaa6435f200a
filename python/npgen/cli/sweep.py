"""`npgen sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import CorpusName, EncoderName
from npgen.cli.option_groups import StudyOptions, takes_config, takes_study
from npgen.config import MODELS, Config
from npgen.studies import parse_grid


@takes_study
@takes_config("JSON file of the base settings.")
def sweep(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier sweep, which is resumed.")],
    *,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE,…", help="Values of a setting. May be given several times."),
    ] = None,
    images: Annotated[str | None, typer.Option(help="Numbers of source images, with commas between them.")] = None,
    product: Annotated[
        bool, typer.Option("--product/--one-at-a-time", help="All combinations, or one change to the base at a time.")
    ] = False,
    n: Annotated[int, typer.Option("-n", help="Samples at each setting.")] = 500,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = "full",
    config: Config,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the images drawn.")] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the samples as run folders.")] = False,
    encoder: EncoderName = "auto",
    study: StudyOptions,
) -> None:
    """Measure what settings do: quality, entropies, pools and time over a grid, in tables and plots."""
    axes = list(sets or ()) + ([f"images={images}"] if images is not None else [])
    swept = npgen.sweep(
        npgen.load_corpus(corpus),
        out,
        parse_grid(axes),
        n,
        config,
        model,
        seed,
        product=product,
        keep=keep,
        encoder=encoder,
        **study.arguments(),
    )
    typer.echo(swept.markdown())
    typer.echo(str(out / "results.csv"))
