"""Calibration: the windows with which a score machine's score is most similar to a trained network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus
from npgen.els.generate import draw_noise
from npgen.els.machine import MACHINES, check_settings, denoise, similarity_order
from npgen.els.schedules import ddim_step, levels, rotation_of, windows_of
from npgen.errors import check_choice, check_whole, invalid
from npgen.output import markdown_table, number

if TYPE_CHECKING:
    from npgen.els.diffusion import DiffusionNetwork


@dataclass(frozen=True, eq=False)
class Calibration:
    """Windows with which a machine's score is most similar to a network's. Made by `calibrate_windows`.

    Attributes
    ----------
    windows
        One side for each of the steps 0…`steps` − 1, as `score_generate` takes them; that of step 0 repeats step 1's.
    sides
        (K,) sides that were tried.
    cosines
        (T, K): for each step from 1 on and each side, the median over samples of the scores' cosine similarity.
    """

    windows: tuple[int, ...]
    sides: tuple[int, ...]
    cosines: NDArray[np.float64]

    def markdown(self) -> str:
        """Return a table of the cosines, one row per step, the noisiest last."""
        columns = [number("step", "step", "d"), number("window", "window", "d")]
        columns += [number(f"{side}×{side}", str(side), ".4f") for side in self.sides]
        rows = [
            {"step": step, "window": self.windows[step], **dict(zip(map(str, self.sides), line, strict=True))}
            for step, line in enumerate(self.cosines.tolist(), 1)
        ]
        return markdown_table(columns, rows, 0)


def calibrate_windows(
    network: DiffusionNetwork,
    corpus: Corpus,
    n: int = 8,
    machine: str = "equivariant-borders",
    *,
    steps: int = 20,
    largest: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-2,
    sampling: float = 1e-2,
    threads: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Calibration:
    """Choose the windows of a machine by a trained network, as Kamb and Ganguli do.

    For each step, the odd side is chosen for which the machine's score is most similar to the network's: by cosine
    similarity, median over samples. The canvases are those of the network's own steps.

    Parameters
    ----------
    network
        A network that was trained on the corpus.
    corpus
        N images.
    n
        Number of samples.
    machine
        "local", "equivariant" or "equivariant-borders".
    steps
        Number of steps.
    largest
        Largest side; None takes that of the network's receptive field.
    seed
        Seed of the noise.
    tolerance, sampling, threads
        As for `score_generate`.
    device
        Torch device of the network.
    progress
        Show a progress bar.

    Returns
    -------
    Calibration
        The windows, and the cosines of all sides.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the network is of another corpus.
    """
    check_corpus(corpus)
    check_whole("n", n, 1, 2**31)
    check_choice("machine", machine, tuple(name for name in MACHINES if name != "ideal"))
    check_network(network, corpus)
    side = min(
        network.architecture.receptive_field if largest is None else largest, 2 * max(corpus.images.shape[1:3]) - 1
    )
    check_whole("largest", side, 3)
    sides = tuple(range(3, side + 1, 2))
    check_settings(corpus, machine, windows_of([3] * steps, steps), tolerance, sampling)
    ids = similarity_order(corpus, None)
    canvases = draw_noise((n, *corpus.images.shape[1:]), seed).astype(np.float64)
    cosines = np.empty((steps - 1, len(sides)))
    with tqdm(total=(steps - 1) * len(sides), unit="window", disable=not progress) as bar:
        for step in range(steps - 1, 0, -1):
            # 1. Compute the network's score, without the factor 1/b².
            a, b = levels(step / steps)
            mean = network.denoise(canvases, step / steps, device=device)
            network_score = (a * mean - canvases).reshape(n, -1)
            # 2. Compare the machine's score at every side.
            for at, window in enumerate(sides):
                found = denoise(
                    corpus,
                    canvases,
                    machine=machine,
                    window=window,
                    signal=a,
                    noise=b,
                    ids=ids,
                    tolerance=tolerance,
                    sampling=sampling,
                    rotation=rotation_of(step),
                    threads=threads,
                )
                score = (a * found.mean - canvases).reshape(n, -1)
                lengths = np.linalg.norm(score, axis=1) * np.linalg.norm(network_score, axis=1)
                cosines[step - 1, at] = np.median((score * network_score).sum(1) / lengths)
                bar.update()
            # 3. Take the network's DDIM step.
            canvases = ddim_step(canvases, mean, step / steps, (step - 1) / steps)
    best = [sides[at] for at in cosines.argmax(1)]
    return Calibration((best[0], *best), sides, cosines)


def check_network(network: DiffusionNetwork, corpus: Corpus) -> None:
    """Check that a network was trained on this corpus; else raise ValueError."""
    if network.metadata.get("corpus_hash") != corpus.hash:
        allowed = f"one that was trained on {corpus.name}, {corpus.hash[:16]}"
        raise invalid("network", allowed, f"{network.metadata.get('corpus')}, {network.metadata.get('corpus_hash')}")
