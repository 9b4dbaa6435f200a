"""`npgen frontier`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import CorpusName, EncoderName
from npgen.cli.option_groups import StudyOptions, takes_study
from npgen.studies import read_settings


@takes_study
def frontier(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call, which is resumed.")],
    *,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="JSON array of rows: objects of name, model, preset, config and encoder. By default models with a "
            "shortlist at several shares."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Images per row.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the real images drawn.")] = 0,
    encoder: EncoderName = "auto",
    study: StudyOptions,
) -> None:
    """Set quality against novelty: settings beside controls that need no sampler, as table, plot and page."""
    found = npgen.frontier(
        npgen.load_corpus(corpus),
        out,
        None if settings is None else read_settings(settings),
        n,
        seed,
        encoder=encoder,
        **study.arguments(),
    )
    typer.echo(found.markdown())
    typer.echo(str(out / "frontier.html"))
