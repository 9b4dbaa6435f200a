"""`python -m npgen_bench.els CORPUS`: the steps of a score machine beside plain PyTorch, on the same canvases.

PyTorch computes all distances in single precision, block by block, with the best of several block sizes, for some of
the images; its time per step is extrapolated to all images. It computes interior pixels alone, npgen the whole frame.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus, load_corpus, resized
from npgen.els import TILE_SIZE, ddim_step, denoise, draw_noise, levels, rotation_of, similarity_order, windows_of
from npgen.storage import write_json

# Rows (canvas patches) and columns (image patches) of one block of PyTorch's products.
BLOCKS = ((512, 2048), (1024, 4096))
# Pairs of patches that PyTorch is timed on, per step.
PAIRS = 5e7


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step for a whole batch.

    Attributes
    ----------
    step, window
        Number of the step and side of its windows.
    torch
        Time of PyTorch, written plainly and with exponents clamped; extrapolated to all images.
    torch_images
        Number of images that PyTorch was timed on.
    npgen
        Time of npgen, per effort (a pair of tolerance and sampling).
    efforts
        Per effort: the largest bound of the share skipped, the largest standard error, the mean share of images used,
        the share of their patches that were given a weight.
    """

    step: int
    window: int
    torch: tuple[float, float]
    torch_images: int
    npgen: tuple[float, ...]
    efforts: tuple[tuple[float, float, float, float], ...]


def torch_denoise(
    canvases: NDArray[np.float32],
    images: NDArray[np.uint8],
    window: int,
    levels: tuple[float, float],
    block: tuple[int, int],
    clamp: bool,
) -> NDArray[np.float32]:
    """Compute x̂₀ of the interior pixels by products of patches and a streamed softmax, in single precision.

    Parameters
    ----------
    canvases
        (B, H, W, C).
    images
        (N, H, W, C).
    window
        Side of a patch.
    levels
        a and b of x = a·x₀ + b·ε.
    block
        Rows and columns of a block.
    clamp
        Keep exponents above −80: PyTorch's exp takes ten times as long where results underflow.

    Returns
    -------
    ndarray
        (B, H − k + 1, W − k + 1, C).
    """
    import torch
    from torch.nn.functional import unfold

    def patches(pixels: NDArray[Any]) -> torch.Tensor:
        planes = torch.from_numpy(np.moveaxis(pixels, 3, 1).astype(np.float32))
        flat: torch.Tensor = unfold(planes, window).transpose(1, 2).reshape(-1, planes.shape[1] * window * window)
        return flat

    a, b = levels
    count, height, width, channels = canvases.shape
    down, across = height - window + 1, width - window + 1
    reach = window // 2
    own = patches(canvases) * (a / b**2)  # (B·P, k²·C)
    most = torch.full((len(own),), -float("inf"))
    total, sums = torch.zeros(len(own)), torch.zeros(len(own), channels)
    together = max(1, block[1] // (down * across))
    for start in range(0, len(images), together):
        part = images[start : start + together] / np.float32(127.5) - np.float32(1)
        other = patches(part)  # (M, k²·C)
        bias = other.square().sum(1) * (-a * a / (2 * b * b))
        centres = torch.from_numpy(part[:, reach : reach + down, reach : reach + across].reshape(-1, channels))
        for at in range(0, len(own), block[0]):
            rows = slice(at, at + block[0])
            logits = torch.addmm(bias, own[rows], other.T)
            new = torch.maximum(most[rows], logits.amax(1))
            logits.sub_(new[:, None])
            if clamp:
                logits.clamp_(min=-80)
            logits.exp_()
            scale = (most[rows] - new).exp()
            total[rows] = total[rows] * scale + logits.sum(1)
            sums[rows] = sums[rows] * scale[:, None] + logits @ centres
            most[rows] = new
    means: NDArray[np.float32] = (sums / total[:, None]).numpy().reshape(count, down, across, channels)
    return means


def main() -> None:
    """Time every step of one batch, and compare the samples of all efforts with those of the first effort."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m npgen_bench.els", description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--windows", default="mnist-resnet")
    parser.add_argument("--machine", default="equivariant-borders")
    parser.add_argument("--label", type=int)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, help="only so many images, evenly spread")
    parser.add_argument(
        "--effort", action="append", metavar="TOLERANCE:SAMPLING", help="several times; the first is exact"
    )
    parser.add_argument("--json", type=Path, help="file for all numbers")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    efforts = [tuple(map(float, text.split(":"))) for text in given.effort or ("1e-6:0", "1e-2:1e-2")]
    source = resized(load_corpus(given.corpus), given.size)
    ids = similarity_order(source, given.label)
    if given.images and given.images < len(ids):
        tiles = ids[: len(ids) // TILE_SIZE * TILE_SIZE].reshape(-1, TILE_SIZE)
        ids = np.ascontiguousarray(tiles[:: len(ids) // given.images].reshape(-1))
    sides = windows_of(given.windows, 20)
    start = draw_noise((given.batch, *source.images.shape[1:]), 0).astype(np.float64)
    canvases, steps = [start] * len(efforts), []
    for step in range(len(sides) - 1, 0, -1):
        options = {"machine": given.machine, "rotation": rotation_of(step), "threads": given.threads, "ids": ids}
        times, canvases = _time_step(source, canvases, step, sides, efforts, options)
        steps.append(times)
        plain, clamped = times.torch
        each = [
            f"{tolerance:g}:{sampling:g} {seconds:.2f} s ({plain / seconds:.1f} ×, {clamped / seconds:.1f} ×)"
            for (tolerance, sampling), seconds in zip(efforts, times.npgen, strict=True)
        ]
        print(
            f"step {step:2}, window {times.window:2}: PyTorch {plain:.1f} s plain, {clamped:.1f} s clamped, from "
            f"{times.torch_images} images; npgen {', '.join(each)}",
            flush=True,
        )
    summary = _report(given, efforts, steps, canvases, len(ids))
    if given.json:
        facts = {name: str(value) for name, value in vars(given).items()}
        write_json(given.json, {"arguments": facts, "steps": [asdict(times) for times in steps], **summary})


def _time_step(
    source: Corpus,
    canvases: list[NDArray[np.float64]],
    step: int,
    sides: tuple[int, ...],
    efforts: list[tuple[float, ...]],
    options: dict[str, Any],
) -> tuple[StepTimes, list[NDArray[np.float64]]]:
    """Time one step, in turns, and return the next step's canvases."""
    side, ids = sides[step], options["ids"]
    a, b = levels(step / len(sides))
    positions = (source.images.shape[1] - side + 1) * (source.images.shape[2] - side + 1)
    batch = len(canvases[0])
    count = min(len(ids), max(int(PAIRS / (batch * positions**2)), BLOCKS[-1][1] // positions, 1))
    some = source.images[np.sort(ids[:: len(ids) // count][:count])]
    ours = canvases[0].astype(np.float32)

    def plain(block: tuple[int, int], clamp: bool) -> float:
        started = time.perf_counter()
        torch_denoise(ours, some, side, (a, b), block, clamp)
        return time.perf_counter() - started

    first = {block: plain(block, True) for block in BLOCKS}
    block = min(first, key=lambda block: first[block])
    torch_times: tuple[list[float], list[float]] = ([], [first[block]])
    seconds, notes, following = [], [], []
    for (tolerance, sampling), canvas in zip(efforts, canvases, strict=True):
        for clamp in (False, True):
            torch_times[clamp].append(plain(block, clamp))
        started = time.perf_counter()
        found = denoise(
            source, canvas, window=side, signal=a, noise=b, tolerance=tolerance, sampling=sampling, **options
        )
        seconds.append(time.perf_counter() - started)
        share = float(found.images.mean()) / len(ids)
        notes.append(
            (float(found.skipped.max()), float(found.standard_error.max()), share, float(found.weighed.mean()))
        )
        following.append(ddim_step(canvas, found.mean, step / len(sides), (step - 1) / len(sides)))
    whole = [float(np.median(times)) * len(ids) / len(some) for times in torch_times]
    return StepTimes(step, side, (whole[0], whole[1]), len(some), tuple(seconds), tuple(notes)), following


def _report(
    given: argparse.Namespace,
    efforts: list[tuple[float, ...]],
    steps: list[StepTimes],
    canvases: list[NDArray[np.float64]],
    count: int,
) -> dict[str, Any]:
    """Print and return the seconds per sample, and the differences of the samples from those of the first effort."""
    plain, clamped = (sum(times.torch[at] for times in steps) / given.batch for at in (0, 1))
    print(f"\n{count} images, batch of {given.batch}, threads: {given.threads}; seconds per sample")
    print(f"PyTorch, extrapolated: {plain:.1f} plain, {clamped:.1f} clamped")
    rows = []
    for at, effort in enumerate(efforts):
        seconds = sum(times.npgen[at] for times in steps) / given.batch
        exact, other = (canvases[index].reshape(given.batch, -1) for index in (0, at))
        r = [float(np.corrcoef(x, y)[0, 1]) for x, y in zip(exact, other, strict=True)]
        worst = np.abs(exact - other).max(1) * 127.5
        print(
            f"npgen {effort}: {seconds:.2f} ({plain / seconds:.1f} ×, {clamped / seconds:.1f} ×); beside {efforts[0]}: "
            f"r least {min(r):.5f}, median {np.median(r):.6f}; largest difference of a sample's pixels, of 255: median "
            f"{np.median(worst):.2f}, most {worst.max():.2f}"
        )
        rows.append({"effort": effort, "seconds": seconds, "r": r, "worst": worst.tolist()})
    return {"torch": {"plain": plain, "clamped": clamped}, "npgen": rows}


if __name__ == "__main__":
    main()
