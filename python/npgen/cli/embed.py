"""`npgen embed`."""

from __future__ import annotations

from typing import Annotated

import typer

import npgen
from npgen.cli.common import CorpusName, Device, EncoderName, Quiet, Threads
from npgen.encoders import keys_path


def embed(
    corpus: CorpusName,
    encoder: EncoderName = "auto",
    smooth: Annotated[
        int | None,
        typer.Option(
            min=1, help="Smooth embeddings over so many nearest images; --encoder ENCODER:smooth=N uses them."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Make the keys of a corpus; `generate` does so on demand."""
    source = npgen.load_corpus(corpus)
    phi = npgen.load_encoder(encoder if smooth is None else f"{encoder}:smooth={smooth}", source, device)
    keys = npgen.embed(source, phi, threads=threads, progress=not quiet)
    typer.echo(f"{keys.shape[0]} keys of width {keys.shape[1]}: {keys_path(source, phi.id)}")
