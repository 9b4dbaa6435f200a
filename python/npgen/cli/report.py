"""`npgen report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import Quiet, RunCorpus, RunFolder
from npgen.corpus import find_recorded, open_corpus
from npgen.errors import invalid


def report(
    run: RunFolder,
    corpus: RunCorpus = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; by default report.html in the run.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Show the first so many samples.")] = 64,
    pools: Annotated[
        str | None,
        typer.Option(
            help="Samples whose candidate pools are included: indices with commas between them, or none; default: the "
            "first 4."
        ),
    ] = None,
    megabytes: Annotated[float, typer.Option(help="Size of the file at most.")] = 10.0,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file that shows where every pixel came from, for any browser, without a network."""
    chosen = _indices(pools)
    made = npgen.load_samples(run)
    written = npgen.report(
        made,
        open_corpus(find_recorded(made.corpus_name, corpus)),
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
