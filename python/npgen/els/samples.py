"""Samples of a score machine: in memory, and as run folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import MOST_SEED, check_name, check_type, check_whole, invalid
from npgen.runs import MANIFEST, Shard, Trace, check_finished, read_arrays, shards_of, write_shards
from npgen.storage import new_folder, npy, read_json, write_json

FORMAT, VERSION = "npgen-scores", 2
# Samples in one shard of a run folder: an interruption loses at most so many.
SHARD = 16
# Settings in a manifest; format, version, n and shards lie beside them.
SETTINGS = (
    "corpus",
    "machine",
    "windows",
    "steps",
    "label",
    "seed",
    "noise",
    "first",
    "tolerance",
    "sampling",
    "every_step",
)
# Arrays of a shard: dtype, and the axis of samples.
ARRAYS: dict[str, tuple[type[Any], int]] = {
    "images": (np.float32, 0),
    "noise": (np.float32, 0),
    "sources": (np.int32, 1),
    "weights": (np.float32, 1),
    "entropy": (np.float32, 1),
    "accounts": (np.float64, 0),
}


@dataclass(frozen=True)
class StepAccount:
    """Cost and accuracy of one step of a run.

    Attributes
    ----------
    step, window
        Number of the step, and side of its windows; the step of the highest number is the noisiest.
    seconds
        Time of the step, all batches together.
    skipped
        Upper bound on the share of any pixel's weight that was not computed.
    standard_error
        Largest estimated standard error of a canvas's noise ε, root mean square, due to sampling images.
    images
        Mean number of images that were compared.
    weighed
        Share of their patches whose weight was computed.
    """

    step: int
    window: int
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
        (n, H, W, C) float32, about −1…1, not clamped.
    noise
        (n, H, W, C) float32: the initial noise.
    sources
        (S, n, H, W, M, 3) int32: image, y and x of the patches of greatest weight of each pixel, in falling order; −1
        for none. S is 1 (the last step) or the number of all steps, the noisiest first.
    weights
        (S, n, H, W, M) float32: shares of these patches in the pixel's weight.
    entropy
        (S, n, H, W) float32: entropy of each pixel's weights, nats.
    accounts
        (n, T, 4) float64: for each sample and each of the T steps, the noisiest first: the bound on the share of weight
        skipped, the standard error, the number of images compared, and the share of their patches weighed. `steps`
        summarises them.
    seconds
        (T,): time of each step, all batches together.
    settings
        JSON-able settings that decided the samples.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.score_generate(corpus, 2, "ideal", [3, 3, 3], steps=3, progress=False)
    >>> samples.pixels.dtype, len(samples[1:]), [step.window for step in samples.steps]
    (dtype('uint8'), 1, [3, 3])
    """

    images: NDArray[np.float32]
    noise: NDArray[np.float32]
    sources: NDArray[np.int32]
    weights: NDArray[np.float32]
    entropy: NDArray[np.float32]
    accounts: NDArray[np.float64]
    seconds: tuple[float, ...]
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def first(self) -> int:
        """Index of the first of these samples among all samples of the seed."""
        return int(self.settings["first"])

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images (n, H, W, C) as bytes, clamped to 0…255."""
        return as_uint8(self.images)

    @property
    def steps(self) -> tuple[StepAccount, ...]:
        """Cost and accuracy of each step, the noisiest first."""
        windows = self.settings["windows"]
        skipped, error, images, weighed = np.moveaxis(self.accounts, 2, 0)  # (n, T) each
        summed = zip(skipped.max(0), error.max(0), images.mean(0), weighed.mean(0), self.seconds, strict=True)
        return tuple(
            StepAccount(len(windows) - 1 - at, windows[-1 - at], seconds, *map(float, four))
            for at, (*four, seconds) in enumerate(summed)
        )

    @property
    def trace(self) -> Trace:
        """The patch of greatest weight of each pixel in the last step, in the form of a trace of copied pixels.

        Distances and pool sizes have no meaning here: they are 0 and 1.
        """
        image, y, x = np.ascontiguousarray(np.moveaxis(self.sources[-1, :, :, :, 0], -1, 0))
        return Trace(image, y, x, np.zeros(image.shape, np.float32), np.ones(image.shape, np.int32))

    def check_corpus(self, corpus: Corpus) -> None:
        """Check that the samples were made from this corpus, and that every source in them exists.

        Raises
        ------
        ValueError
            If it is another corpus, or a source lies outside it.
        """
        check_type("corpus", corpus, Corpus)
        own = self.settings["corpus"]
        if corpus.hash != own["hash"]:
            allowed = f"that of hash {own['hash']}, {own['name']} of {own['shape'][1]}×{own['shape'][2]} pixels"
            raise invalid("corpus", allowed, corpus.hash)
        if self.sources.size and not (
            np.all(self.sources >= -1)
            and np.all(self.sources[..., 0, :] >= 0)
            and np.all(self.sources < corpus.images.shape[:3])
        ):
            raise invalid("sources", f"inside a corpus of shape {corpus.images.shape[:3]}", "others")

    def mosaic(self, corpus: Corpus) -> NDArray[np.uint8]:
        """Return, for each pixel, the centre of its patch of greatest weight in the last step.

        Parameters
        ----------
        corpus
            The corpus that the samples were made from.

        Returns
        -------
        ndarray
            (n, H, W, C) uint8.

        Raises
        ------
        ValueError
            If it is another corpus.
        """
        self.check_corpus(corpus)
        image, y, x = np.moveaxis(self.sources[-1, :, :, :, 0], -1, 0)  # (n, H, W) each
        centres: NDArray[np.uint8] = corpus.images[image, y, x]
        return centres

    def describe(self) -> dict[str, Any]:
        """Return what made the samples, JSON-able: `model`, its `config` and its `model_seed`."""
        settings = self.settings
        return {"model": f"els {settings['machine']}", "config": settings, "model_seed": settings["seed"]}

    def provenance(self) -> dict[str, Any]:
        """Return what the samples can be made again with, JSON-able: the run's manifest without its shards."""
        return run_facts(self.settings, len(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the samples as a run folder, atomically.

        Parameters
        ----------
        path
            The folder to make; nothing may be there.

        Raises
        ------
        FileExistsError
            If something is at `path`.
        OSError
            If it cannot be written; nothing is left then.
        """
        with new_folder(path) as folder:
            write_shards(self, folder, SHARD, write_score_shard)

    def __getitem__(self, part: slice) -> ScoreSamples:
        """Return consecutive samples."""
        check_type("part", part, slice)
        start, end, step = part.indices(len(self))
        if step != 1:
            raise invalid("step of a slice of samples", "1", step)
        arrays: dict[str, Any] = {
            name: getattr(self, name)[start:end] if axis == 0 else getattr(self, name)[:, start:end]
            for name, (_, axis) in ARRAYS.items()
        }
        share = len(arrays["images"]) / len(self)
        seconds = tuple(share * seconds for seconds in self.seconds)
        return replace(self, **arrays, seconds=seconds, settings={**self.settings, "first": self.first + start})


def as_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return images of about −1…1 as bytes, clamped to 0…255."""
    pixels: NDArray[np.uint8] = np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)
    return pixels


def run_facts(settings: dict[str, Any], n: int) -> dict[str, Any]:
    """Return the manifest of a run of n samples, without its shards."""
    return {"format": FORMAT, "version": VERSION, "npgen": version("npgen"), **settings, "n": n}


def write_score_shard(samples: ScoreSamples, folder: Path) -> dict[str, Any]:
    """Write samples as the files of one shard, and return the shard's entry in the manifest."""
    hashes = {name: npy.write_array(folder / f"{name}.npy", getattr(samples, name)) for name in ARRAYS}
    # Times differ from run to run: they are not in the manifest, so that equal runs have equal manifests.
    write_json(folder / "seconds.json", {"seconds": list(samples.seconds)})
    return {"name": f"{samples.first:08d}", "n": len(samples), "sha256": hashes}


def concatenated(parts: Sequence[ScoreSamples]) -> ScoreSamples:
    """Concatenate consecutive samples of one run, in memory."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts], axis) for name, (_, axis) in ARRAYS.items()
    }
    seconds = tuple(map(sum, zip(*(part.seconds for part in parts), strict=True)))
    return replace(parts[0], **arrays, seconds=seconds)


def is_score_run(path: str | os.PathLike[str]) -> bool:
    """Return whether a run folder holds samples of a score machine."""
    return read_json(Path(path) / MANIFEST).get("format") == FORMAT


def load_score_samples(path: str | os.PathLike[str]) -> ScoreSamples:
    """Read a run folder that `ScoreSamples.save` or `npgen els` wrote.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    ScoreSamples
        All samples, in memory.

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    ValueError
        If it is damaged, unfinished, a run of another kind, or of another npgen's format.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> npgen.score_generate(corpus, 1, "ideal", [3, 3, 3], steps=3, progress=False).save("els-run")
    >>> len(npgen.load_score_samples("els-run"))
    1
    """
    folder = Path(path)
    run = f"run {str(folder)!r}"
    manifest = read_json(folder / MANIFEST)
    for name, allowed in (("format", FORMAT), ("version", VERSION)):
        if manifest.get(name) != allowed:
            raise invalid(run, f"a folder of {name} {allowed!r}", manifest.get(name))
    _check_settings(run, manifest)
    settings = {name: manifest[name] for name in SETTINGS}
    shards = shards_of(folder, manifest.get("shards"), settings["first"])
    check_finished(folder, manifest["n"], shards, "the same command")
    parts = [_load_shard(folder, shard, {**settings, "first": shard.first}) for shard in shards]
    shapes = {(part.sources.shape[0], *part.sources.shape[2:], *part.accounts.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise invalid(run, "of shards of one shape", sorted(shapes))
    return concatenated(parts)


def _check_settings(run: str, manifest: dict[str, Any]) -> None:
    """Check the settings in a manifest."""
    for name in (*SETTINGS, "n"):
        if name not in manifest:
            raise ValueError(f"{run} must have a complete manifest, got one without {name!r}")
    try:
        for name in ("first", "n"):
            check_whole(name, manifest[name], 0, MOST_SEED)
        check_whole("steps", manifest["steps"], 2, 1000)
        corpus, windows = manifest["corpus"], manifest["windows"]
        check_name(corpus["name"])
        check_type("hash", corpus["hash"], str)
        if [type(side) for side in (*corpus["shape"], *windows)] != [int] * (4 + manifest["steps"]):
            raise invalid("shape and windows", "4 whole numbers, and one per step", [corpus["shape"], windows])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run} must have a complete manifest, got one in which {error}") from error


def _load_shard(folder: Path, shard: Shard, settings: dict[str, Any]) -> ScoreSamples:
    """Read the samples of a shard."""
    n, frame, taken = shard.n, tuple(settings["corpus"]["shape"][1:]), settings["steps"] - 1
    shapes: dict[str, tuple[int | None, ...]] = {
        "images": (n, *frame),
        "noise": (n, *frame),
        "sources": (None, n, *frame[:2], None, 3),
        "weights": (None, n, *frame[:2], None),
        "entropy": (None, n, *frame[:2]),
        "accounts": (n, taken, 4),
    }
    forms = {name: (dtype, shapes[name]) for name, (dtype, _) in ARRAYS.items()}
    arrays = read_arrays(folder, shard, forms)
    if not arrays["sources"].shape[:-1] == arrays["weights"].shape or (
        arrays["weights"].shape[:-1] != arrays["entropy"].shape
    ):
        raise invalid(f"shard {shard.name}", "of arrays that fit each other", arrays["weights"].shape)
    seconds = read_json(folder / shard.name / "seconds.json").get("seconds")
    if not isinstance(seconds, list) or [isinstance(one, int | float) for one in seconds] != [True] * taken:
        raise invalid(f"seconds of shard {shard.name}", f"{taken} numbers", seconds)
    return ScoreSamples(**arrays, seconds=tuple(map(float, seconds)), settings=settings)
