"""`npgen ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import CorpusName, EncoderName
from npgen.cli.option_groups import StudyOptions, takes_config, takes_study
from npgen.config import Config


@takes_study
@takes_config("JSON file of settings.")
def ablate(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call, which is resumed.")],
    *,
    n: Annotated[int, typer.Option("-n", help="Samples of each model.")] = 1000,
    n_texture: Annotated[int, typer.Option(help="Samples of texture, at most; it takes long.")] = 100,
    models: Annotated[str | None, typer.Option(help="Names with commas between them; by default all.")] = None,
    config: Config,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the real images drawn.")] = 0,
    encoder: EncoderName = "auto",
    study: StudyOptions,
) -> None:
    """Compare all models on the same seeds: a table (Tables 1 and 2 of the paper) and a picture (Figure 2)."""
    ablation = npgen.ablate(
        npgen.load_corpus(corpus),
        out,
        n,
        models.split(",") if models is not None else None,
        config,
        seed,
        counts={"texture": n_texture},
        encoder=encoder,
        **study.arguments(),
    )
    typer.echo(ablation.markdown())
    typer.echo(str(out / "panel.png"))
