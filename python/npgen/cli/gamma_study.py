"""`npgen gamma-study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import CorpusName
from npgen.cli.option_groups import StudyOptions, takes_config, takes_study
from npgen.config import Config
from npgen.studies import parse_gammas


@takes_study
@takes_config("JSON file of settings that tokens are drawn with.")
def gamma_study(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier study, which is resumed.")],
    *,
    gammas: Annotated[
        str, typer.Option(help="Ranges in pixels or cells, with commas between them; global has no limit.")
    ] = "1,2,3,5,8,12,global",
    n: Annotated[int, typer.Option("-n", help="Samples of each.")] = 200,
    kinds: Annotated[str, typer.Option(help="Samplers, with commas between them.")] = "pixels,tokens,twin",
    images: Annotated[int | None, typer.Option(min=2, help="Number of source images; by default all.")] = None,
    tokens: Annotated[str, typer.Option(help="Token store: auto, or its folder.")] = "auto",
    config: Config,
    twin_steps: Annotated[int, typer.Option(min=1, help="Training steps of each twin.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the images drawn.")] = 0,
    study: StudyOptions,
) -> None:
    """Measure how samplers turn from generating to memorising as their range grows, in a table and a plot."""
    measured = npgen.gamma_study(
        npgen.load_corpus(corpus),
        out,
        parse_gammas(gammas),
        n,
        kinds=kinds.split(","),
        images=images,
        tokens=tokens,
        config=config,
        twin_steps=twin_steps,
        seed=seed,
        **study.arguments(),
    )
    typer.echo(measured.markdown())
    typer.echo(str(out / "gamma.png"))
