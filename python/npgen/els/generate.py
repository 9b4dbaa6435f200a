"""Sampling with score machines: images from noise, by DDIM steps with an analytic denoiser instead of a trained one.

After Kamb and Ganguli, "An analytic theory of creativity in convolutional diffusion models" (arXiv 2412.20292).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus, label_number, resized
from npgen.els.machine import Denoised, check_settings, denoise, similarity_order, widest_of
from npgen.els.samples import SHARD, ScoreSamples, concatenated, load_score_samples, run_facts, write_score_shard
from npgen.els.schedules import ddim_step, levels, rotation_of, windows_of
from npgen.errors import check_seed, check_whole, invalid
from npgen.runs import RunFolder
from npgen.storage import npy

# Number of patches of greatest weight in the trace of each pixel.
SOURCES = 4
# Largest magnitude of given noise: the core takes no larger canvases.
LARGEST = 1000


def draw_noise(shape: Sequence[int], seed: int, first: int = 0) -> NDArray[np.float32]:
    """Draw normal noise, for each sample from its own random stream.

    Parameters
    ----------
    shape
        (n, H, W, C).
    seed
        Seed of all samples, 0…2⁶⁴ − 1.
    first
        Index of the first sample.

    Returns
    -------
    ndarray
        (n, H, W, C) float32. The noise of sample i is a function of the seed, `first` + i and (H, W, C).

    Examples
    --------
    >>> noise = draw_noise((3, 4, 4, 1), seed=7)
    >>> bool((draw_noise((1, 4, 4, 1), seed=7, first=2)[0] == noise[2]).all())
    True
    """
    noise = np.empty(tuple(shape), np.float32)
    for index, sample in enumerate(noise):
        # Raw numbers of a counter-based generator and the Box–Muller transform, as neither depends on NumPy's version.
        pairs = (sample.size + 1) // 2
        raw = np.random.Philox(key=[seed, first + index]).random_raw(2 * pairs)
        uniform = ((raw >> np.uint64(11)) + 0.5) / 2.0**53  # inside (0, 1)
        radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        sample[...] = normal[: sample.size].reshape(sample.shape)
    return noise


def score_generate(
    corpus: Corpus,
    n: int = 16,
    machine: str = "equivariant-borders",
    windows: str | Sequence[int] = "cifar10-resnet",
    steps: int = 20,
    label: int | str | None = None,
    seed: int = 0,
    *,
    noise: NDArray[np.floating[Any]] | None = None,
    first: int = 0,
    size: int | tuple[int, int] | None = None,
    tolerance: float = 1e-6,
    sampling: float = 0.0,
    every_step: bool = False,
    batch_size: int = 16,
    threads: int | None = None,
    progress: bool = True,
    out: str | os.PathLike[str] | None = None,
) -> ScoreSamples:
    """Generate images from noise by deterministic DDIM steps with a score machine as the denoiser.

    A sample is a function of corpus, machine, windows, steps, label, tolerance, sampling, seed and its index (or its
    noise). Batch size, threads and the other samples of the call have no influence.

    Parameters
    ----------
    corpus
        N images of H×W pixels and C channels.
    n
        Number of samples.
    machine
        Patches that a pixel's surroundings are compared with. "ideal": whole images; "local": patches at the pixel's
        own place; "equivariant": patches at all places of a torus; "equivariant-borders": patches at all places, but
        for a pixel near a border only those at the same distance from it.
    windows
        Name of a released schedule, or one odd side for each of the steps 0…`steps` − 1, of which 0 is not used.
    steps
        Number of steps: `steps` − 1 evaluations at the times (steps − 1)/steps, …, 1/steps.
    label
        Only images of this class, by number or name; None means all.
    seed
        Seed of the noise, 0…2⁶⁴ − 1.
    noise
        (n, H, W, C): initial noise; None draws it.
    first
        Index of the first sample.
    size
        Height and width to resize the images to, bilinearly, as the published machines do with 32; None keeps them.
    tolerance, sampling
        As in `denoise`.
    every_step
        Record the trace of all steps, not just of the last.
    batch_size
        Canvases denoised together.
    threads
        CPU threads; None means one per core.
    progress
        Show a progress bar.
    out
        Run folder that the samples are written to, shard by shard; after an interruption, the same call continues
        there. None: samples are in memory only.

    Returns
    -------
    ScoreSamples
        Images, noise, the patches of greatest weight of every pixel, and accounts of each step.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `out` holds another run.
    FileExistsError
        If `out` holds something else, or another process is writing to it.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.score_generate(corpus, 1, "local", [3, 5, 7], steps=3, progress=False)
    >>> samples.images.shape, samples.trace.image_id.shape
    ((1, 28, 28, 1), (1, 28, 28))
    """
    check_corpus(corpus)
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        check_whole(name, value, least)
    check_seed(seed)
    source, n, first = corpus if size is None else resized(corpus, size), int(n), int(first)
    sides = windows_of(windows, steps, widest_of(source))
    class_number = label_number(source, label)
    check_settings(source, machine, sides, tolerance, sampling, threads)
    shape = (n, *source.images.shape[1:])
    start = draw_noise(shape, int(seed), first) if noise is None else _checked_noise(noise, shape)
    settings = {
        "corpus": {"name": source.name, "hash": source.hash, "shape": list(source.images.shape)},
        "machine": machine,
        "windows": list(sides),
        "steps": steps,
        "label": class_number,
        "seed": int(seed) if noise is None else None,
        "noise": None if noise is None else npy.sha256_array(start),
        "first": first,
        "tolerance": tolerance,
        "sampling": sampling,
        "every_step": every_step,
    }
    run = _Run(source, similarity_order(source, class_number), sides, threads, settings)
    with contextlib.ExitStack() as stack:
        folder = None
        if out is not None:
            folder = stack.enter_context(RunFolder.open(out, run_facts(settings, n), write_score_shard))
        done = folder.done if folder else 0
        total = n * (steps - 1)
        bar = stack.enter_context(
            tqdm(total=total, initial=done * (steps - 1), unit="canvas step", disable=not progress)
        )
        parts = []
        for begin, end in pairwise([*range(done, n, SHARD), n]):
            batches = [slice(at, min(at + batch_size, end)) for at in range(begin, end, batch_size)]
            shard = concatenated([run.batch(start[rows], first + rows.start, bar) for rows in batches])
            if folder:
                folder.append(shard)
            else:
                parts.append(shard)
    return concatenated(parts) if out is None else load_score_samples(out)


@dataclass(frozen=True)
class _Run:
    """Settings that all batches of a run share."""

    corpus: Corpus
    ids: NDArray[np.int32]
    sides: tuple[int, ...]
    threads: int | None
    settings: dict[str, Any]

    def _denoise(self, canvases: NDArray[np.floating[Any]], step: int) -> Denoised:
        """Denoise canvases (B, H, W, C) of a step."""
        a, b = levels(step / len(self.sides))
        return denoise(
            self.corpus,
            canvases,
            machine=self.settings["machine"],
            window=self.sides[step],
            signal=a,
            noise=b,
            ids=self.ids,
            tolerance=self.settings["tolerance"],
            sampling=self.settings["sampling"],
            sources=SOURCES if self._traced(step) else 0,
            rotation=rotation_of(step),
            threads=self.threads,
        )

    def _traced(self, step: int) -> bool:
        """Return whether the trace of a step is recorded."""
        return bool(self.settings["every_step"]) or step == 1

    def batch(self, noise: NDArray[np.float32], first: int, bar: tqdm[Any]) -> ScoreSamples:
        """Take a batch of canvases, the first of which is sample `first`, through all steps."""
        steps = len(self.sides)
        canvases = noise.astype(np.float64)  # (B, H, W, C)
        traced, accounts, times = [], [], []
        for step in range(steps - 1, 0, -1):
            # 1. Denoise: the expected image x̂₀ under each canvas.
            started = time.perf_counter()
            found = self._denoise(canvases, step)
            times.append(time.perf_counter() - started)
            # 2. Take a DDIM step to less noise.
            canvases = ddim_step(canvases, found.mean, step / steps, (step - 1) / steps)
            # 3. Record the patches of greatest weight, and the step's accounts.
            if self._traced(step):
                traced.append((found.sources, found.weights, found.entropy))
            accounts.append(np.stack([found.skipped, found.standard_error, found.images, found.weighed], 1))
            bar.update(len(noise))
        sources, weights, entropy = (np.stack(parts) for parts in zip(*traced, strict=True))
        return ScoreSamples(
            canvases.astype(np.float32),
            noise,
            sources,
            weights.astype(np.float32),
            entropy.astype(np.float32),
            np.stack(accounts, 1),
            tuple(times),
            {**self.settings, "first": first},
        )


def _checked_noise(noise: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return given noise as float32, once it is checked."""
    array = np.asarray(noise)
    if array.dtype.kind != "f":
        raise TypeError(f"noise must be of a float dtype, got {array.dtype}")
    if array.shape != shape:
        raise invalid("noise", f"of shape {shape}", array.shape)
    if not np.all(np.abs(array) <= LARGEST):
        raise invalid("noise", f"finite, within ±{LARGEST}", float(np.abs(array).max()))
    return array.astype(np.float32)
