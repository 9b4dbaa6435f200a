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
encoder_app = typer.Typer(help="Train, import and check encoders.", no_args_is_help=True)
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
    quota: Annotated[int | None, typer.Option(help="Pixels of a window that may come from one image.")] = None,
    shortlist: Annotated[int | None, typer.Option(help="Length K of the shortlist.")] = None,
    semantic: Annotated[str | None, typer.Option(help="topk, or threshold: within (1 + ε) of the nearest.")] = None,
    candidates: Annotated[str | None, typer.Option(help="best or all positions of an image.")] = None,
    anchor_weight: Annotated[float | None, typer.Option(help="Weight β of the anchor in the query.")] = None,
    seed_size: Annotated[int | None, typer.Option(help="Side s of the seed patch.")] = None,
    seed_at: Annotated[
        tuple[int, int] | None, typer.Option(help="Corner (y x) of the seed patch; by default centred.")
    ] = None,
    exclude_seed_image: Annotated[
        bool | None, typer.Option("--exclude-seed-image/--include-seed-image", help="Bar the seed's image.")
    ] = None,
    sweeps: Annotated[int | None, typer.Option(help="Visit all drawn pixels again so many times.")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width of the samples, for a model without locality.")
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


@encoder_app.command("import")
@_complain
def encoder_import(
    checkpoint: Annotated[
        Path, typer.Argument(help="A ResNet-18, 34, 50, 101 or 152 of torch.save, in any wrapping, or .safetensors.")
    ],
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that is to use it; grey ones can use networks for colour, too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default encoder.safetensors in the corpus's folder.")
    ] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(help="cifar10, imagenet or none: what its images went through; by default as the stem suggests."),
    ] = None,
    mean: Annotated[str | None, typer.Option(help="The normalisation's mean, as in 0.49,0.48,0.45.")] = None,
    std: Annotated[str | None, typer.Option(help="The normalisation's standard deviation, likewise.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Which network of the file, if there are several.")] = None,
) -> None:
    """Make an encoder of a public SimCLR checkpoint. To it, unknown pixels are of the normalisation's mean."""
    from npgen.corpus import load_corpus
    from npgen.files import refuse_existing
    from npgen.imported import Normalisation, import_encoder

    source = load_corpus(corpus) if corpus is not None else None
    target = out or (source.path / "encoder.safetensors" if source is not None and source.path is not None else None)
    if target is None or target.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors, or corpus given", target and str(target))
    refuse_existing(target)
    if (mean is None) != (std is None) or (mean is not None and normalisation is not None):
        raise ValueError("mean and std must be given both, and without normalisation")
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
@_complain
def encoder_check(
    encoder: Annotated[
        str, typer.Argument(help="auto, pixels, the name of a shipped encoder, or a .safetensors file.")
    ],
    corpus: CorpusName,
    heldout: Annotated[
        str | None, typer.Option(help="Corpus of labelled images kept apart, where CORPUS has none.")
    ] = None,
    square: Annotated[
        list[int] | None,
        typer.Option(help="Side of a known square, pixels; may be given several times. By default a series."),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure how often the 20 nearest images of a partial canvas vote for its class."""
    from npgen.corpus import load_corpus
    from npgen.encoder import load_encoder
    from npgen.neighbours import knn_accuracy

    source = load_corpus(corpus)
    apart = load_corpus(heldout) if heldout is not None else source.heldout
    if apart is None or apart.labels is None:
        raise invalid("heldout", "a corpus of labelled images, as there are none beside the corpus", heldout)
    phi = load_encoder(encoder, source, device)
    squares = tuple(square) if square else None
    accuracy = knn_accuracy(phi, source, apart.images, apart.labels, squares, progress=not quiet)
    typer.echo(f"{phi!r}: {len(source)} keys, {len(apart)} held-out images\n")
    typer.echo("| known square | 20-NN accuracy |\n|---:|---:|")
    for side, share in accuracy.items():
        typer.echo(f"| {side} | {share:.4f} |")


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
    network: Annotated[
        str, typer.Option(help="Network to score in: corpus, the corpus's own classifier, or inception.")
    ] = "corpus",
    weights: Annotated[
        Path | None, typer.Option(help="File of the network's weights; inception needs torch-fidelity's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which real images are drawn.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score samples beside as many real images; writes evaluation.json and evaluation.md into the run.

    In another network than the corpus's, the files are called evaluation-NETWORK.
    """
    from npgen.corpus import load_corpus
    from npgen.evaluate import evaluate as score
    from npgen.files import write_bytes
    from npgen.trace import load_samples

    samples = load_samples(run)
    source = load_corpus(corpus or samples.corpus_name)
    apart = load_corpus(heldout) if heldout is not None else None
    evaluation = score(
        samples, source, heldout=apart, network=network, weights=weights, seed=seed, device=device, quiet=quiet
    )
    name = "evaluation" if network == "corpus" else f"evaluation-{network}"
    evaluation.save(run / f"{name}.json")
    write_bytes(run / f"{name}.md", f"{evaluation.markdown()}\n".encode())
    typer.echo(evaluation.markdown())


@app.command()
@_complain
def ablate(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call, which is gone on with.")],
    n: Annotated[int, typer.Option("-n", help="Samples of each model.")] = 1000,
    n_texture: Annotated[int, typer.Option(help="Samples of texture, at most; it takes long.")] = 100,
    models: Annotated[str | None, typer.Option(help="Names with commas between them; by default all.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the real images drawn.")] = 0,
    heldout: Annotated[
        str | None, typer.Option(help="Corpus of real images kept apart, where the corpus has none.")
    ] = None,
    network: Annotated[str, typer.Option(help="What scores live in: corpus (its classifier) or inception.")] = "corpus",
    weights: Annotated[Path | None, typer.Option(help="File of the network's weights, where it needs one.")] = None,
    encoder: EncoderName = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Canvases grown side by side.")] = 64,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Compare all models on the same seeds: a table (Tables 1 and 2 of the paper) and a picture (Figure 2)."""
    from npgen.ablate import ablate as run
    from npgen.corpus import load_corpus

    ablation = run(
        load_corpus(corpus),
        out,
        n,
        models.split(",") if models is not None else None,
        _settings(config, {}),
        seed,
        counts={"texture": n_texture},
        heldout=load_corpus(heldout) if heldout is not None else None,
        network=network,
        weights=weights,
        encoder=encoder,
        batch_size=batch_size,
        device=device,
        threads=threads,
        quiet=quiet,
    )
    typer.echo(ablation.markdown())
    typer.echo(str(out / "panel.png"))


@app.command()
@_complain
def sweep(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier sweep, which is gone on with.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE,…", help="Values of a setting. May be given several times."),
    ] = None,
    images: Annotated[str | None, typer.Option(help="Numbers of source images, with commas between them.")] = None,
    product: Annotated[
        bool, typer.Option("--product/--one-at-a-time", help="All combinations, or one change to the base at a time.")
    ] = False,
    n: Annotated[int, typer.Option("-n", help="Samples at each setting.")] = 500,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = "full",
    config: Annotated[Path | None, typer.Option(help="JSON file of the base settings.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the images drawn.")] = 0,
    heldout: Annotated[
        str | None, typer.Option(help="Corpus of real images kept apart, where the corpus has none.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the samples as run folders.")] = False,
    network: Annotated[str, typer.Option(help="What scores live in: corpus (its classifier) or inception.")] = "corpus",
    weights: Annotated[Path | None, typer.Option(help="File of the network's weights, where it needs one.")] = None,
    encoder: EncoderName = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Canvases grown side by side.")] = 64,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Measure what settings do: quality, entropies, pools and time over a grid, in tables and plots."""
    from npgen.corpus import load_corpus
    from npgen.sweep import parse_grid
    from npgen.sweep import sweep as run

    axes = list(sets or ()) + ([f"images={images}"] if images is not None else [])
    swept = run(
        load_corpus(corpus),
        out,
        parse_grid(axes),
        n,
        _settings(config, {}),
        model,
        seed,
        product=product,
        keep=keep,
        heldout=load_corpus(heldout) if heldout is not None else None,
        network=network,
        weights=weights,
        encoder=encoder,
        batch_size=batch_size,
        device=device,
        threads=threads,
        quiet=quiet,
    )
    typer.echo(swept.markdown())
    typer.echo(str(out / "results.csv"))


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
