"""Training of the diffusion network that score machines are compared with.

This module imports torch: import it only where a diffusion network is trained.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from torch import Tensor

from npgen.corpus import Corpus, check_corpus
from npgen.els.diffusion import DiffusionModule, DiffusionNetwork, DiffusionRecipe
from npgen.els.schedules import LATEST, levels
from npgen.nn import module_tensors, training


def train_diffusion(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: DiffusionRecipe | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: bool = True,
) -> DiffusionNetwork:
    """Train a diffusion network on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. After an interruption, the same call
    continues from there.

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
        Continue from a checkpoint if there is one, and return a finished network of the same recipe and corpus as it
        is. False starts anew and replaces both.
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
        If images are of several sizes, or what lies at `out` comes from another recipe or corpus.
    """
    out = training.weights_path(out)
    check_corpus(corpus, one_size="a diffusion network")
    recipe = recipe or DiffusionRecipe()
    return DiffusionTraining.to_file(corpus, out, recipe, device, resume=resume, progress=progress)


class DiffusionTraining(training.Training[DiffusionRecipe, DiffusionNetwork]):
    """Training of a diffusion network."""

    name, version, network_type = "diffusion", 1, DiffusionNetwork

    def __init__(self, corpus: Corpus, recipe: DiffusionRecipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device)
        height, width, channels = corpus.images.shape[1:]
        self.architecture = recipe.architecture((height, width, channels))
        with training.seeded(recipe.seed):
            network = DiffusionModule(self.architecture)
        self.network = network.to(memory_format=torch.channels_last).to(device)
        self.averaged = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))

    def step(self, images: Tensor, generator: torch.Generator) -> float:
        """Take one step: predict v of images (B, H, W, C) at random times with random noise."""
        # 1. Draw noise, and one time from each of B equal spans, so that batches are about equally hard.
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, C, H, W)
        noise = torch.randn(pixels.shape, generator=generator)
        count = len(images)
        spans = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        times = LATEST * spans / count  # (B,)
        # 2. Make canvases and what the network is to predict.
        a, b = (level[:, None, None, None] for level in _levels(times))
        v = (a * noise - b * pixels).to(self.device)
        # 3. Predict, and update the weights by the squared error.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            predicted = self.network((a * pixels + b * noise).to(self.device), times.to(self.device))
        loss = training.gradient_step(F.mse_loss(predicted.float(), v), self.optimiser, self.network.parameters())
        # 4. Update the averaged weights; the mean is over few steps at first, to forget the initial weights soon.
        with torch.no_grad():
            taken = self.epoch * self.steps_per_epoch + 1
            share = 1 - min(self.recipe.average, taken / (taken + 10))
            for mean, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(new, share)
        return loss

    def learning_rate(self, step: int) -> float:
        """Rise linearly over the first 2 % of the steps, and fall as a cosine over all."""
        warmup = training.warmup_factor(step, self.steps / 50)
        return self.recipe.learning_rate * warmup * training.cosine_factor(step, self.steps)

    def bar_text(self, loss: float) -> dict[str, str]:
        """Return the loss."""
        return {"loss": f"{loss:.4f}"}

    def network_trained(self, device: str, progress: bool) -> DiffusionNetwork:
        """Return the network with averaged weights."""
        metadata = {
            "recipe": self.recipe.to_json(),
            "corpus": self.corpus.name,
            "corpus_hash": self.corpus.hash,
            "loss": round(self.losses[-1], 6),
            "seconds": round(self.seconds, 3),
        }
        return DiffusionNetwork(self.architecture, module_tensors(self.averaged), metadata=metadata, device=device)

    def write(self, network: DiffusionNetwork, out: Path) -> None:
        """Write the network; its metadata hold its whole provenance."""
        network.save(out)

    def state(self) -> dict[str, Any]:
        """Return losses, both networks and optimiser."""
        return {
            "losses": self.losses,
            "network": self.network.state_dict(),
            "kept": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Set losses, both networks and optimiser."""
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["kept"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(loss) for loss in state["losses"]]


def _levels(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b (B,) at times (B,)."""
    pairs = [levels(time) for time in times.tolist()]
    a, b = torch.tensor(pairs).T
    return a, b
