"""`npgen tokens …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import (
    CorpusName,
    Device,
    Heldout,
    Quiet,
    RecipeFile,
    Resume,
    Threads,
    read_recipe,
    report_errors,
)
from npgen.studies import parse_gammas
from npgen.tokens import TwinRecipe

tokens_app = typer.Typer(help="Turn corpora into tokens of a few bits.", no_args_is_help=True)

TokensName = Annotated[str, typer.Option("--tokens", help="Token store: auto, or a folder that `encode` made.")]


@tokens_app.command("train")
@report_errors
def tokens_train(
    corpus: CorpusName,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default autoencoder.safetensors in the corpus's folder."),
    ] = None,
    recipe: RecipeFile = None,
    stride: Annotated[int | None, typer.Option(help="Side of a token's cell, pixels.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits per token.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the corpus with noise on the latents.")] = None,
    settling_epochs: Annotated[
        int | None, typer.Option(help="Passes after those with latents rounded to their signs.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, noise and order.")] = None,
    device: Device = "auto",
    resume: Resume = True,
    quiet: Quiet = False,
) -> None:
    """Train a binary-latent autoencoder on a corpus; the corpus uses it from then on."""
    from npgen.tokens import autoencoder_training

    source = npgen.load_corpus(corpus)
    assert source.path is not None
    given = {"stride": stride, "bits": bits, "epochs": epochs, "settling_epochs": settling_epochs, "seed": seed}
    values = read_recipe(recipe, autoencoder_training.AutoencoderRecipe.for_corpus(source).to_json(), given)
    target = out or source.path / "autoencoder.safetensors"
    autoencoder = autoencoder_training.train_autoencoder(
        source, target, autoencoder_training.AutoencoderRecipe.from_json(values), device, resume, progress=not quiet
    )
    facts = autoencoder.metadata
    typer.echo(f"{autoencoder!r}, {facts['bits_per_image']} bits per image")
    if psnr := facts.get("psnr"):
        typer.echo(
            f"PSNR of {psnr['images']} held-out images: mean {psnr['mean']:.2f} dB, "
            f"5 % below {psnr['low']:.2f} dB, of the mean error {psnr['pooled']:.2f} dB"
        )
    typer.echo(str(target))


@tokens_app.command("encode")
@report_errors
def tokens_encode(
    corpus: CorpusName,
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default tokens in the corpus's folder.")] = None,
    autoencoder: Annotated[
        str, typer.Option(help="auto, the name of a shipped autoencoder, or a .safetensors file.")
    ] = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Turn a corpus into tokens: a folder that `npgen generate --tokens` samples from."""
    source = npgen.load_corpus(corpus)
    assert source.path is not None
    target = out or source.path / "tokens"
    tokens = npgen.encode_tokens(source, autoencoder, target, device=device, threads=threads, progress=not quiet)
    typer.echo(f"{tokens!r}, {tokens.bits_per_image} bits per image")


@tokens_app.command("compare")
@report_errors
def tokens_compare(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call.")],
    gammas: Annotated[
        str, typer.Option(help="Ranges in cells, with commas between them; global has no limit.")
    ] = "1,2,5",
    contexts: Annotated[int, typer.Option(min=2, help="Number of held-out contexts.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 1000,
    tokens: TokensName = "auto",
    heldout: Heldout = None,
    seed: Annotated[int, typer.Option(help="Decides images and cells.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Compare the token sampler's next-token distributions with those of a convolution and a transformer."""
    from npgen.studies import twin_comparison

    comparison = twin_comparison.compare_twins(
        npgen.load_corpus(corpus),
        out,
        parse_gammas(gammas),
        contexts,
        tokens=tokens,
        recipe=TwinRecipe(steps=steps),
        heldout=npgen.load_corpus(heldout) if heldout is not None else None,
        seed=seed,
        device=device,
        threads=threads,
        quiet=quiet,
    )
    typer.echo(comparison.markdown())
