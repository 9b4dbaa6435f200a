"""What trainings share: epochs, and checkpoints between them that are whole or not there.

`Training` is a training between two epochs, of whatever network; `train_to_file` brings one to its end from wherever an
earlier call left it, and refuses what another training left.

The random numbers of an epoch depend on the recipe's seed and the epoch's number alone. A training resumed from the
checkpoint of its last whole epoch therefore repeats, bit for bit on a CPU, what an uninterrupted one does.

This module imports torch: import it only where training is asked for.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.corpus import Corpus
from npgen.errors import check_whole, invalid
from npgen.runtime import retain_freed_memory
from npgen.storage import replacing, sha256_file, write_json


class TrainingRecipe(Protocol):
    """What a recipe says to every training."""

    @property
    def batch_size(self) -> int:
        """Images per step."""

    @property
    def precision(self) -> str:
        """What is computed in."""

    @property
    def seed(self) -> int:
        """Decides all that is drawn."""

    def to_json(self) -> dict[str, Any]:
        """Give all that decides the training, with the corpus, as JSON-able values."""


R = TypeVar("R", bound=TrainingRecipe)


class Training(ABC, Generic[R]):
    """A training between two epochs: everything a checkpoint holds.

    Parameters
    ----------
    corpus
        Images to train on.
    recipe
        How to train.
    device
        Where.
    epochs
        Passes over the corpus, from first to last.
    """

    name: ClassVar[str]  # of what is trained
    version: ClassVar[int]  # of its checkpoints
    optimiser: torch.optim.Optimizer

    def __init__(self, corpus: Corpus, recipe: R, device: torch.device, epochs: int) -> None:
        self.corpus, self.recipe, self.device, self.epochs = corpus, recipe, device, epochs
        self.epoch = 0
        self.seconds = 0.0
        self.losses: list[float] = []  # of epochs, the last one's at the end
        self.half = computes_half(recipe.precision, device)
        self.batch_size = min(recipe.batch_size, len(corpus))
        self.steps_per_epoch = len(corpus) // self.batch_size  # what is left over waits for another epoch

    @abstractmethod
    def step(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        """Learn from images (B, H, W, C), and return the loss."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """Give the learning rate of a step, counted from the first epoch on."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides epoch and seconds: tensors and numbers by name."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned; any error says that something is missing or wrong."""

    def shown(self, loss: float) -> dict[str, str]:
        """Tell the progress bar of the mean loss so far."""
        return {"loss": f"{loss:.3f}"}

    def run_epoch(self, bar: tqdm[Any]) -> None:
        """Show every image once, in a random order."""
        began = time.monotonic()
        generator = epoch_generator(self.recipe.seed, self.epoch)
        order = torch.randperm(len(self.corpus), generator=generator).numpy()
        total = 0.0
        for step in range(self.steps_per_epoch):
            chosen = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])  # reads a map forwards
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate(self.epoch * self.steps_per_epoch + step)
            total += self.step(self.corpus.images[chosen], generator)
            bar.update()
            bar.set_postfix({"epoch": self.epoch + 1, **self.shown(total / (step + 1))}, refresh=False)
        self.epoch += 1
        self.losses.append(total / self.steps_per_epoch)
        self.seconds += time.monotonic() - began

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {"epoch": self.epoch, "seconds": self.seconds, **self.state()}
        write_checkpoint(path, self.version, self.recipe.to_json(), self.corpus, state)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe and corpus."""
        state = read_checkpoint(path, self.version, self.recipe.to_json(), self.corpus, self.device)
        try:
            self.load(state)
            check_whole("epoch", state["epoch"], 0)
            self.epoch, self.seconds = state["epoch"], float(state["seconds"])
        except Exception as error:
            raise ValueError(f"checkpoint must be whole; {_REMEDY}, got {str(path)!r} ({error})") from error


N = TypeVar("N")
T = TypeVar("T", bound=Training[Any])


def train_to_file(
    out: Path,
    reopen: Callable[[], N],
    begin: Callable[[], T],
    finish: Callable[[T], N],
    *,
    resume: bool,
    progress: bool,
) -> N:
    """Train a network into a file, leaving a checkpoint beside it after every epoch until it is there.

    Parameters
    ----------
    out
        File to write, from `weights_path`.
    reopen
        Reads the network at `out`, and refuses one of another training.
    begin
        Makes the training.
    finish
        Writes the network that came of it to `out`, and returns it.
    resume
        Go on from a checkpoint if there is one, and leave a finished network as it is. False starts anew.
    progress
        Show a progress bar.

    Returns
    -------
    N
        The network.
    """
    if resume and out.exists():
        return reopen()
    out.parent.mkdir(parents=True, exist_ok=True)
    training = begin()
    checkpoint = out.with_name(out.name + ".checkpoint")
    if resume and checkpoint.exists():
        training.restore(checkpoint)
    steps = training.steps_per_epoch
    bar = tqdm(
        total=training.epochs * steps,
        initial=training.epoch * steps,
        desc=training.name,
        unit="step",
        disable=not progress,
    )
    with bar, retain_freed_memory():
        while training.epoch < training.epochs:
            training.run_epoch(bar)
            training.save(checkpoint)
    network = finish(training)
    checkpoint.unlink(missing_ok=True)
    return network


def weights_path(out: str | os.PathLike[str]) -> Path:
    """Return where a network is to be written, or complain of the suffix."""
    path = Path(out)
    if path.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors", str(path))
    return path


def write_story(out: Path, network_id: str, training: Training[Any], metadata: dict[str, Any]) -> None:
    """Write how a network came about into a file like `out`, where it is written already, but ending in `.json`."""
    story = {
        "id": network_id,
        "sha256": sha256_file(out),
        "seconds": round(training.seconds, 3),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": str(training.device),
        **metadata,
    }
    write_json(out.with_suffix(".json"), story)


def write_checkpoint(path: Path, version: int, recipe: dict[str, Any], corpus: Corpus, state: dict[str, Any]) -> None:
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path
        File to write or replace.
    version
        Of what `state` holds.
    recipe
        JSON-able values that decide the training, with the corpus.
    corpus
        What it trains on.
    state
        Tensors and numbers by name.
    """
    facts = {"checkpoint_version": version, "recipe": json.dumps(recipe), "corpus_hash": corpus.hash}
    with replacing(path) as file:
        torch.save({**facts, **state}, file)


def read_checkpoint(
    path: Path, version: int, recipe: dict[str, Any], corpus: Corpus, device: torch.device
) -> dict[str, Any]:
    """Read a checkpoint of the same training.

    Parameters
    ----------
    path, version, recipe, corpus
        As in `write_checkpoint`.
    device
        Where its tensors go.

    Returns
    -------
    dict
        The state; whether it is complete, its user finds out.

    Raises
    ------
    ValueError
        If it is damaged, or of another version, recipe or corpus.
    """
    try:
        # A pipe would be waited for, and torch would take other files for its older, pickled kind.
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found_version = state["checkpoint_version"]
        found_recipe, corpus_hash = json.loads(state["recipe"]), state["corpus_hash"]
    except Exception as error:  # torch answers a damaged file with all kinds
        raise ValueError(f"checkpoint must be one that npgen wrote; {_REMEDY}, got {str(path)!r}") from error
    if found_version != version:
        raise invalid("checkpoint", f"of version {version} ({_REMEDY})", f"{path} of version {found_version}")
    check_same_training(path, found_recipe, corpus_hash, recipe, corpus)
    return state


def check_same_training(path: Path, found_recipe: Any, found_hash: Any, recipe: dict[str, Any], corpus: Corpus) -> None:
    """Refuse what another recipe or corpus left at `path`."""
    remedy = "choose another path, or pass resume=False to replace it"
    if found_hash != corpus.hash:
        raise invalid("corpus", f"the one that {str(path)!r} was trained on, {found_hash} ({remedy})", corpus.hash)
    found = found_recipe if isinstance(found_recipe, dict) else {}
    if found != recipe:
        changed = {name: value for name, value in recipe.items() if found.get(name) != value}
        raise invalid("recipe", f"the one that {str(path)!r} was trained with ({remedy})", changed)


def channel_mean(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of each channel (C,) in [0, 1], exact: sums of whole numbers, some images at a time."""
    total = np.zeros(images.shape[3], np.uint64)
    for start in range(0, len(images), 1024):
        total += images[start : start + 1024].sum((0, 1, 2), dtype=np.uint64)
    mean: NDArray[np.float32] = (total / (255.0 * images[..., 0].size)).astype(np.float32)
    return mean


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Make the source of an epoch's random numbers: those of a resumed training are those of an uninterrupted one."""
    key = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> np.uint64(1)))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have torch draw from a seed meanwhile, as initial weights do; its own random numbers go on as if it had not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, clipped: Iterable[nn.Parameter] = ()) -> float:
    """Take one step down a loss, with the gradient of parameters `clipped` to length 1, and return the loss."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if parameters := list(clipped):
        nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    return float(loss.detach())


def risen(step: int, warmup: float) -> float:
    """Give the share of its peak that a learning rate has risen to in as many steps."""
    return min(1.0, (step + 1) / max(warmup, 1.0))


def fallen(step: int, steps: int) -> float:
    """Give the share that is left of a learning rate after so many of all steps: a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def computes_half(precision: str, device: torch.device) -> bool:
    """Tell whether to train in bfloat16: processors that lack such instructions emulate it, ten times slower."""
    native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return precision == "bfloat16" and native


_REMEDY = "delete it, or pass resume=False to start anew"
