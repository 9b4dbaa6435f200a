"""`npgen els …`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import typer.core

import npgen
from npgen.cli.common import (
    PICTURED,
    Columns,
    CorpusName,
    Device,
    Heldout,
    NetworkName,
    Quiet,
    RunCorpus,
    Scale,
    Threads,
    Weights,
    read_recipe,
    report_errors,
)
from npgen.cli.evaluate import load_run
from npgen.corpus import Corpus, resized
from npgen.els import MACHINES, RELEASED, calibrate_windows
from npgen.errors import MOST_SEED, check_whole, invalid
from npgen.evaluation import novelty_table
from npgen.output import check_scale, grid, save_png
from npgen.storage import npy
from npgen.studies import els_compare

# `npgen els CORPUS` is short for `npgen els generate CORPUS`.
DEFAULT = "generate"


class _Group(typer.core.TyperGroup):
    """Commands of which the default one need not be named."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


els_app = typer.Typer(
    cls=_Group, help="Analytic score machines. `npgen els CORPUS` is `npgen els generate CORPUS`.", no_args_is_help=True
)

Machine = Annotated[str, typer.Option(help="ideal, local, equivariant (circular) or equivariant-borders.")]
Windows = Annotated[str, typer.Option(help=f"{', '.join(RELEASED)}; or one side per step, from step 0 on: 3,3,5,…")]
Steps = Annotated[int, typer.Option(help="Number of steps.")]
Size = Annotated[
    tuple[int, int] | None, typer.Option(help="Height and width to resize images to; published machines use 32 32.")
]
Tolerance = Annotated[float, typer.Option(help="Largest share of a pixel's weight that may be skipped.")]
Sampling = Annotated[
    float,
    typer.Option(help="Largest standard error of the predicted noise when only some images are used; 0: all images."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Canvases denoised together.")]


@els_app.command(DEFAULT)
@report_errors
def generate(
    corpus: CorpusName,
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 16,
    machine: Machine = "equivariant-borders",
    windows: Windows = "cifar10-resnet",
    steps: Steps = 20,
    label: Annotated[str | None, typer.Option(help="Only images of this class, by name or number.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    first: Annotated[int, typer.Option(help="Index of the first sample.")] = 0,
    noise: Annotated[Path | None, typer.Option(help="File of noise (n, H, W, C), .npy, to start from instead.")] = None,
    size: Size = None,
    tolerance: Tolerance = 1e-6,
    sampling: Sampling = 0.0,
    every_step: Annotated[bool, typer.Option("--every-step", help="Keep the trace of all steps.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to make or resume; by default runs/CORPUS-MACHINE-SEED.")
    ] = None,
    batch_size: BatchSize = 16,
    threads: Threads = None,
    quiet: Quiet = False,
    scale: Scale = 2,
    columns: Columns = None,
) -> None:
    """Make images from noise with an analytic score machine, and name the source patches of every pixel.

    The folder holds the samples, the noise, each pixel's heaviest patches with their weights, entropies, a grid, and a
    mosaic of the heaviest patches' centres. Samples are written as they are made: the same command resumes a run that
    was interrupted.
    """
    source = _load(corpus, size)
    target = out or Path("runs") / f"{source.name}-{machine}-{seed}"
    check_whole("n", n, 1, MOST_SEED)
    height, width = source.images.shape[1:3]
    check_scale(min(n, PICTURED), height, width, columns, scale)
    start = time.perf_counter()
    samples = npgen.score_generate(
        source,
        n,
        machine,
        _sides(windows),
        steps,
        _label(label),
        seed,
        noise=None if noise is None else npy.open_array(noise, np.float32, (None, None, None, None)),
        first=first,
        tolerance=tolerance,
        sampling=sampling,
        every_step=every_step,
        batch_size=batch_size,
        threads=threads,
        progress=not quiet,
        out=target,
    )
    seconds = time.perf_counter() - start
    for name, images in (("samples.png", samples.pixels), ("mosaic.png", samples.mosaic(source))):
        save_png(grid(images[:PICTURED], columns, scale), target / name, samples.provenance())
    typer.echo(f"{len(samples)} samples of {source.name} ({machine}) in {seconds:.1f} s")
    for step in samples.steps:
        typer.echo(
            f"step {step.step:2}  window {step.window:2}  {step.seconds:6.1f} s  {step.images:.0f} images  "
            f"skipped {step.skipped:.0e}  standard error {step.standard_error:.0e}"
        )
    typer.echo(f"entropy of the weights {samples.entropy[-1].mean():.3f} nats")
    typer.echo(str(target))


@els_app.command()
@report_errors
def compare(
    corpus: CorpusName,
    out: Annotated[Path, typer.Option(help="Folder to make, or that of an earlier call, which is resumed.")],
    n: Annotated[int, typer.Option("-n", help="Number of seeds.")] = 50,
    machines: Annotated[str | None, typer.Option(help="Names with commas between them; by default all.")] = None,
    windows: Windows = "mnist-resnet",
    steps: Steps = 20,
    network_steps: Annotated[int, typer.Option(help="Steps of the network.")] = 150,
    network: Annotated[
        Path | None, typer.Option(help="File of a network that was trained on this corpus; by default one is trained.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="JSON file of the network's recipe; options override it.")] = None,
    padding: Annotated[
        str | None, typer.Option(help="Padding of the network's convolutions: zeros or circular.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes of the training over the corpus.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    size: Size = None,
    tolerance: Tolerance = 1e-6,
    sampling: Sampling = 0.0,
    batch_size: BatchSize = 16,
    threads: Threads = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Compare a trained convolutional network's samples with those of the machines from the same noise.

    Trains the network first, unless one is given. All results are stored: the same command resumes after an
    interruption.
    """
    from npgen.els import diffusion

    source = _load(corpus, size)
    values = read_recipe(recipe, {}, {"padding": padding, "epochs": epochs})
    if network is not None and values:
        raise invalid("network", "given without a recipe, padding or epochs", str(network))
    comparison = els_compare(
        source,
        out,
        n,
        MACHINES if machines is None else machines.split(","),
        _sides(windows),
        network=network,
        recipe=None if network is not None else diffusion.DiffusionRecipe.from_json(values),
        steps=steps,
        network_steps=network_steps,
        seed=seed,
        tolerance=tolerance,
        sampling=sampling,
        batch_size=batch_size,
        threads=threads,
        device=device,
        progress=not quiet,
    )
    typer.echo(comparison.markdown())
    typer.echo(str(out / "grid.png"))


@els_app.command()
@report_errors
def table(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Run folders of `npgen els` and `npgen generate`.")
    ],
    corpus: RunCorpus = None,
    heldout: Heldout = None,
    network: NetworkName = "corpus",
    weights: Weights = None,
    seed: Annotated[int, typer.Option(help="Decides which real images are drawn.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score several runs of one corpus beside real images, in one table, with equally many samples of each run."""
    loaded = [load_run(run, corpus, heldout) for run in runs]
    fewest = min(len(samples) for samples, _, _ in loaded)
    found = {}
    for run, (samples, source, real) in zip(runs, loaded, strict=True):
        found[run.name] = npgen.evaluate(
            samples[:fewest],
            source,
            heldout=real,
            network=network,
            weights=weights,
            seed=seed,
            device=device,
            quiet=quiet,
        )
    typer.echo(novelty_table(found))


@els_app.command()
@report_errors
def calibrate(
    corpus: CorpusName,
    network: Annotated[Path, typer.Argument(help="File of a network that was trained on this corpus.")],
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 8,
    machine: Machine = "equivariant-borders",
    steps: Steps = 20,
    largest: Annotated[int | None, typer.Option(help="Largest side; by default that of the network's window.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    size: Size = None,
    tolerance: Tolerance = 1e-2,
    sampling: Sampling = 1e-2,
    threads: Threads = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Choose the windows with which a machine's scores are nearest to those of a network. For --windows."""
    from npgen.els import diffusion

    calibration = calibrate_windows(
        diffusion.DiffusionNetwork.load(network),
        _load(corpus, size),
        n,
        machine,
        steps=steps,
        largest=largest,
        seed=seed,
        tolerance=tolerance,
        sampling=sampling,
        threads=threads,
        device=device,
        progress=not quiet,
    )
    typer.echo(calibration.markdown())
    typer.echo(",".join(map(str, calibration.windows)))


def _load(corpus: str, size: tuple[int, int] | None) -> Corpus:
    source = npgen.load_corpus(corpus)
    return source if size is None else resized(source, size)


def _sides(text: str) -> str | list[int]:
    """Read `--windows`: the name of released windows, or sides with commas between them."""
    if text in RELEASED or not text[:1].isdigit():
        return text
    try:
        return [int(side) for side in text.split(",")]
    except ValueError as error:
        raise invalid("windows", "sides with commas between them, as 3,3,5", text) from error


def _label(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text
