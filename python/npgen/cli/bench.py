"""`npgen bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import BatchSize, Quiet, Threads
from npgen.cli.option_groups import takes_config
from npgen.config import Config
from npgen.storage import write_json


@takes_config("JSON file of settings; options override it.", "shortlist")
def bench(
    corpus: Annotated[str, typer.Argument(metavar="[CORPUS]", help="Name of a corpus, or its folder.")] = "mnist-5k",
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure this only: scan, shortlist or a model. May be given several times."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="As for generate; by default the corpus's own, or pixels if it has none.")
    ] = None,
    config: Config,
    seconds: Annotated[float, typer.Option(help="Time for each row; models fill at least one batch.")] = 10.0,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write all numbers to.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure this machine: models, scans and shortlists, beside NumPy, PyTorch and FAISS."""
    from npgen_bench import run_bench

    measured = run_bench(
        corpus,
        tuple(only or ()),
        config,
        encoder=encoder,
        threads=threads,
        seconds=seconds,
        batch_size=batch_size,
        progress=lambda text: None if quiet else typer.echo(text, err=True),
    )
    if out is not None:
        write_json(out, measured.to_json())
    typer.echo(measured.markdown())
