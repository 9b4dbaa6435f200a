"""`npgen evaluate`, `ablate`, `sweep` and `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npgen.cli.common import (
    BatchSize,
    CorpusName,
    Device,
    EncoderName,
    Heldout,
    NetworkName,
    Quiet,
    RunCorpus,
    RunFolder,
    Threads,
    Weights,
    app,
    complain,
    settings_from,
)
from npgen.config import MODELS


@app.command()
@complain
def evaluate(
    run: RunFolder,
    corpus: RunCorpus = None,
    heldout: Heldout = None,
    network: NetworkName = "corpus",
    weights: Weights = None,
    seed: Annotated[int, typer.Option(help="Decides which real images are drawn.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score samples beside as many real images; writes evaluation.json and evaluation.md into the run.

    In another network than the corpus's, the files are called evaluation-NETWORK.
    """
    from npgen.evaluation import evaluate as score
    from npgen.storage import write_bytes

    samples, source, apart = run_and_corpora(run, corpus, heldout)
    evaluation = score(
        samples, source, heldout=apart, network=network, weights=weights, seed=seed, device=device, quiet=quiet
    )
    name = "evaluation" if network == "corpus" else f"evaluation-{network}"
    evaluation.save(run / f"{name}.json")
    write_bytes(run / f"{name}.md", f"{evaluation.markdown()}\n".encode())
    typer.echo(evaluation.markdown())


def run_and_corpora(run: Path, corpus: str | None, heldout: str | None) -> tuple[Any, Any, Any]:
    """Load samples of either kind, their corpus and real images, both at the size of the samples."""
    from npgen.corpus import load_corpus, resized
    from npgen.els import is_score_run, load_score_samples
    from npgen.runs import load_samples

    if not is_score_run(run):
        samples = load_samples(run)
        apart = load_corpus(heldout) if heldout is not None else None
        return samples, load_corpus(corpus or samples.corpus_name), apart
    scores = load_score_samples(run)
    size = scores.images.shape[1:3]
    source = load_corpus(corpus or scores.settings["corpus"]["name"])
    apart = source.heldout if heldout is None else load_corpus(heldout)
    return scores, resized(source, size), None if apart is None else resized(apart, size)


@app.command()
@complain
def ablate(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call, which is gone on with.")],
    n: Annotated[int, typer.Option("-n", help="Samples of each model.")] = 1000,
    n_texture: Annotated[int, typer.Option(help="Samples of texture, at most; it takes long.")] = 100,
    models: Annotated[str | None, typer.Option(help="Names with commas between them; by default all.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws, and of the real images drawn.")] = 0,
    heldout: Heldout = None,
    network: NetworkName = "corpus",
    weights: Weights = None,
    encoder: EncoderName = "auto",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Compare all models on the same seeds: a table (Tables 1 and 2 of the paper) and a picture (Figure 2)."""
    from npgen.corpus import load_corpus
    from npgen.studies import ablate as run

    ablation = run(
        load_corpus(corpus),
        out,
        n,
        models.split(",") if models is not None else None,
        settings_from(config, {}),
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
@complain
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
    heldout: Heldout = None,
    keep: Annotated[bool, typer.Option(help="Keep the samples as run folders.")] = False,
    network: NetworkName = "corpus",
    weights: Weights = None,
    encoder: EncoderName = "auto",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Measure what settings do: quality, entropies, pools and time over a grid, in tables and plots."""
    from npgen.corpus import load_corpus
    from npgen.studies import parse_grid
    from npgen.studies import sweep as run

    axes = list(sets or ()) + ([f"images={images}"] if images is not None else [])
    swept = run(
        load_corpus(corpus),
        out,
        parse_grid(axes),
        n,
        settings_from(config, {}),
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
@complain
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
    batch_size: BatchSize = 64,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write all numbers to.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure this machine: models, scans and shortlists, beside NumPy, PyTorch and FAISS."""
    from npgen.storage import write_json
    from npgen_bench import run_bench

    measured = run_bench(
        corpus,
        tuple(only or ()),
        settings_from(config, {"shortlist": shortlist}),
        encoder=encoder,
        threads=threads,
        seconds=seconds,
        batch_size=batch_size,
        say=lambda text: typer.echo(text, err=True) if not quiet else None,
    )
    if out is not None:
        write_json(out, measured.to_json())
    typer.echo(measured.markdown())
