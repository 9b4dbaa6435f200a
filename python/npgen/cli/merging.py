"""`npgen merge`: one run of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import app, complain


@app.command()
@complain
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="PART…", help="Runs that `npgen generate --shard` made.")],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
) -> None:
    """Make one run of the parts that several processes or machines made, byte for byte what one would have made."""
    from npgen.runs import merge as put_together
    from npgen.runs import read_manifest

    put_together(parts, out)
    typer.echo(f"{read_manifest(out)[0].n} samples of {len(parts)} parts: {out}")
