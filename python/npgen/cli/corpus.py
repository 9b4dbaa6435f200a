"""`npgen corpus …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import npgen
from npgen.cli.common import CorpusName, Quiet, report_errors
from npgen.corpus import CorpusReport, verify_corpus

corpus_app = typer.Typer(help="Make and check corpora.", no_args_is_help=True)


@corpus_app.command("build")
@report_errors
def corpus_build(
    source: Annotated[
        str,
        typer.Argument(help="Name of a torchvision data set or mnist-5k, a folder of images, a .npy or .npz file."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default in npgen's home.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision finds its data sets.")] = None,
    download: Annotated[bool, typer.Option(help="Let torchvision download what is not there.")] = False,
    mode: Annotated[
        Literal["grey", "rgb"] | None, typer.Option(help="Convert all images to this; needed where files differ.")
    ] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Resize all to this height and width.")] = None,
    keep_sizes: Annotated[
        bool,
        typer.Option("--keep-sizes", help="Let images differ in size. Only the model texture takes such a corpus."),
    ] = False,
    holdout: Annotated[float, typer.Option(help="Share of the images to hold out for evaluation.")] = 0.0,
    name: Annotated[str | None, typer.Option(help="Name of the corpus.")] = None,
    white: Annotated[
        float | None,
        typer.Option(help="Value that stands for white, such as 1 or 65535; by default as the files say, or 255."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a corpus of images."""
    options = npgen.BuildOptions(
        root=root,
        download=download,
        mode=mode,
        size=size,
        keep_sizes=keep_sizes,
        holdout=holdout,
        name=name,
        quiet=quiet,
        white=white,
    )
    corpus = npgen.build_corpus(source, out, options)
    account = npgen.read_account(corpus)
    assert account is not None  # the build has just written it
    for line in account.lines():
        typer.echo(line)
    typer.echo(f"{corpus!r}")
    typer.echo(str(corpus.path))


@corpus_app.command("info")
@report_errors
def corpus_info(corpus: CorpusName) -> None:
    """Describe a corpus, and verify it byte by byte."""
    opened = npgen.load_corpus(corpus)
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
