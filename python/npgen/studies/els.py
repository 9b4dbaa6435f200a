"""How well the score machines foretell what a trained network makes of the same noise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.els import MACHINES, ScoreSamples, as_uint8, check_network, check_run, draw_noise, score_generate, windows_of
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, csv_table, labelled_rows, markdown_table, number, save_png
from npgen.storage import npy, read_json, replacing, sha256_file, write_bytes, write_json
from npgen.studies.workbench import claim_folder

if TYPE_CHECKING:
    from npgen.els import diffusion

FORMAT, VERSION = "npgen-els-comparison", 1
# Median Pearson r over seeds that Kamb and Ganguli publish, by released windows (arXiv 2412.20292, Table 1).
PUBLISHED = {
    "cifar10-resnet": 0.95,
    "cifar10-unet": 0.90,
    "mnist-resnet": 0.94,
    "mnist-unet": 0.89,
    "fashion-mnist-resnet": 0.94,
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `els_compare` found.

    Attributes
    ----------
    rows
        A row a machine, JSON-able: `machine`; `r` and `r2`, medians over the seeds; their quartiles `…_low` and
        `…_high`; `r_least`; and of every seed `r_of` and `r2_of`.
    notes
        What the table needs said below it.
    facts
        Corpus, network, settings: what decides the rows.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def best(self) -> str:
        """The machine of the highest median r."""
        return str(max(self.rows, key=lambda row: row["r"])["machine"])

    def markdown(self) -> str:
        """Lay the rows out as a Markdown table with its notes."""
        columns = [
            Column("machine", lambda row: f"`{row['machine']}`"),
            number("Pearson r", "r", ".3f"),
            number("least r", "r_least", ".3f"),
            number("r² = 1 − SS_res/SS_tot", "r2", ".3f"),
        ]
        return "\n".join([markdown_table(columns, self.rows), "", *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"format": FORMAT, "version": VERSION, **self.facts, "rows": list(self.rows), "notes": list(self.notes)}


def pearson(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Correlate images with others, one by one.

    Parameters
    ----------
    found, expected
        (n, …) images.

    Returns
    -------
    ndarray
        (n,) Pearson's r over all numbers of an image.
    """
    a, b = (images.reshape(len(images), -1).astype(np.float64) for images in (found, expected))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    r: NDArray[np.float64] = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return r


def determination(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Tell how much of images others explain, one by one: r² = 1 − SS_res / SS_tot.

    Parameters
    ----------
    found
        (n, …) images that foretell.
    expected
        (n, …) images that are foretold: SS_tot is their scatter around each one's mean.

    Returns
    -------
    ndarray
        (n,) at most 1; below 0 where an image's mean would foretell it better.
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

    The network is kept as `network.safetensors`, its samples as `network.npy`, and each machine's as a run folder,
    `machines/<machine>`. What is there already is not made again: the same call goes on with what was interrupted.
    `table.md`, `table.csv`, `results.json` and the pictures `grid.png` and `mosaic.png` are written at the end.

    Parameters
    ----------
    corpus
        N images: what the network learns from, and what the machines compare with.
    out
        Folder to make, or that of an earlier call with the same settings.
    n
        Number of seeds, at least 2.
    machines
        Names.
    windows, steps
        As for `score_generate`.
    network
        File of a network that `train_diffusion` made on this corpus; None trains one.
    recipe
        How to train it; None takes the defaults.
    network_steps
        Steps of the network's DDIM, from the machines' first time to 0.
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
        If an argument is out of range, the network is of another corpus, or `out` holds something else.
    FileNotFoundError
        If there is no such network.
    """
    from npgen.els import diffusion, diffusion_training

    check_type("corpus", corpus, Corpus)
    check_whole("n", n, 2, 2**31)
    check_whole("network_steps", network_steps, 1, 10_000)
    if not machines or len(set(machines)) < len(machines):
        raise invalid("machines", "one or more, each once", list(machines))
    sides = windows_of(windows, steps)
    for machine in machines:
        check_run(corpus, machine, sides, tolerance, sampling)
    if network is not None and recipe is not None:
        raise invalid("recipe", "None where a network is given", recipe)
    folder = Path(out)
    trained = None if network is None else diffusion.DiffusionNetwork.load(network)
    if trained is not None:
        check_network(trained, corpus)
    claim_folder(folder, FORMAT, VERSION)
    if trained is None:
        trained = diffusion_training.train_diffusion(
            corpus, folder / "network.safetensors", recipe, device, progress=progress
        )
    noise = draw_noise((n, *corpus.images.shape[1:]), seed)
    file = folder / "network.safetensors" if network is None else Path(network)
    made = _network_samples(trained, file, noise, network_steps, folder / "network.npy", device, progress)
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
    write_bytes(folder / "table.md", f"{comparison.markdown()}\n".encode())
    write_bytes(folder / "table.csv", csv_table([_scalars(row) for row in rows]))
    shown = {"network": as_uint8(made), **{machine: samples.pixels for machine, samples in runs.items()}}
    save_png(labelled_rows(shown), folder / "grid.png", facts)
    best = runs[comparison.best]
    mosaics = {comparison.best: best.pixels, "heaviest patches' centres": best.mosaic(corpus)}
    save_png(labelled_rows(mosaics), folder / "mosaic.png", facts)
    write_json(folder / "results.json", comparison.to_json())
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
    """Make the network's samples, or read those that were made of the very same."""
    key = {"network": sha256_file(file), "noise": npy.sha256_array(noise), "steps": steps}
    note = path.with_suffix(".json")
    if note.exists() and path.exists():
        kept = read_json(note)
        if kept.get("key") == key and kept.get("sha256") == sha256_file(path):
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


def _scalars(row: Row) -> Row:
    return {name: value for name, value in row.items() if not isinstance(value, list)}


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
        "Both r and r² compare all numbers of an image, the network's being the truth; nothing is clamped.",
    ]
    if isinstance(windows, str) and windows in PUBLISHED:
        notes.append(f"Published median r for {windows}: {PUBLISHED[windows]:.2f} (on all of its data set).")
    return notes
