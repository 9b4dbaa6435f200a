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
from PIL import Image
from tqdm.auto import tqdm

from npgen import _core, npy
from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.files import new_folder, write_json
from npgen.schedules import levels, windows_of

MACHINES: tuple[str, ...] = tuple(_core.score_machines())
FORMAT, VERSION = "npgen-scores", 1
# Images that the core compares at once.
LANES = 16
# How many of each pixel's heaviest patches a trace names.
SOURCES = 4


@dataclass(frozen=True)
class Denoised:
    """What some canvases are taken for, with the patches that say so. Made by `denoise`.

    Attributes
    ----------
    mean
        (B, H, W, C) float64: the image x̂₀ that is expected under the noise, −1…1.
    log_sum
        (B, H, W) float64: logarithm of the sum of weights exp(−d² / 2b²).
    entropy
        (B, H, W) float64: entropy of each pixel's weights, nats.
    sources
        (B, H, W, M, 3) int32: image, y and x of each pixel's heaviest patches, heaviest first; −1 for none.
    weights
        (B, H, W, M) float64: their shares of the weight.
    skipped
        (B,) float64: bound on the share of any pixel's weight that was skipped.
    standard_error
        (B,) float64: estimated standard error of the noise ε, root mean square; 0 if all images were met.
    images
        (B,) int64: how many images were met.
    weighed
        (B,) float64: share of the patches of these images whose weight was computed.
    """

    mean: NDArray[np.float64]
    log_sum: NDArray[np.float64]
    entropy: NDArray[np.float64]
    sources: NDArray[np.int32]
    weights: NDArray[np.float64]
    skipped: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    images: NDArray[np.int64]
    weighed: NDArray[np.float64]


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
        (S, n, H, W, M, 3) int32: image, y and x of the heaviest patches of each pixel, heaviest first; −1 for none. S is
        1, the last step, or all steps, the noisiest first.
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


def resized(corpus: Corpus, size: int | tuple[int, int]) -> Corpus:
    """Bring the images of a corpus to another size, bilinearly.

    Parameters
    ----------
    corpus
        The corpus.
    size
        Height and width, or one number for both.

    Returns
    -------
    Corpus
        In memory, with the same labels; the corpus itself if it has that size.

    Raises
    ------
    ValueError
        If a number is below 1.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise invalid("size", "at least 1", size)
    if corpus.images.shape[1:3] == (height, width):
        return corpus
    images = np.empty((len(corpus), height, width, corpus.images.shape[3]), np.uint8)
    for image, source in zip(images, corpus.images, strict=True):
        picture = Image.fromarray(source[..., 0] if source.shape[2] == 1 else source)
        small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        image[...] = small[..., np.newaxis] if small.ndim == 2 else small
    images.flags.writeable = False
    source_of = {"kind": "resized", "of": corpus.hash, "size": [height, width], "filter": "bilinear"}
    name = f"{corpus.name}-{height}x{width}"
    return Corpus.from_arrays(images, corpus.labels, corpus.classes, name=name, source=source_of)


def denoise(
    corpus: Corpus,
    canvases: NDArray[np.floating[Any]],
    *,
    machine: str,
    window: int,
    signal: float,
    noise: float,
    label: int | str | None = None,
    tolerance: float = 1e-6,
    sampling: float = 0.0,
    sources: int = 0,
    rotation: int = 0,
    threads: int | None = None,
    ids: NDArray[np.int32] | None = None,
) -> Denoised:
    """Tell what image is expected under each of some noisy canvases. The score is (signal · mean − canvas) / noise².

    Parameters
    ----------
    corpus
        N images of H×W pixels and C channels.
    canvases
        (B, H, W, C): x = a·x₀ + b·ε, images being −1…1.
    machine
        "ideal", "local", "equivariant" or "equivariant-borders".
    window
        Side of a patch, odd; of no effect on "ideal".
    signal, noise
        a in (0, 1], b in [0.001, 1].
    label
        Only images of this class, by number or name; None means all.
    tolerance
        Largest share of any pixel's weight that may be skipped; 0 skips nothing. From 0.001 on, distances are rounded to
        16 bits, too, where that spares time.
    sampling
        Where weights are spread, meet only so many images, in a systematic sample, that the standard error of the noise
        ε is below this; 0 means all images.
    sources
        M: how many heaviest patches to name.
    rotation
        Which systematic sample.
    threads
        CPU threads; None means one a core.
    ids
        From `images_alike`, where several calls have the same corpus and label; None makes them.

    Returns
    -------
    Denoised
        A canvas's part of it depends on neither the other canvases nor the threads.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if threads is not None and threads < 1:
        raise invalid("threads", "at least 1 or None", threads)
    if not 0 <= sources <= 64:
        raise invalid("sources", "in 0…64", sources)
    if window < 1:
        raise invalid("window", "odd and at least 1", window)
    ids = images_alike(corpus, label) if ids is None else ids
    mean, log_sum, entropy, image, at, weights, skipped, standard_error, images, weighed = _core.denoise(
        corpus.images,
        ids,
        np.ascontiguousarray(canvases, np.float32),
        machine=machine,
        window=window,
        signal=signal,
        noise=noise,
        tolerance=tolerance,
        sampling=sampling,
        rotation=rotation,
        sources=sources,
        threads=threads or 0,
    )
    y, x = np.where(at < 0, -1, np.stack(np.divmod(at, corpus.images.shape[2])))
    named = np.stack([image, y, x], -1).astype(np.int32)  # (B, H, W, M, 3)
    return Denoised(mean, log_sum, entropy, named, weights, skipped, standard_error, images, weighed)


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
    label_number = _label(source, label)
    shape = (int(n), *source.images.shape[1:])
    start = draw_noise(shape, int(seed), int(first)) if noise is None else _checked_noise(noise, shape)
    run = _Run(source, images_alike(source, label_number), machine, sides, tolerance, sampling, every_step, threads)
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
        "label": label_number,
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


def _label(corpus: Corpus, label: int | str | None) -> int | None:
    """Return the number of a class, by number or name."""
    if label is None:
        return None
    if corpus.labels is None:
        raise invalid("label", "None where the corpus has no labels", label)
    if isinstance(label, str):
        if corpus.classes is None or label not in corpus.classes:
            known = "a number" if corpus.classes is None else f"a number, or one of {', '.join(corpus.classes)}"
            raise invalid("label", known, label)
        return corpus.classes.index(label)
    if not np.any(corpus.labels == label):
        raise invalid("label", "one that the corpus has images of", label)
    return int(label)


def images_alike(corpus: Corpus, label: int | str | None) -> NDArray[np.int32]:
    """Order images so that neighbours are alike.

    The core compares sixteen neighbours at once, and passes them over at once if none of them is near.

    Parameters
    ----------
    corpus
        N images.
    label
        Only images of this class, by number or name; None means all.

    Returns
    -------
    ndarray
        (n,) int32 ids.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    number = _label(corpus, label)
    ids = np.arange(len(corpus)) if number is None else np.flatnonzero(corpus.labels == number)
    cells = _coarse(corpus.images, ids)
    # Split at the median of the cell that varies most, again and again: whole numbers, so the same on every machine.
    ordered, parts = [], [np.arange(len(ids))]
    while parts:
        part = parts.pop()
        if len(part) <= LANES:
            ordered.append(part)
            continue
        values = cells[part]
        sums, squares = values.sum(0), (values * values).sum(0)
        cell = int(np.argmax(len(part) * squares - sums * sums))
        half = -(-len(part) // (2 * LANES)) * LANES
        sorted_part = part[np.argsort(values[:, cell], kind="stable")]
        parts += [sorted_part[half:], sorted_part[:half]]
    return ids[np.concatenate(ordered)].astype(np.int32)


def _coarse(images: NDArray[np.uint8], ids: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return sums over up to 8×8 cells of each image, (N, cells·C)."""
    _, height, width, channels = images.shape
    down, across = (np.arange(min(8, extent)) * extent // min(8, extent) for extent in (height, width))
    cells = np.empty((len(ids), len(down), len(across), channels), np.int64)
    for start in range(0, len(ids), 4096):
        part = npy.read_rows(images, ids[start : start + 4096]).astype(np.int64)
        cells[start : start + 4096] = np.add.reduceat(np.add.reduceat(part, down, 1), across, 2)
    return cells.reshape(len(ids), -1)


def _checked_noise(noise: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = np.asarray(noise)
    if array.dtype.kind != "f":
        raise TypeError(f"noise must be of a float dtype, got {array.dtype}")
    if array.shape != shape:
        raise invalid("noise", f"of shape {shape}", array.shape)
    return array.astype(np.float32)
