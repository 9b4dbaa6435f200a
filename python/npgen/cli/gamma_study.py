"""`npgen gamma-study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import (
    BatchSize,
    CorpusName,
    Device,
    Heldout,
    NetworkName,
    Quiet,
    Threads,
    Weights,
    app,
    complain,
    settings_from,
)


@app.command("gamma-study")
@complain
def gamma_study(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier study, which is gone on with.")],
    gammas: Annotated[
        str, typer.Option(help="Ranges in pixels or cells, with commas between them; global sees everything.")
    ] = "1,2,3,5,8,12,global",
    n: Annotated[int, typer.Option("-n", help="Samples of each.")] = 200,
    kinds: Annotated[str, typer.Option(help="Samplers, with commas between them.")] = "pixels,tokens,twin",
    images: Annotated[int | None, typer.Option(min=2, help="Number of source images; by default all.")] = None,
    tokens: Annotated[str, typer.Option(help="Token store: auto, or its folder.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="JSON file of settings that tokens are drawn with.")] = None,
    twin_steps: Annotated[int, typer.Option(min=1, help="Steps that each twin is trained for.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the images drawn.")] = 0,
    heldout: Heldout = None,
    network: NetworkName = "corpus",
    weights: Weights = None,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Measure the turn from generating to memorising as samplers see more, in a table and a plot."""
    from npgen.corpus import load_corpus
    from npgen.studies import gamma_study as run
    from npgen.studies import parse_gammas

    study = run(
        load_corpus(corpus),
        out,
        parse_gammas(gammas),
        n,
        kinds=kinds.split(","),
        images=images,
        tokens=tokens,
        config=settings_from(config, {}),
        twin_steps=twin_steps,
        seed=seed,
        heldout=load_corpus(heldout) if heldout is not None else None,
        network=network,
        weights=weights,
        batch_size=batch_size,
        device=device,
        threads=threads,
        quiet=quiet,
    )
    typer.echo(study.markdown())
    typer.echo(str(out / "gamma.png"))
