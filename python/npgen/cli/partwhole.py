"""`npgen partwhole`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import RunCorpus, RunFolder, app, complain


@app.command()
@complain
def partwhole(
    run: RunFolder,
    corpus: RunCorpus = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write, a row a sample; by default partwhole.csv in the run.")
    ] = None,
    window: Annotated[
        int, typer.Option(help="Side of the window whose most frequent class a pixel is counted to, odd.")
    ] = 7,
) -> None:
    """Find the coherent regions of samples: whether they are of one class each, and of several images."""
    from npgen.corpus import load_corpus
    from npgen.evaluation import part_whole
    from npgen.output import csv_table
    from npgen.runs import load_samples
    from npgen.storage import write_bytes

    samples = load_samples(run)
    found = part_whole(samples, load_corpus(corpus or samples.corpus_name), window)
    target = out or run / "partwhole.csv"
    write_bytes(target, csv_table(found.rows()))
    typer.echo(found.markdown())
    typer.echo(f"\n{target}")
