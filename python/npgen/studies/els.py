"""Comparison of the score machines with a trained diffusion network: how well they predict its samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.els import (
    MACHINES,
    ScoreSamples,
    as_uint8,
    check_network,
    check_settings,
    draw_noise,
    score_generate,
    windows_of,
)
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, labelled_rows, number, save_png
from npgen.storage import npy, read_json, replacing, sha256_file, write_json
from npgen.studies.results import StudyResult

if TYPE_CHECKING:
    from npgen.els import diffusion

# Median Pearson r over seeds as published by Kamb and Ganguli, by released windows (arXiv 2412.20292, Table 1).
PUBLISHED = {
    "cifar10-resnet": 0.95,
    "cifar10-unet": 0.90,
    "mnist-resnet": 0.94,
    "mnist-unet": 0.89,
    "fashion-mnist-resnet": 0.94,
}


@dataclass(frozen=True, eq=False)
class Comparison(StudyResult):
    """The result of `els_compare`.

    Attributes
    ----------
    rows
        One row per machine, JSON-able: `machine`; `r` and `r2`, medians over the seeds; their quartiles `…_low` and
        `…_high`; their minima `…_least`; and the values for each seed, `r_of` and `r2_of`.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, network, settings.
    """

    FORMAT: ClassVar[str] = "npgen-els-comparison"
    VERSION: ClassVar[int] = 1
    CSV: ClassVar[str] = "table.csv"

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def best(self) -> str:
        """Name of the machine with the highest median r."""
        return str(max(self.rows, key=lambda row: row["r"])["machine"])

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            Column("machine", lambda row: f"`{row['machine']}`"),
            number("Pearson r", "r", ".3f"),
            number("least r", "r_least", ".3f"),
            number("r² = 1 − SS_res/SS_tot", "r2", ".3f"),
        ]

    def csv_rows(self) -> list[Row]:
        """Return the rows of the CSV file: without the values for each seed."""
        return [{name: value for name, value in row.items() if not isinstance(value, list)} for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        parts = {"rows": list(self.rows), "notes": list(self.notes)}
        return {"format": self.FORMAT, "version": self.VERSION, **self.facts, **parts}


def pearson(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute Pearson's r of each pair of images.

    Parameters
    ----------
    found, expected
        (n, …) images.

    Returns
    -------
    ndarray
        (n,) float64, r over all numbers of an image.
    """
    a, b = (images.reshape(len(images), -1).astype(np.float64) for images in (found, expected))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    r: NDArray[np.float64] = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return r


def determination(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute the coefficient of determination of each pair of images: r² = 1 − SS_res / SS_tot.

    Parameters
    ----------
    found
        (n, …) images that predict.
    expected
        (n, …) images that are predicted: SS_tot is the sum of squares around the mean of each.

    Returns
    -------
    ndarray
        (n,) float64, at most 1; below 0 if the mean of an image would be a better prediction.
    """
    a, b = (images.reshape(len(images), -1).astype(np.float64) for images in (found, expected))
    residual = ((a - b) ** 2).sum(1)
    r2: NDArray[np.float64] = 1 - residual / ((b - b.mean(1, keepdims=True)) ** 2).sum(1)
    return r2


def els_compare(
    corpus: Corpus,
    out: str | os.PathLike[str],
    n: int = 50,
    machines: Sequence[str] = MACHINES,
    windows: str | Sequence[int] = "mnist-resnet",
    *,
    network: str | os.PathLike[str] | None = None,
    recipe: diffusion.DiffusionRecipe | None = None,
    steps: int = 20,
    network_steps: int = 150,
    seed: int = 0,
    tolerance: float = 1e-6,
    sampling: float = 0.0,
    batch_size: int = 16,
    threads: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Train a diffusion network on a corpus, and compare its samples with those of the machines from the same noise.

    The network is stored as `network.safetensors`, its samples as `network.npy`, and the samples of each machine as a
    run folder, `machines/<machine>`. Stored parts are not made again: the same call resumes an interrupted comparison.
    `table.md`, `table.csv`, `results.json` and the pictures `grid.png` and `mosaic.png` are written at the end.

    Parameters
    ----------
    corpus
        N images: training images of the network, and source images of the machines.
    out
        Folder to make, or that of an earlier call with the same settings.
    n
        Number of seeds, at least 2.
    machines
        Names of machines, each once.
    windows, steps
        As for `score_generate`.
    network
        File of a network that `train_diffusion` trained on this corpus; None trains one.
    recipe
        Recipe of the network to train; None takes the defaults.
    network_steps
        Number of the network's DDIM steps, from the machines' first time to 0.
    seed
        Seed of the noise.
    tolerance, sampling, batch_size, threads
        As for `score_generate`.
    device
        Torch device of the network; "auto" takes an accelerator if there is one.
    progress
        Show progress bars.

    Returns
    -------
    Comparison
        The table.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the network was trained on another corpus, or `out` holds another study.
    FileExistsError
        If `out` holds other files.
    FileNotFoundError
        If the file of the network does not exist.
    """
    from npgen.els import diffusion, diffusion_training

    # 1. Check all arguments before anything is trained.
    check_type("corpus", corpus, Corpus)
    check_whole("n", n, 2, 2**31)
    check_whole("network_steps", network_steps, 1, 10_000)
    if not machines or len(set(machines)) < len(machines):
        raise invalid("machines", "one or more, each once", list(machines))
    sides = windows_of(windows, steps)
    for machine in machines:
        check_settings(corpus, machine, sides, tolerance, sampling)
    if network is not None and recipe is not None:
        raise invalid("recipe", "None where a network is given", recipe)
    folder = Path(out)
    trained = None if network is None else diffusion.DiffusionNetwork.load(network)
    if trained is not None:
        check_network(trained, corpus)
    Comparison.claim(folder)
    # 2. Train the network, and make its samples from the noise.
    if trained is None:
        trained = diffusion_training.train_diffusion(
            corpus, folder / "network.safetensors", recipe, device, progress=progress
        )
    noise = draw_noise((n, *corpus.images.shape[1:]), seed)
    file = folder / "network.safetensors" if network is None else Path(network)
    made = _network_samples(trained, file, noise, network_steps, folder / "network.npy", device, progress)
    # 3. Make the machines' samples from the same noise.
    runs = {
        machine: score_generate(
            corpus,
            n,
            machine,
            sides,
            steps,
            seed=seed,
            tolerance=tolerance,
            sampling=sampling,
            batch_size=batch_size,
            threads=threads,
            progress=progress,
            out=folder / "machines" / machine,
        )
        for machine in machines
    }
    # 4. Compare, and write tables and pictures.
    facts = {
        "corpus": {"name": corpus.name, "hash": corpus.hash, "shape": list(corpus.images.shape)},
        "network": {"recipe": asdict(trained.recipe), "sha256": sha256_file(file), **trained.metadata},
        "windows": list(sides),
        "n": n,
        "steps": steps,
        "network_steps": network_steps,
        "seed": seed,
        "tolerance": tolerance,
        "sampling": sampling,
    }
    rows = tuple(_row(machine, samples, made) for machine, samples in runs.items())
    comparison = Comparison(rows, tuple(_notes(facts, windows)), facts)
    shown = {"network": as_uint8(made), **{machine: samples.pixels for machine, samples in runs.items()}}
    save_png(labelled_rows(shown), folder / "grid.png", facts)
    best = runs[comparison.best]
    mosaics = {comparison.best: best.pixels, "heaviest patches' centres": best.mosaic(corpus)}
    save_png(labelled_rows(mosaics), folder / "mosaic.png", facts)
    comparison.save(folder)
    return comparison


def _network_samples(
    network: diffusion.DiffusionNetwork,
    file: Path,
    noise: NDArray[np.float32],
    steps: int,
    path: Path,
    device: str,
    progress: bool,
) -> NDArray[np.float32]:
    """Make the network's samples, or read those of an earlier call with the same network, noise and steps."""
    key = {"network": sha256_file(file), "noise": npy.sha256_array(noise), "steps": steps}
    note = path.with_suffix(".json")
    if note.exists() and path.exists():
        stored = read_json(note)
        if stored.get("key") == key and stored.get("sha256") == sha256_file(path):
            return np.asarray(npy.open_array(path, np.float32, noise.shape))
    samples = network.sample(noise, steps, device=device, progress=progress)
    with replacing(path) as out:
        np.save(out, samples)
    write_json(note, {"key": key, "sha256": sha256_file(path)})
    return samples


def _row(machine: str, samples: ScoreSamples, made: NDArray[np.float32]) -> Row:
    row: Row = {"machine": machine, "n": len(made)}
    for name, values in (("r", pearson(samples.images, made)), ("r2", determination(samples.images, made))):
        low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high, f"{name}_least": float(values.min())}
        row[f"{name}_of"] = values.tolist()
    return row


def _notes(facts: dict[str, Any], windows: str | Sequence[int]) -> list[str]:
    network = facts["network"]
    recipe = network["recipe"]
    notes = [
        f"Corpus {facts['corpus']['name']} ({facts['corpus']['shape'][0]} images of {facts['corpus']['shape'][1]}×"
        f"{facts['corpus']['shape'][2]}), {facts['n']} seeds, noise of seed {facts['seed']}. Medians over the seeds; "
        "brackets are quartiles.",
        f"Network: {recipe['layers'] + 2} 3×3 convolutions of width {recipe['width']}, padding {recipe['padding']}, "
        f"{recipe['epochs']} epochs in {network['seconds']:.0f} s, loss {network['loss']:.4f}; "
        f"{facts['network_steps']} DDIM steps. Machines: {facts['steps']} steps, windows "
        f"{', '.join(map(str, facts['windows']))}, tolerance {facts['tolerance']:g}, sampling {facts['sampling']:g}.",
        "Both r and r² are over all numbers of an image, with the network's images as the truth; nothing is clamped.",
    ]
    if isinstance(windows, str) and windows in PUBLISHED:
        notes.append(f"Published median r for {windows}: {PUBLISHED[windows]:.2f} (on all of its data set).")
    return notes
