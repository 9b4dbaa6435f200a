"""The command line: one verb per thing of the public interface, same names."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from npgen.config import MODELS, Config
from npgen.errors import invalid

app = typer.Typer(
    help="White-box image generation: every pixel is a copy of a known pixel of a known image.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpus_app = typer.Typer(help="Make and check corpora.", no_args_is_help=True)
encoder_app = typer.Typer(help="Train and check encoders.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(encoder_app, name="encoder")

CorpusName = Annotated[str, typer.Argument(metavar="CORPUS", help="Name of a corpus, or its folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Device = Annotated[str, typer.Option(help="Torch device; auto takes an accelerator if there is one.")]
EncoderName = Annotated[
    str,
    typer.Option("--encoder", help="auto, pixels, the name of a shipped encoder, or a .safetensors file."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one a core.")]

F = TypeVar("F", bound=Callable[..., None])


def _complain(function: F) -> F:
    """Turn what a user can mend into one line on stderr, and Ctrl-C into silence."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
            typer.echo(f"npgen: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("npgen: interrupted", err=True)
            raise typer.Exit(130) from error

    return wrapped  # type: ignore[return-value]


@app.command()
@_complain
def generate(
    corpus: CorpusName,
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 16,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = "full",
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    first: Annotated[int, typer.Option(help="Index of the first sample.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; by default runs/CORPUS-MODEL-SEED.")] = None,
    encoder: EncoderName = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Canvases grown side by side.")] = 64,
    device: Device = "auto",
    threads: Threads = None,
    memory: Annotated[
        float | None, typer.Option(help="Resident memory in GiB that reading the corpus is kept within.")
    ] = None,
    quiet: Quiet = False,
    scale: Annotated[int, typer.Option(min=1, help="Side of an image pixel in the pictures.")] = 2,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Images in a row of the pictures; by default about a square.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings; options override it.")] = None,
    window: Annotated[int | None, typer.Option(help="Side w of the context window.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Gaussian's σ in pixels; by default w / 6.4.")] = None,
    locality: Annotated[int | None, typer.Option(help="Largest distance R of pixel and source.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Pool: within (1 + ε) of the nearest.")] = None,
    k_min: Annotated[int | None, typer.Option(help="Pool: at least this many.")] = None,
    shortlist: Annotated[int | None, typer.Option(help="Length K of the shortlist.")] = None,
    candidates: Annotated[str | None, typer.Option(help="best or all positions of an image.")] = None,
    anchor_weight: Annotated[float | None, typer.Option(help="Weight β of the anchor in the query.")] = None,
    seed_size: Annotated[int | None, typer.Option(help="Side s of the seed patch.")] = None,
    seed_at: Annotated[
        tuple[int, int] | None, typer.Option(help="Corner (y x) of the seed patch; by default centred.")
    ] = None,
    exclude_seed_image: Annotated[
        bool | None, typer.Option("--exclude-seed-image/--include-seed-image", help="Bar the seed's image.")
    ] = None,
    stage_pixels: Annotated[int | None, typer.Option(help="Pixels filled per query; default a ring.")] = None,
) -> None:
    """Generate samples, with their maps, entropies and the trace of every pixel."""
    from npgen.corpus import load_corpus
    from npgen.entropy import WINDOW, entropy
    from npgen.figures import save_pictures
    from npgen.files import new_folder, refuse_existing, write_json
    from npgen.generate import generate as run
    from npgen.trace import write_run

    settings = _settings(config, locals())
    source = load_corpus(corpus)
    out = out or Path("runs") / f"{source.name}-{model}-{seed}"
    refuse_existing(out)
    start = time.perf_counter()
    samples = run(
        source,
        n,
        model,
        settings,
        seed,
        first=first,
        encoder=encoder,
        batch_size=batch_size,
        device=device,
        threads=threads,
        memory=None if memory is None else int(memory * 2**30),
        progress=not quiet,
    )
    seconds = time.perf_counter() - start
    side = min(WINDOW, *samples.images.shape[1:3])
    entropies = entropy(samples, source, side)
    with new_folder(out) as folder:
        write_run(samples, folder)
        summary = {"image_id": entropies.mean_image_id, "class": entropies.mean_class}
        write_json(folder / "entropy.json", {"unit": "nats", "window": side, "mean": summary})
        names = [path.name for path in save_pictures(samples, source, folder, columns, scale)]
    typer.echo(f"{len(samples)} samples of {source.name} ({model}) in {seconds:.1f} s")
    typer.echo(f"image-ID entropy {entropies.mean_image_id:.3f} nats")
    if entropies.mean_class is not None:
        typer.echo(f"class entropy    {entropies.mean_class:.3f} nats")
    for name in names:
        typer.echo(str(out / name))


def _settings(path: Path | None, given: dict[str, Any]) -> Config:
    """Merge a file of settings with the options that were given."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"config must be a JSON file, got {str(path)!r} ({error})") from error
        if not isinstance(values, dict):
            raise invalid("config", "a JSON object of settings", values)
    for field in dataclasses.fields(Config):
        if given.get(field.name) is not None:
            values[field.name] = given[field.name]
    return Config.from_json(values)


@corpus_app.command("build")
@_complain
def corpus_build(
    source: Annotated[
        str,
        typer.Argument(help="Name of a torchvision data set or mnist-5k, a folder of images, a .npy or .npz file."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default in npgen's home.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision finds its data sets.")] = None,
    download: Annotated[bool, typer.Option(help="Let torchvision download what is not there.")] = False,
    mode: Annotated[
        Literal["grey", "rgb"] | None, typer.Option(help="What images become; needed where files differ.")
    ] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Resize all to this height and width.")] = None,
    holdout: Annotated[float, typer.Option(help="Share of the images to keep apart for evaluation.")] = 0.0,
    name: Annotated[str | None, typer.Option(help="Name of the corpus.")] = None,
    quiet: Quiet = False,
) -> None:
    """Make a corpus of images."""
    from npgen.data import BuildOptions, build_corpus

    options = BuildOptions(root=root, download=download, mode=mode, size=size, holdout=holdout, name=name, quiet=quiet)
    corpus = build_corpus(source, out, options)
    typer.echo(f"{corpus!r}")
    typer.echo(str(corpus.path))


@corpus_app.command("info")
@_complain
def corpus_info(corpus: CorpusName) -> None:
    """Describe a corpus, and verify it byte by byte."""
    from npgen.corpus import load_corpus
    from npgen.verify import CorpusReport, verify_corpus

    opened = load_corpus(corpus)
    assert opened.path is not None
    report: CorpusReport | None = verify_corpus(opened.path)
    while report is not None:
        typer.echo(f"{report.corpus!r}")
        typer.echo(f"  folder  {report.corpus.path}")
        typer.echo(f"  hash    {report.corpus.hash}")
        typer.echo(f"  bytes   {report.bytes:,}")
        if report.class_counts is not None:
            names = report.corpus.classes or [str(label) for label in range(len(report.class_counts))]
            counts = zip(names, report.class_counts, strict=False)
            typer.echo("  classes " + ", ".join(f"{name}: {count}" for name, count in counts))
        for keys in report.keys:
            typer.echo(f"  keys    {keys}")
        report = report.heldout
    typer.echo("verified: all arrays are as their manifests say")


@encoder_app.command("train")
@_complain
def encoder_train(
    corpus: CorpusName,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default encoder.safetensors in the corpus's folder."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="JSON file of the recipe; options override it.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the corpus.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option(help="Go on from a checkpoint if there is one.")] = True,
    quiet: Quiet = False,
) -> None:
    """Train a SimCLR encoder on a corpus; the corpus uses it from then on."""
    from npgen.corpus import load_corpus
    from npgen.recipe import Recipe
    from npgen.simclr import train_encoder

    source = load_corpus(corpus)
    assert source.path is not None
    values = Recipe.for_corpus(source).to_json() if recipe is None else json.loads(recipe.read_text("utf-8"))
    given = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    values |= {key: value for key, value in given.items() if value is not None}
    target = out or source.path / "encoder.safetensors"
    encoder = train_encoder(source, target, Recipe.from_json(values), device, resume, progress=not quiet)
    typer.echo(f"{encoder!r}")
    for square, accuracy in (encoder.metadata.get("accuracy") or {}).items():
        typer.echo(f"20-NN accuracy, known square {square}: {accuracy:.4f}")
    typer.echo(str(target))


@app.command()
@_complain
def embed(
    corpus: CorpusName,
    encoder: EncoderName = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Make the keys of a corpus; `generate` does so on demand."""
    from npgen.corpus import load_corpus
    from npgen.embed import embed as make
    from npgen.embed import keys_path
    from npgen.encoder import load_encoder

    source = load_corpus(corpus)
    phi = load_encoder(encoder, source, device)
    keys = make(source, phi, threads=threads, progress=not quiet)
    typer.echo(f"{keys.shape[0]} keys of width {keys.shape[1]}: {keys_path(source, phi)}")


@app.command()
@_complain
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder that `npgen generate` made.")],
    corpus: Annotated[
        str | None, typer.Option(help="Corpus of the run; by default the one of the name the run gives.")
    ] = None,
    heldout: Annotated[
        str | None, typer.Option(help="Corpus of real images kept apart, where the run's corpus has none.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which real images are drawn.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score samples beside as many real images; writes evaluation.json and evaluation.md into the run."""
    from npgen.corpus import load_corpus
    from npgen.evaluate import evaluate as score
    from npgen.files import write_bytes
    from npgen.trace import load_samples

    samples = load_samples(run)
    source = load_corpus(corpus or samples.corpus_name)
    apart = load_corpus(heldout) if heldout is not None else None
    evaluation = score(samples, source, heldout=apart, seed=seed, device=device, quiet=quiet)
    evaluation.save(run / "evaluation.json")
    write_bytes(run / "evaluation.md", f"{evaluation.markdown()}\n".encode())
    typer.echo(evaluation.markdown())


@app.command()
@_complain
def bench(
    corpus: Annotated[str, typer.Argument(metavar="[CORPUS]", help="Name of a corpus, or its folder.")] = "mnist-5k",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure this only: scan, shortlist or a model. May be given several times."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="As for generate; by default the corpus's own, or pixels if it has none.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings; options override it.")] = None,
    shortlist: Annotated[int | None, typer.Option(help="Length K of the shortlist.")] = None,
    seconds: Annotated[float, typer.Option(help="Time for each row; models grow one batch at least.")] = 10.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Canvases grown side by side.")] = 64,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write all numbers to.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure this machine: models, scans and shortlists, beside NumPy, PyTorch and FAISS."""
    from npgen.bench import run_bench
    from npgen.files import write_json

    measured = run_bench(
        corpus,
        tuple(only or ()),
        _settings(config, {"shortlist": shortlist}),
        encoder=encoder,
        threads=threads,
        seconds=seconds,
        batch_size=batch_size,
        say=lambda text: typer.echo(text, err=True) if not quiet else None,
    )
    if out is not None:
        write_json(out, measured.to_json())
    typer.echo(measured.markdown())


if __name__ == "__main__":
    app()
