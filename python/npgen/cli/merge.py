"""`npgen merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.runs import merge as merge_runs
from npgen.runs import read_manifest


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="PART…", help="Runs that `npgen generate --shard` made.")],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
) -> None:
    """Join parts that several processes or machines made to one run, byte for byte what one process would make."""
    merge_runs(parts, out)
    typer.echo(f"{read_manifest(out)[0].n} samples of {len(parts)} parts: {out}")
