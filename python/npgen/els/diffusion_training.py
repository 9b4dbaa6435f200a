"""Training of the diffusion network that score machines are compared with.

This module imports torch: import it only where training is asked for.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

from npgen.corpus import Corpus, check_corpus
from npgen.els.diffusion import ConvolutionNetwork, DiffusionNetwork, DiffusionRecipe
from npgen.els.schedules import LATEST, levels
from npgen.nn import training
from npgen.runtime import resolve_device


def train_diffusion(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: DiffusionRecipe | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: bool = True,
) -> DiffusionNetwork:
    """Train a diffusion network on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. The same call after Ctrl-C, or after
    the machine went down, goes on from there.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write.
    recipe
        How to train; None takes the defaults.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Go on from a checkpoint if there is one, and leave a finished network of the same recipe and corpus as it is.
        False starts anew and replaces both.
    progress
        Show a progress bar.

    Returns
    -------
    DiffusionNetwork
        The network as saved.

    Raises
    ------
    OSError
        If the files cannot be written.
    ValueError
        If images are of several sizes, or something at `out` came from another recipe or corpus.
    """
    out = training.weights_path(out)
    check_corpus(corpus, one_size="a diffusion network")
    recipe = recipe or DiffusionRecipe()

    def reopen() -> DiffusionNetwork:
        done = DiffusionNetwork.load(out)
        training.check_same_training(
            out, done.recipe.to_json(), done.metadata.get("corpus_hash"), recipe.to_json(), corpus
        )
        return done

    def begin() -> _Training:
        return _Training(corpus, recipe, resolve_device(device))

    def finish(trained: _Training) -> DiffusionNetwork:
        trained.network_kept().save(out)
        return DiffusionNetwork.load(out)  # whose layout in memory, and so the last bits of what it says, are a file's

    return training.train_to_file(out, reopen, begin, finish, resume=resume, progress=progress)


class _Training(training.Training[DiffusionRecipe]):
    name, version = "diffusion", 1

    def __init__(self, corpus: Corpus, recipe: DiffusionRecipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device, recipe.epochs)
        with training.seeded(recipe.seed):
            network = ConvolutionNetwork(recipe, corpus.images.shape[3])
        self.network = network.to(memory_format=torch.channels_last).to(device)
        self.kept = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))

    def step(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        """Show each image at a random time with fresh noise."""
        pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, C, H, W)
        noise = torch.randn(pixels.shape, generator=generator)
        # One time in each of B equal spans, so that batches differ little in how hard they are.
        count = len(images)
        spans = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        times = LATEST * spans / count  # (B,)
        a, b = (level[:, None, None, None] for level in _levels(times))
        v = (a * noise - b * pixels).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found = self.network((a * pixels + b * noise).to(self.device), times.to(self.device))
        loss = training.descend(F.mse_loss(found.float(), v), self.optimiser, self.network.parameters())
        with torch.no_grad():
            taken = self.epoch * self.steps_per_epoch + 1
            # A mean of few steps at first: the initial weights are no part of it for long.
            share = 1 - min(self.recipe.average, taken / (taken + 10))
            for kept, new in zip(self.kept.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, share)
        return loss

    def rate(self, step: int) -> float:
        """Rise for a fiftieth of all steps, and fall."""
        steps = self.epochs * self.steps_per_epoch
        return self.recipe.learning_rate * training.risen(step, steps / 50) * training.fallen(step, steps)

    def shown(self, loss: float) -> dict[str, str]:
        """Tell the loss."""
        return {"loss": f"{loss:.4f}"}

    def network_kept(self) -> DiffusionNetwork:
        """Give the averaged network in its final form."""
        metadata = {
            "corpus": self.corpus.name,
            "corpus_hash": self.corpus.hash,
            "loss": round(self.losses[-1], 6),
            "seconds": round(self.seconds, 3),
        }
        return DiffusionNetwork(self.kept, self.recipe, self.corpus.images.shape[1:], metadata)

    def state(self) -> dict[str, Any]:
        """Return losses, both networks and optimiser."""
        return {
            "losses": self.losses,
            "network": self.network.state_dict(),
            "kept": self.kept.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.network.load_state_dict(state["network"])
        self.kept.load_state_dict(state["kept"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(loss) for loss in state["losses"]]


def _levels(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b at many times."""
    pairs = [levels(time) for time in times.tolist()]
    a, b = torch.tensor(pairs).T
    return a, b
