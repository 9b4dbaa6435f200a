"""Windows of a score machine, chosen by a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus
from npgen.els.generate import check_run, draw_noise
from npgen.els.machine import MACHINES, denoise, images_alike
from npgen.els.schedules import levels, windows_of
from npgen.errors import check_choice, check_whole, invalid
from npgen.output import markdown_table, number

if TYPE_CHECKING:
    from npgen.els.diffusion import DiffusionNetwork


@dataclass(frozen=True, eq=False)
class Calibration:
    """Windows that make a machine's score most like a network's.

    Attributes
    ----------
    windows
        One side for each of the steps 0…`steps` − 1, as `score_generate` takes them; that of step 0 is step 1's.
    sides
        (K,) sides that were tried.
    cosines
        (T, K): of each step from 1 on the median over samples of the scores' cosine similarity.
    """

    windows: tuple[int, ...]
    sides: tuple[int, ...]
    cosines: NDArray[np.float64]

    def markdown(self) -> str:
        """Lay the cosines out, a row a step, the noisiest last."""
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
    """Choose the windows of a machine by a network, as Kamb and Ganguli do.

    At each step, that odd side is taken for which the median over samples of the cosine similarity of the machine's
    score and the network's is highest. Canvases are those that the network's own steps come to.

    Parameters
    ----------
    network
        Trained on the corpus.
    corpus
        N images.
    n
        Number of samples.
    machine
        "local", "equivariant" or "equivariant-borders".
    steps
        Number of steps.
    largest
        Largest side; None takes that of the network's own window.
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
        The windows, and all cosines.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the network is of another corpus.
    """
    check_corpus(corpus)
    check_whole("n", n, 1, 2**31)
    check_choice("machine", machine, tuple(name for name in MACHINES if name != "ideal"))
    check_network(network, corpus)
    side = min(network.recipe.reach if largest is None else largest, 2 * max(corpus.images.shape[1:3]) - 1)
    check_whole("largest", side, 3)
    sides = tuple(range(3, side + 1, 2))
    check_run(corpus, machine, windows_of([3] * steps, steps), tolerance, sampling)
    ids = images_alike(corpus, None)
    canvases = draw_noise((n, *corpus.images.shape[1:]), seed).astype(np.float64)
    cosines = np.empty((steps - 1, len(sides)))
    with tqdm(total=(steps - 1) * len(sides), unit="window", disable=not progress) as bar:
        for step in range(steps - 1, 0, -1):
            (a, b), (next_a, next_b) = levels(step / steps), levels((step - 1) / steps)
            mean = network.denoise(canvases, step / steps, device=device)
            wanted = (a * mean - canvases).reshape(n, -1)  # the score, but for 1/b²
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
                    rotation=37 * step,
                    threads=threads,
                )
                score = (a * found.mean - canvases).reshape(n, -1)
                lengths = np.linalg.norm(score, axis=1) * np.linalg.norm(wanted, axis=1)
                cosines[step - 1, at] = np.median((score * wanted).sum(1) / lengths)
                bar.update()
            canvases = next_a * mean + next_b * (canvases - a * mean) / b
    best = [sides[at] for at in cosines.argmax(1)]
    return Calibration((best[0], *best), sides, cosines)


def check_network(network: DiffusionNetwork, corpus: Corpus) -> None:
    """Raise ValueError unless a network was trained on this corpus."""
    if network.metadata.get("corpus_hash") != corpus.hash:
        allowed = f"one that was trained on {corpus.name}, {corpus.hash[:16]}"
        raise invalid("network", allowed, f"{network.metadata.get('corpus')}, {network.metadata.get('corpus_hash')}")
