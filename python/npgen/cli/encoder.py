"""`npgen encoder …`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

import npgen
from npgen.cli.common import CorpusName, Device, Quiet, RecipeFile, Resume, read_recipe, report_errors
from npgen.encoders import Normalisation, Recipe, import_encoder, knn_scores
from npgen.errors import check_choice, invalid
from npgen.storage import refuse_existing

encoder_app = typer.Typer(help="Train, fit, import and check encoders.", no_args_is_help=True)


@encoder_app.command("train")
@report_errors
def encoder_train(
    corpus: CorpusName,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default encoder.safetensors in the corpus's folder."),
    ] = None,
    recipe: RecipeFile = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the corpus; by default 16, or 50 for photographs."),
    ] = None,
    masked_epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes after those in which most views are masked; by default none, or 3 per 10 for photographs."
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    device: Device = "auto",
    resume: Resume = True,
    quiet: Quiet = False,
) -> None:
    """Train a SimCLR encoder on a corpus; the corpus uses it from then on."""
    from npgen.encoders import simclr

    source = npgen.load_corpus(corpus)
    assert source.path is not None
    values = read_recipe(recipe, Recipe.for_corpus(source).to_json(), {"batch_size": batch_size, "seed": seed})
    chosen = Recipe.from_json(values).lasting(epochs, masked_epochs)
    target = out or source.path / "encoder.safetensors"
    encoder = simclr.train_encoder(source, target, chosen, device, resume, progress=not quiet)
    typer.echo(f"{encoder!r}")
    for square, accuracy in (encoder.metadata.get("accuracy") or {}).items():
        typer.echo(f"20-NN accuracy, known square {square}: {accuracy:.4f}")
    typer.echo(str(target))


@encoder_app.command("fit")
@report_errors
def encoder_fit(
    corpus: CorpusName,
    kind: Annotated[str, typer.Option(help="smt: the sparse manifold transform.")] = "smt",
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default smt.safetensors in the corpus's folder.")
    ] = None,
    atoms: Annotated[int | None, typer.Option(help="Atoms of the dictionary.")] = None,
    dim: Annotated[int | None, typer.Option(help="Width of the embedding.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least cosine of a patch and an active atom.")] = None,
    images: Annotated[int | None, typer.Option(help="Images that count for the moments; by default all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides the patches of the dictionary.")] = None,
    resume: Resume = True,
    quiet: Quiet = False,
) -> None:
    """Make an encoder in closed form, without training: `--encoder smt` uses it from then on."""
    from npgen.encoders import smt_fit

    check_choice("kind", kind, ("smt",))
    source = npgen.load_corpus(corpus)
    assert source.path is not None
    given = {"atoms": atoms, "dim": dim, "threshold": threshold, "images": images, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    recipe = dataclasses.replace(smt_fit.SmtRecipe.for_corpus(source), **changes)
    target = out or source.path / "smt.safetensors"
    if target.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors", str(target))
    refuse_existing(target)
    encoder = smt_fit.fit_smt(source, target, recipe, resume=resume, progress=not quiet)
    typer.echo(f"{encoder!r}")
    for square, accuracy in (encoder.metadata.get("accuracy") or {}).items():
        typer.echo(f"20-NN accuracy, known square {square}: {accuracy:.4f}")
    typer.echo(str(target))


@encoder_app.command("import")
@report_errors
def encoder_import(
    checkpoint: Annotated[
        Path, typer.Argument(help="A ResNet-18, 34, 50, 101 or 152 of torch.save, in any wrapping, or .safetensors.")
    ],
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that is to use it; a grey corpus can use a network for colour, too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default encoder.safetensors in the corpus's folder.")
    ] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(
            help="cifar10, imagenet or none: the normalisation it was trained with; by default chosen by its stem."
        ),
    ] = None,
    mean: Annotated[str | None, typer.Option(help="The normalisation's mean, as in 0.49,0.48,0.45.")] = None,
    std: Annotated[str | None, typer.Option(help="The normalisation's standard deviation, likewise.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Which network of the file, if there are several.")] = None,
) -> None:
    """Make an encoder of a public SimCLR checkpoint. Unknown pixels get the normalisation's mean."""
    source = npgen.load_corpus(corpus) if corpus is not None else None
    target = out or (source.path / "encoder.safetensors" if source is not None and source.path is not None else None)
    if target is None or target.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors, or corpus given", target and str(target))
    refuse_existing(target)
    if (mean is None) != (std is None) or (mean is not None and normalisation is not None):
        raise invalid("mean", "given together with std, and without normalisation", mean)
    given: str | Normalisation | None = normalisation
    if mean is not None and std is not None:
        given = Normalisation(_numbers("mean", mean), _numbers("std", std))
    channels = source.images.shape[3] if source is not None else None
    encoder = import_encoder(checkpoint, channels=channels, normalisation=given, prefix=prefix, device="cpu")
    encoder.save(target)
    facts = encoder.metadata["imported"]
    typer.echo(f"{encoder!r}")
    typer.echo(f"{facts['family']}, {facts['stem']} stem, normalisation by mean {facts['mean']}, std {facts['std']}")
    typer.echo(str(target))


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise invalid(name, "numbers with commas between them", text) from error


@encoder_app.command("check")
@report_errors
def encoder_check(
    encoder: Annotated[
        str,
        typer.Argument(
            help="auto, smt, pixels, a shipped encoder or a .safetensors file; several joined by +; with :smooth=N."
        ),
    ],
    corpus: CorpusName,
    heldout: Annotated[
        str | None, typer.Option(help="Corpus of held-out labelled images, where CORPUS has none of its own.")
    ] = None,
    square: Annotated[
        list[int] | None,
        typer.Option(help="Side of a known square, pixels; may be given several times. By default a series."),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure how often the 20 nearest images of a partial canvas vote for its class.

    Beside it stands purity: the share of the 15 and of the 100 nearest images that are of its class.
    """
    source = npgen.load_corpus(corpus)
    real = npgen.load_corpus(heldout) if heldout is not None else source.heldout
    if real is None or real.labels is None:
        raise invalid("heldout", "a corpus of labelled images, as there are none beside the corpus", heldout)
    phi = npgen.load_encoder(encoder, source, device)
    squares = tuple(square) if square else None
    keys = npgen.embed(source, phi, progress=not quiet)
    scores = knn_scores(phi, source, real.images, real.labels, squares, keys=keys, progress=not quiet)
    typer.echo(f"{phi!r}: {len(source)} keys, {len(real)} held-out images\n")
    typer.echo("| known square | 20-NN accuracy | purity of 15 | purity of 100 |\n|---:|---:|---:|---:|")
    for side, score in scores.items():
        typer.echo(f"| {side} | {score.accuracy:.4f} | {score.purity_short:.4f} | {score.purity_long:.4f} |")
