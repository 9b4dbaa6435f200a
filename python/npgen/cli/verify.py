"""`npgen verify`."""

from __future__ import annotations

from typing import Annotated

import typer

import npgen
from npgen.cli.common import EncoderName, Quiet, RunCorpus, RunFolder


def verify(
    run: RunFolder,
    corpus: RunCorpus = None,
    tokens: Annotated[str, typer.Option(help="Token store of a run of tokens: auto, or its folder.")] = "auto",
    encoder: EncoderName = "auto",
    quiet: Quiet = False,
) -> None:
    """Replay all traces of a run against its corpus, and name every pixel that differs."""
    report = npgen.verify_run(run, corpus, tokens=tokens, encoder=encoder, progress=not quiet)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)
