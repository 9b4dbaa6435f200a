"""`npgen els`."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Annotated

import typer

from npgen.cli.common import CorpusName, Quiet, Threads, app, complain
from npgen.errors import invalid
from npgen.schedules import RELEASED


@app.command()
@complain
def els(
    corpus: CorpusName,
    n: Annotated[int, typer.Option("-n", help="Number of samples.")] = 16,
    machine: Annotated[
        str, typer.Option(help="ideal, local, equivariant (circular) or equivariant-borders.")
    ] = "equivariant-borders",
    windows: Annotated[
        str,
        typer.Option(help=f"{', '.join(RELEASED)}; or a side for each step from 0 on, as 3,3,5,…"),
    ] = "cifar10-resnet",
    steps: Annotated[int, typer.Option(help="Number of steps.")] = 20,
    label: Annotated[str | None, typer.Option(help="Only images of this class, by name or number.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    first: Annotated[int, typer.Option(help="Index of the first sample.")] = 0,
    noise: Annotated[Path | None, typer.Option(help="File of noise (n, H, W, C), .npy, to start from instead.")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width to resize images to; published machines use 32 32.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest share of a pixel's weight that may be skipped.")] = 1e-6,
    sampling: Annotated[
        float,
        typer.Option(help="Largest standard error of the noise that a sample of images may leave; 0: all images."),
    ] = 0.0,
    every_step: Annotated[bool, typer.Option("--every-step", help="Keep the trace of all steps.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default runs/CORPUS-MACHINE-SEED.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Canvases denoised side by side.")] = 16,
    threads: Threads = None,
    quiet: Quiet = False,
    scale: Annotated[int, typer.Option(min=1, help="Side of an image pixel in the pictures.")] = 2,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Images in a row of the pictures; by default about a square.")
    ] = None,
) -> None:
    """Make images of noise with an analytic score machine, and name the patches that every pixel comes from.

    The folder holds the samples, the noise, each pixel's heaviest patches with their weights, entropies, a grid, and a
    mosaic of the heaviest patches' centres.
    """
    import numpy as np

    from npgen import npy
    from npgen.corpus import load_corpus
    from npgen.denoising import resized
    from npgen.figures import grid
    from npgen.files import new_folder, refuse_existing
    from npgen.scores import score_generate

    source = load_corpus(corpus)
    if size is not None:
        source = resized(source, size)
    target = out or Path("runs") / f"{source.name}-{machine}-{seed}"
    refuse_existing(target)
    start = time.perf_counter()
    samples = score_generate(
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
    )
    seconds = time.perf_counter() - start
    with new_folder(target) as folder:
        samples.write(folder)
        for name, images in (("samples.png", samples.pixels), ("mosaic.png", samples.mosaic(source))):
            data = io.BytesIO()
            grid(images, columns, scale).save(data, format="PNG", optimize=True)
            (folder / name).write_bytes(data.getvalue())
    typer.echo(f"{len(samples)} samples of {source.name} ({machine}) in {seconds:.1f} s")
    for step in samples.steps:
        typer.echo(
            f"step {step.step:2}  window {step.window:2}  {step.seconds:6.1f} s  {step.images:.0f} images  "
            f"skipped {step.skipped:.0e}  standard error {step.standard_error:.0e}"
        )
    typer.echo(f"entropy of the weights {samples.entropy[-1].mean():.3f} nats")
    typer.echo(str(target))


def _sides(text: str) -> str | list[int]:
    if text in RELEASED or not text[:1].isdigit():
        return text
    try:
        return [int(side) for side in text.split(",")]
    except ValueError as error:
        raise invalid("windows", "sides with commas between them, as 3,3,5", text) from error


def _label(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text
