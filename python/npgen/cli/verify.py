"""`npgen verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import Quiet, app, complain


@app.command()
@complain
def verify(
    run: Annotated[Path, typer.Argument(help="Run folder that `npgen generate` made.")],
    corpus: Annotated[
        str | None, typer.Option(help="Corpus of the run; by default the one of the name the run gives.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Replay all traces of a run against its corpus, and name every pixel that differs."""
    from npgen.verification import verify_run

    report = verify_run(run, corpus, progress=not quiet)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)
