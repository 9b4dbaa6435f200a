"""`npgen report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import Quiet, RunCorpus, RunFolder, app, complain
from npgen.errors import invalid


@app.command()
@complain
def report(
    run: RunFolder,
    corpus: RunCorpus = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; by default report.html in the run.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Show the first so many samples.")] = 64,
    pools: Annotated[
        str | None,
        typer.Option(
            help="Samples whose candidate pools are kept: indices with commas between them, or none; default: first 4."
        ),
    ] = None,
    megabytes: Annotated[float, typer.Option(help="Size of the file at most.")] = 10.0,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file that shows where every pixel came from, for any browser, without a network."""
    from npgen.corpus import load_corpus
    from npgen.reports import report as write
    from npgen.runs import load_samples

    chosen = _indices(pools)
    made = load_samples(run)
    written = write(
        made,
        load_corpus(corpus or made.corpus_name),
        out or run / "report.html",
        count=samples,
        pools=chosen,
        megabytes=megabytes,
        progress=not quiet,
    )
    for note in written.notes:
        typer.echo(note)
    typer.echo(f"{written.path} ({written.size / 1e6:.1f} MB)")


def _indices(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if text == "none":
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise invalid("pools", "indices with commas between them, or none", text) from error
