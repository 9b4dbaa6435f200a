"""`npgen figures`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

import npgen
from npgen.cli.common import RunCorpus, RunFolder
from npgen.corpus import find_recorded, open_corpus


def figures(
    run: RunFolder,
    corpus: RunCorpus = None,
    sample: Annotated[
        list[int] | None,
        typer.Option(help="Index of a sample of the run, from 0. May be given several times. By default the first 4."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default RUN/figures.")] = None,
    format: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="Format of the files.")] = "png",
) -> None:
    """Draw where the pixels of samples came from: maps, sources, timelines (Figures 5, 6, 10, 11 of the paper)."""
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('figures need the extra `figures`: pip install "npgen[figures]"')
    from npgen.tracing import save_figures

    samples = npgen.load_samples(run)
    source = open_corpus(find_recorded(samples.corpus_name, corpus))
    save_figures(samples, source, out or run / "figures", sample, format, written=lambda path: typer.echo(str(path)))
    if source.labels is None:
        typer.echo(f"left out what needs classes: {source.name} has no labels")
