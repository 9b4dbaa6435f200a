"""Analytic score machines: what an ideal, local or equivariant denoiser of a corpus makes of noise, without training.

After Kamb and Ganguli, "An analytic theory of creativity in convolutional diffusion models" (arXiv 2412.20292).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen import npy
from npgen.corpus import Corpus
from npgen.denoising import MACHINES, Denoised, denoise, images_alike, label_number, resized
from npgen.errors import check_type, invalid
from npgen.files import new_folder, write_json
from npgen.schedules import levels, windows_of

FORMAT, VERSION = "npgen-scores", 1
# How many of each pixel's heaviest patches a trace names.
SOURCES = 4


@dataclass(frozen=True)
class StepAccount:
    """What one step of a run took.

    Attributes
    ----------
    step, window
        Number of the step, the noisiest first, and side of its windows.
    signal, noise
        a and b of x = a·x₀ + b·ε.
    seconds
        Time that it took, all batches together.
    skipped
        Bound on the share of any pixel's weight that was skipped.
    standard_error
        Largest estimated standard error of a canvas's noise, root mean square, from sampling images.
    images
        Mean number of images that were met.
    weighed
        Share of their patches whose weight was computed.
    """

    step: int
    window: int
    signal: float
    noise: float
    seconds: float
    skipped: float
    standard_error: float
    images: float
    weighed: float


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Samples of a score machine. Made by `score_generate`.

    Attributes
    ----------
    images
        (n, H, W, C) float32, about −1…1: not clamped.
    noise
        (n, H, W, C) float32: what they were made of.
    sources
        (S, n, H, W, M, 3) int32: image, y and x of the heaviest patches of each pixel, heaviest first; −1 for none. S
        is 1, the last step, or all steps, the noisiest first.
    weights
        (S, n, H, W, M) float32: their shares of the weight.
    entropy
        (S, n, H, W) float32: entropy of each pixel's weights, nats.
    steps
        What each step took.
    settings
        All that decided the samples, JSON-able.
    """

    images: NDArray[np.float32]
    noise: NDArray[np.float32]
    sources: NDArray[np.int32]
    weights: NDArray[np.float32]
    entropy: NDArray[np.float32]
    steps: tuple[StepAccount, ...]
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images (n, H, W, C) as bytes, clamped to 0…255."""
        pixels: NDArray[np.uint8] = np.clip(np.rint((self.images + 1) * 127.5), 0, 255).astype(np.uint8)
        return pixels

    def mosaic(self, corpus: Corpus) -> NDArray[np.uint8]:
        """Show, for each pixel, the centre of its heaviest patch in the last step.

        Parameters
        ----------
        corpus
            The corpus that the samples were made of.

        Returns
        -------
        ndarray
            (n, H, W, C) uint8.

        Raises
        ------
        ValueError
            If it is another corpus.
        """
        if corpus.hash != self.settings["corpus"]["hash"]:
            raise invalid("corpus", f"that of hash {self.settings['corpus']['hash']}", corpus.hash)
        image, y, x = np.moveaxis(self.sources[-1, :, :, :, 0], -1, 0)  # (n, H, W) each
        centres: NDArray[np.uint8] = corpus.images[image, y, x]
        return centres

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder, atomically: arrays, `manifest.json`.

        Parameters
        ----------
        path
            Where the folder goes; nothing may be there.

        Raises
        ------
        FileExistsError
            If something is at `path`.
        OSError
            If it cannot be written; nothing is kept then.
        """
        with new_folder(path) as folder:
            self.write(folder)

    def write(self, folder: Path) -> None:
        """Write arrays and `manifest.json` into a folder that is being made."""
        names = ("images", "noise", "sources", "weights", "entropy")
        hashes = {name: npy.write_array(folder / f"{name}.npy", getattr(self, name)) for name in names}
        steps = [asdict(step) for step in self.steps]
        facts = {"format": FORMAT, "version": VERSION, **self.settings, "steps_taken": steps, "sha256": hashes}
        write_json(folder / "manifest.json", facts)


def draw_noise(shape: Sequence[int], seed: int, first: int = 0) -> NDArray[np.float32]:
    """Draw normal noise, each sample's from its own stream.

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
        (n, H, W, C) float32. Sample i is a function of the seed, `first` + i and (H, W, C).
    """
    noise = np.empty(tuple(shape), np.float32)
    for index, sample in enumerate(noise):
        # Raw numbers of a counter-based generator, and Box and Muller's formula: neither depends on NumPy's version.
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
) -> ScoreSamples:
    """Make images of noise by deterministic DDIM steps with the score of a machine.

    A sample is a function of corpus, machine, windows, steps, label, tolerance, sampling, seed and its index (or its
    noise): batch size, threads and the other samples of the call have no part in it.

    Parameters
    ----------
    corpus
        N images of H×W pixels and C channels.
    n
        Number of samples.
    machine
        "ideal": whole images; "local": patches at a pixel's own place; "equivariant": patches at all places of a torus;
        "equivariant-borders": the same, but near a border only those as near to it.
    windows
        Name of a released schedule, or one odd side for each of the steps 0…`steps` − 1, of which 0 is not used.
    steps
        Number of steps: `steps` − 1 evaluations at the times (steps − 1)/steps, …, 1/steps.
    label
        Only images of this class, by number or name; None means all.
    seed
        Seed of the noise, 0…2⁶⁴ − 1.
    noise
        (n, H, W, C) to start from; None draws it.
    first
        Index of the first sample.
    size
        Height and width to resize the images to, bilinearly, as the published machines do with 32; None leaves them.
    tolerance, sampling
        As in `denoise`.
    every_step
        Keep the trace of all steps, not just of the last.
    batch_size
        Canvases denoised side by side.
    threads
        CPU threads; None means one a core.
    progress
        Show a progress bar.

    Returns
    -------
    ScoreSamples
        Images, noise, the heaviest patches of every pixel, and what each step took.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    check_type("corpus", corpus, Corpus)
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise invalid(name, f"at least {least}", value)
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise invalid("seed", "a whole number in 0…2⁶⁴ − 1", seed)
    if machine not in MACHINES:
        raise invalid("machine", f"one of {', '.join(MACHINES)}", machine)
    sides = windows_of(windows, steps)
    source = corpus if size is None else resized(corpus, size)
    class_number = label_number(source, label)
    shape = (int(n), *source.images.shape[1:])
    start = draw_noise(shape, int(seed), int(first)) if noise is None else _checked_noise(noise, shape)
    run = _Run(source, images_alike(source, class_number), machine, sides, tolerance, sampling, every_step, threads)
    batches = [start[at : at + batch_size] for at in range(0, len(start), batch_size)]
    with tqdm(total=len(batches) * (steps - 1), unit="step", disable=not progress) as bar:
        results = [run.batch(batch, bar) for batch in batches]
    images, sources, weights, entropy = (
        np.concatenate(parts, 0 if at == 0 else 1)
        for at, parts in enumerate(zip(*(result[:4] for result in results), strict=True))
    )
    settings = {
        "corpus": {"name": source.name, "hash": source.hash, "shape": list(source.images.shape)},
        "machine": machine,
        "windows": list(sides),
        "steps": steps,
        "label": class_number,
        "seed": int(seed) if noise is None else None,
        "first": int(first),
        "tolerance": tolerance,
        "sampling": sampling,
    }
    accounts = _sum_accounts([result[4] for result in results])
    return ScoreSamples(images, start, sources, weights, entropy, accounts, settings)


@dataclass(frozen=True)
class _Run:
    """What all batches have in common."""

    corpus: Corpus
    ids: NDArray[np.int32]
    machine: str
    sides: tuple[int, ...]
    tolerance: float
    sampling: float
    every_step: bool
    threads: int | None

    def batch(self, noise: NDArray[np.float32], bar: tqdm[Any]) -> tuple[Any, ...]:
        """Take one batch through all steps: images, sources, weights, entropies of the traced steps, and accounts."""
        steps = len(self.sides)
        canvases = noise.astype(np.float64)  # (B, H, W, C)
        traced, accounts = [], []
        for step in range(steps - 1, 0, -1):
            kept = self.every_step or step == 1
            a, b = levels(step / steps)
            started = time.perf_counter()
            found = denoise(
                self.corpus,
                canvases,
                machine=self.machine,
                window=self.sides[step],
                signal=a,
                noise=b,
                ids=self.ids,
                tolerance=self.tolerance,
                sampling=self.sampling,
                sources=SOURCES if kept else 0,
                rotation=37 * step,  # no step has another's sample
                threads=self.threads,
            )
            seconds = time.perf_counter() - started
            epsilon = (canvases - a * found.mean) / b
            a, b = levels((step - 1) / steps)
            canvases = a * found.mean + b * epsilon
            if kept:
                traced.append((found.sources, found.weights, found.entropy))
            accounts.append((step, seconds, found))
            bar.update()
        sources, weights, entropy = (np.stack(parts) for parts in zip(*traced, strict=True))
        taken = [self._account(step, seconds, found) for step, seconds, found in accounts]
        return (
            canvases.astype(np.float32),
            sources,
            weights.astype(np.float32),
            entropy.astype(np.float32),
            taken,
        )

    def _account(self, step: int, seconds: float, found: Denoised) -> StepAccount:
        a, b = levels(step / len(self.sides))
        return StepAccount(
            step,
            self.sides[step],
            a,
            b,
            seconds,
            float(found.skipped.max()),
            float(found.standard_error.max()),
            float(found.images.mean()),
            float(found.weighed.mean()),
        )


def _sum_accounts(batches: list[list[StepAccount]]) -> tuple[StepAccount, ...]:
    """Join the accounts of all batches, step by step."""
    joined = []
    for accounts in zip(*batches, strict=True):
        first = accounts[0]
        joined.append(
            StepAccount(
                first.step,
                first.window,
                first.signal,
                first.noise,
                sum(account.seconds for account in accounts),
                max(account.skipped for account in accounts),
                max(account.standard_error for account in accounts),
                float(np.mean([account.images for account in accounts])),
                float(np.mean([account.weighed for account in accounts])),
            )
        )
    return tuple(joined)


def _checked_noise(noise: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = np.asarray(noise)
    if array.dtype.kind != "f":
        raise TypeError(f"noise must be of a float dtype, got {array.dtype}")
    if array.shape != shape:
        raise invalid("noise", f"of shape {shape}", array.shape)
    return array.astype(np.float32)
