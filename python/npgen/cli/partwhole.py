"""`npgen partwhole`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import RunCorpus, RunFolder
from npgen.corpus import find_recorded, open_corpus
from npgen.output import csv_table
from npgen.storage import write_bytes


def partwhole(
    run: RunFolder,
    corpus: RunCorpus = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write, one row per sample; by default partwhole.csv in the run.")
    ] = None,
    window: Annotated[
        int, typer.Option(help="Side of the window whose most frequent class counts as a pixel's class, odd.")
    ] = 7,
) -> None:
    """Find the coherent regions of samples: whether they are of one class each, and of several images."""
    samples = npgen.load_samples(run)
    found = npgen.part_whole(samples, open_corpus(find_recorded(samples.corpus_name, corpus)), window)
    target = out or run / "partwhole.csv"
    write_bytes(target, csv_table(found.rows()))
    typer.echo(found.markdown())
    typer.echo(f"\n{target}")
