"""`npgen tokens …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import (
    CorpusName,
    Device,
    Heldout,
    Quiet,
    RecipeFile,
    Resume,
    Threads,
    complain,
    recipe_from,
    tokens_app,
)

TokensName = Annotated[str, typer.Option("--tokens", help="Token store: auto, or a folder that `encode` made.")]


@tokens_app.command("train")
@complain
def tokens_train(
    corpus: CorpusName,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default autoencoder.safetensors in the corpus's folder."),
    ] = None,
    recipe: RecipeFile = None,
    stride: Annotated[int | None, typer.Option(help="Side of a token's cell, pixels.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a token.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the corpus with noise.")] = None,
    settling_epochs: Annotated[int | None, typer.Option(help="Passes after those with signs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, noise and order.")] = None,
    device: Device = "auto",
    resume: Resume = True,
    quiet: Quiet = False,
) -> None:
    """Train a binary-latent autoencoder on a corpus; the corpus uses it from then on."""
    from npgen.corpus import load_corpus
    from npgen.tokens import autoencoder_training

    source = load_corpus(corpus)
    assert source.path is not None
    given = {"stride": stride, "bits": bits, "epochs": epochs, "settling_epochs": settling_epochs, "seed": seed}
    values = recipe_from(recipe, autoencoder_training.AutoencoderRecipe.for_corpus(source).to_json(), given)
    target = out or source.path / "autoencoder.safetensors"
    autoencoder = autoencoder_training.train_autoencoder(
        source, target, autoencoder_training.AutoencoderRecipe.from_json(values), device, resume, progress=not quiet
    )
    facts = autoencoder.metadata
    typer.echo(f"{autoencoder!r}, {facts['bits_per_image']} bits an image")
    if psnr := facts.get("psnr"):
        typer.echo(
            f"PSNR of {psnr['images']} held-out images: mean {psnr['mean']:.2f} dB, "
            f"5 % below {psnr['low']:.2f} dB, of the mean error {psnr['pooled']:.2f} dB"
        )
    typer.echo(str(target))


@tokens_app.command("encode")
@complain
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
    from npgen.corpus import load_corpus
    from npgen.tokens import encode_tokens

    source = load_corpus(corpus)
    assert source.path is not None
    target = out or source.path / "tokens"
    tokens = encode_tokens(source, autoencoder, target, device=device, threads=threads, progress=not quiet)
    typer.echo(f"{tokens!r}, {tokens.bits_per_image} bits an image")


@tokens_app.command("compare")
@complain
def tokens_compare(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call.")],
    gammas: Annotated[str, typer.Option(help="Ranges in cells, with commas between them; global sees all.")] = "1,2,5",
    contexts: Annotated[int, typer.Option(min=2, help="Number of held-out contexts.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Steps that each network is trained for.")] = 1000,
    tokens: TokensName = "auto",
    heldout: Heldout = None,
    seed: Annotated[int, typer.Option(help="Decides images and cells.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Compare what the token sampler says comes next with what a convolution and a transformer say."""
    from npgen.corpus import load_corpus
    from npgen.studies import parse_gammas, twin_comparison
    from npgen.tokens import TwinRecipe

    comparison = twin_comparison.compare_twins(
        load_corpus(corpus),
        out,
        parse_gammas(gammas),
        contexts,
        tokens=tokens,
        recipe=TwinRecipe(steps=steps),
        heldout=load_corpus(heldout) if heldout is not None else None,
        seed=seed,
        device=device,
        threads=threads,
        quiet=quiet,
    )
    typer.echo(comparison.markdown())
