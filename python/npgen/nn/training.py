"""Training of a network: epochs, checkpoints between them, and the finished network in a file.

`Training` is the base of all trainings into files; `Training.to_file` runs one to its end, from wherever an interrupted
call left it. The random numbers of an epoch depend on the recipe's seed and the epoch's number alone, so that a resumed
training computes, bit for bit on a CPU, what an uninterrupted one does.

This module imports torch: import it only where a network is trained.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.corpus import Corpus
from npgen.errors import check_whole, invalid
from npgen.nn.checkpoints import REMEDY, check_same_training, check_state, read_checkpoint, write_checkpoint
from npgen.nn.inference import fastest_convolutions
from npgen.nn.limits import Limits
from npgen.nn.recipes import TrainingRecipe
from npgen.nn.stored import StoredNetwork
from npgen.runtime import resolve_device, retain_freed_memory
from npgen.storage import sha256_file, write_json

CHECKPOINT_SECONDS = 30.0
MOST_ON_ACCELERATOR = 4 << 30  # bytes of a corpus


R = TypeVar("R", bound=TrainingRecipe)
N = TypeVar("N", bound=StoredNetwork[Any])


class Training(ABC, Generic[R, N]):
    """A training between two epochs: everything that a checkpoint holds.

    Parameters
    ----------
    corpus
        Images to train on.
    recipe
        How to train.
    device
        Where to train.
    """

    name: ClassVar[str]  # of the kind of network, for the progress bar
    version: ClassVar[int]  # of the form of its checkpoints
    network_type: ClassVar[type[StoredNetwork[Any]]]
    holds_corpus: ClassVar[bool] = False  # whether an accelerator holds the corpus, and `step` gets images from there
    optimiser: torch.optim.Optimizer

    def __init__(self, corpus: Corpus, recipe: R, device: torch.device) -> None:
        self.corpus, self.recipe, self.device = corpus, recipe, device
        self.epoch = 0  # the number of finished epochs
        self.seconds = 0.0
        self.losses: list[float] = []  # mean loss of finished epochs, in order; a checkpoint may hold the last only
        self.time_limit: float | None = None  # seconds of training; None: the recipe's epochs
        self.place = 0  # of the present step in the recipe's schedule, in steps
        self.draws_on = torch.device("cpu")  # where an epoch's random numbers are drawn
        self.bfloat16 = uses_bfloat16(recipe.precision, device)
        self.batch_size = min(recipe.batch_size, len(corpus))
        self.steps_per_epoch = len(corpus) // self.batch_size  # only full batches: the remaining images are skipped
        self.steps = recipe.total_epochs * self.steps_per_epoch

    @abstractmethod
    def step(self, images: Tensor, generator: torch.Generator) -> float:
        """Take one optimiser step on images (B, H, W, C), uint8, and return the loss."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from the start of the training."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides epoch and seconds: tensors and numbers by name."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Set what `state` returned; raise an error of any type if something is missing or wrong."""

    @abstractmethod
    def network_trained(self, device: str, progress: bool) -> N:
        """Return the trained network in its final form, with its measures as metadata.

        Parameters
        ----------
        device
            Torch device that the network is to run on.
        progress
            Show progress bars.
        """

    def snapshot(self, device: str, progress: bool) -> N:
        """Return the network as it is now, as `network_trained` does; a subclass may leave out what takes long."""
        return self.network_trained(device, progress)

    def bar_text(self, loss: float) -> dict[str, str]:
        """Return what the progress bar shows for a mean loss: text by name."""
        return {"loss": f"{loss:.3f}"}

    @classmethod
    def to_file(
        cls,
        corpus: Corpus,
        out: Path,
        recipe: R,
        device: str,
        *,
        resume: bool,
        progress: bool,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> N:
        """Train a network and write it to a file. Until then a checkpoint lies beside it, renewed after every epoch.

        With a time limit it is renewed at most every `CHECKPOINT_SECONDS`, as epochs may be shorter than its writing.

        Parameters
        ----------
        corpus
            Images to train on.
        out
            File to write, from `weights_path`.
        recipe
            How to train.
        device
            Torch device; "auto" takes an accelerator if there is one.
        resume
            Continue from a checkpoint if there is one, and return a finished network as it is. False starts anew.
        progress
            Show a progress bar.
        limits
            How long to train, and how often to write the unfinished network.

        Returns
        -------
        StoredNetwork
            Of the class's `network_type`, as saved.

        Raises
        ------
        OSError
            If a file cannot be written.
        ValueError
            If the network or checkpoint found comes from another recipe, corpus or time limit, or is damaged.
        """
        # 1. Return a finished network.
        if resume and out.exists():
            finished: N = cls.network_type.load(out, device=device)  # type: ignore[assignment]
            found = finished.metadata
            check_same_training(out, found.get("recipe"), found.get("corpus_hash"), recipe, corpus)
            limits.check_same(out, found.get("time_limit"))
            return finished
        # 2. Start, or continue from a checkpoint.
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = out.with_name(out.name + ".checkpoint")
        snapshot = out.with_suffix(".snapshot.safetensors")
        training = cls(corpus, recipe, resolve_device(device))
        training.time_limit = limits.seconds
        if resume and checkpoint.exists():
            training.restore(checkpoint)
        # 3. Train epoch after epoch.
        bar = tqdm(
            total=training.steps if limits.seconds is None else None,
            initial=training.epoch * training.steps_per_epoch,
            desc=cls.name,
            unit="step",
            disable=not progress,
        )
        saved = shown = training.seconds
        with bar, retain_freed_memory(), fastest_convolutions(training.device):
            while not training.finished:
                training.run_epoch(bar)
                if limits.seconds is None or training.finished or training.seconds >= saved + CHECKPOINT_SECONDS:
                    training.save(checkpoint)
                    saved = training.seconds
                if limits.snapshot_every is not None and training.seconds >= shown + limits.snapshot_every:
                    training.write(training.snapshot(device, progress=False), snapshot)
                    shown = training.seconds
        # 4. Write the network; only then are checkpoint and snapshot of no more use.
        network = training.network_trained(device, progress)
        training.write(network, out)
        for path in (checkpoint, snapshot, snapshot.with_suffix(".json")):
            path.unlink(missing_ok=True)
        return network

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the time is over."""
        if self.time_limit is None:
            return self.epoch >= self.recipe.total_epochs
        return self.seconds >= self.time_limit

    @cached_property
    def on_accelerator(self) -> Tensor | None:
        """The corpus (N, H, W, C) on an accelerator, if the training wants it there and it is small enough."""
        images = self.corpus.images
        if not self.holds_corpus or self.device.type == "cpu" or images.nbytes > MOST_ON_ACCELERATOR:
            return None
        return torch.tensor(images).to(self.device)

    def batch(self, chosen: NDArray[np.int64]) -> Tensor:
        """Return images (B, H, W, C), uint8, by their numbers (B,)."""
        if self.on_accelerator is not None:
            return self.on_accelerator[torch.from_numpy(chosen).to(self.device)]
        return torch.from_numpy(np.asarray(self.corpus.images[chosen]))

    def run_epoch(self, bar: tqdm[Any]) -> None:
        """Train on every image once, in random order, while there is time; images short of a batch are skipped."""
        began = time.monotonic()
        generator = epoch_generator(self.recipe.seed, self.epoch, self.draws_on)
        order = torch.randperm(len(self.corpus), generator=generator, device=self.draws_on).cpu().numpy()
        total, step = 0.0, 0
        while step < self.steps_per_epoch:
            # 1. Choose a batch; sorted, so that a memory map is read in order.
            chosen = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            # 2. Set the learning rate.
            self.place = self.epoch * self.steps_per_epoch + step
            if self.time_limit is not None:
                share = (self.seconds + time.monotonic() - began) / self.time_limit
                if share >= 1 and step > 0:
                    break
                self.place = min(int(share * self.steps), self.steps - 1)
            set_learning_rate(self.optimiser, self.learning_rate(self.place))
            # 3. Compute the loss and its gradient, and update the weights.
            total += self.step(self.batch(chosen), generator)
            # 4. Show the mean loss so far.
            step += 1
            bar.update()
            bar.set_postfix({"epoch": self.epoch + 1, **self.bar_text(total / step)}, refresh=False)
        self.epoch += 1
        self.losses.append(total / step)
        self.seconds += time.monotonic() - began

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {"epoch": self.epoch, "seconds": self.seconds, "time_limit": self.time_limit, **self.state()}
        write_checkpoint(path, self.version, self.recipe.to_json(), self.corpus, state)

    def restore(self, path: Path) -> Self:
        """Continue from a checkpoint of the same recipe and corpus; any other is a ValueError."""
        state = read_checkpoint(path, self.version, self.recipe, self.corpus, self.device)
        Limits(self.time_limit).check_same(path, state.get("time_limit"))
        try:
            check_state(state, self.state(), getattr(self, "optimiser", None))
            self.load_state(state)
            check_whole("epoch", state["epoch"], 0)
            self.epoch, self.seconds = state["epoch"], float(state["seconds"])
        except Exception as error:
            raise ValueError(f"checkpoint must be whole; {REMEDY}, got {str(path)!r} ({error})") from error
        return self

    def write(self, network: N, out: Path) -> None:
        """Write the trained network, and beside it a JSON file of its provenance: `out` with the suffix `.json`."""
        if self.time_limit is not None:
            network.metadata.update(time_limit=self.time_limit, epochs=self.epoch)
        network.save(out)
        provenance = {
            "id": network.id,
            "sha256": sha256_file(out),
            "seconds": round(self.seconds, 3),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": str(self.device),
            **network.metadata,
        }
        write_json(out.with_suffix(".json"), provenance)


def weights_path(out: str | os.PathLike[str]) -> Path:
    """Return the path that a network is to be written to, once its suffix is checked.

    Raises
    ------
    ValueError
        If it does not end in `.safetensors`.
    """
    path = Path(out)
    if path.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors", str(path))
    return path


def channel_mean(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean of each channel of images (N, H, W, C): (C,), in 0…1, from an exact sum."""
    total = np.zeros(images.shape[3], np.uint64)
    for start in range(0, len(images), 1024):
        total += images[start : start + 1024].sum((0, 1, 2), dtype=np.uint64)
    mean: NDArray[np.float32] = (total / (255.0 * images[..., 0].size)).astype(np.float32)
    return mean


def epoch_generator(seed: int, epoch: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make the generator of an epoch's random numbers, which depend on seed, epoch and the kind of device alone."""
    key = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(key >> np.uint64(1)))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random numbers, which initial weights are drawn from, and restore torch's own state at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def gradient_step(loss: Tensor, optimiser: torch.optim.Optimizer, clipped: Iterable[nn.Parameter] = ()) -> float:
    """Take one optimiser step.

    Parameters
    ----------
    loss
        A scalar.
    optimiser
        What updates the weights.
    clipped
        Parameters whose gradient is scaled down to length 1 if it is longer.

    Returns
    -------
    float
        The loss.
    """
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if parameters := list(clipped):
        nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    return float(loss.detach())


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters of an optimiser."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def warmup_factor(step: int, warmup: float) -> float:
    """Return what a learning rate is multiplied by while it rises linearly to its peak.

    Parameters
    ----------
    step
        Number of the step, from 0.
    warmup
        Length of the rise in steps.

    Returns
    -------
    float
        At most 1, which it is from the end of the rise on.

    Examples
    --------
    >>> [warmup_factor(step, 4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / max(warmup, 1.0))


def cosine_factor(step: int, steps: int) -> float:
    """Return what a learning rate is multiplied by while it falls as a half cosine.

    Parameters
    ----------
    step
        Number of the step, from 0.
    steps
        Number of all steps.

    Returns
    -------
    float
        1 at step 0, 0 at step `steps`.

    Examples
    --------
    >>> [round(cosine_factor(step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether to train in bfloat16. CPUs without such instructions emulate it, ten times slower: they do not."""
    native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return precision == "bfloat16" and native
