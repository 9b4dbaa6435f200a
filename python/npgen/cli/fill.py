"""`npgen fill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

import npgen
from npgen.cli.common import Device, EncoderName, Quiet, Threads
from npgen.cli.option_groups import CONFIG_OPTIONS, takes_config
from npgen.config import Config
from npgen.errors import check_whole, invalid
from npgen.output import save_png
from npgen.sampling import FILL_MODELS, fill_defaults
from npgen.storage import new_folder

# A pixel of a mask is to be filled from this value on; one of an alpha channel below it.
HALF = 128
# Settings of the seed patch, which a picture takes the place of.
UNUSED = ("seed_size", "seed_at", "exclude_seed_image", "size", "stage_pixels", "select", "anchor_weight")


@takes_config(
    "JSON file of settings; options override it.",
    *(name for name in CONFIG_OPTIONS if name not in UNUSED),
    defaults=lambda others: fill_defaults(others["model"]),
)
def fill(
    corpus: Annotated[
        str | None, typer.Argument(help="Corpus of the sources; left out, the picture is its own source.")
    ] = None,
    *,
    image: Annotated[Path, typer.Option(help="The picture.")],
    mask: Annotated[
        Path | None, typer.Option(help="White where the picture is to be filled; by default where it is transparent.")
    ] = None,
    grow: Annotated[int, typer.Option(help="Pixels to fill around the picture.")] = 0,
    n: Annotated[int, typer.Option("-n", help="Number of variants.")] = 1,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(FILL_MODELS)}.")] = "texture",
    sources: Annotated[str | None, typer.Option(help="corpus, picture or both.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default IMAGE-filled.")] = None,
    encoder: EncoderName = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    config: Config,
) -> None:
    """Fill holes of a picture, or grow it, from a corpus or from itself.

    Writes each variant as a PNG file, and the source of every pixel as trace.npz.
    """
    source = None if corpus is None else npgen.load_corpus(corpus)
    channels = None if source is None else int(source.images.shape[3])
    canvas, known = read_picture(image, mask, check_whole("grow", grow, 0), channels)
    filled = npgen.fill(
        source,
        canvas,
        known,
        n,
        model,
        config,
        seed,
        sources=sources,  # type: ignore[arg-type]  # `fill` checks it
        encoder=encoder,
        device=device,
        threads=threads,
        progress=not quiet,
    )
    out = out or image.with_name(f"{image.stem}-filled")
    with new_folder(out) as folder:
        for k, picture in enumerate(filled.images):
            shown = Image.fromarray(picture if picture.shape[2] == 3 else picture[:, :, 0])
            save_png(shown, folder / f"{k:04d}.png", filled.provenance())
        arrays: dict[str, Any] = {"known": filled.known, "picture": np.int64(filled.picture), **vars(filled.trace)}
        np.savez_compressed(folder / "trace.npz", **arrays)
    typer.echo(f"{int((~known).sum()):,} pixels of {image} filled, {len(filled)} times")
    typer.echo(str(out))


def read_picture(
    image: Path, mask: Path | None, grow: int, channels: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read a picture (H, W, C) and its known pixels (H, W), with a border of `grow` unknown pixels.

    `channels` are 1 or 3, None for those that the file has.
    """
    with Image.open(image) as file:
        alpha = file.convert("RGBA").getchannel("A") if "A" in file.getbands() or "transparency" in file.info else None
        grey = channels == 1 if channels is not None else file.mode in ("1", "L", "LA", "I;16")
        canvas = np.array(file.convert("L" if grey else "RGB")).reshape(file.height, file.width, -1)
    known = np.ones(canvas.shape[:2], np.bool_)
    if mask is not None:
        with Image.open(mask) as file:
            holes = np.array(file.convert("L")) >= HALF
        if holes.shape != known.shape:
            got = f"{holes.shape[0]}×{holes.shape[1]}"
            raise invalid("mask", f"{known.shape[0]}×{known.shape[1]}, as the picture", got)
        known = ~holes
    elif alpha is not None:
        known = np.array(alpha) >= HALF
    border = ((grow, grow), (grow, grow))
    return np.pad(canvas, (*border, (0, 0))), np.pad(known, border)
