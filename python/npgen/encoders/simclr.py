"""SimCLR training of an encoder (Chen et al., 2020): views of the same image get near embeddings, others distant ones.

Every step augments a batch to two random views per image (`Augment`), masks them as a canvas is masked while it is
filled (`ring_masks`), encodes and projects them (`TrainingNetwork`), and minimises their NT-Xent loss (`nt_xent`).
After training the projection head is dropped, but for its first linear map, which makes the embedding; or the embedding
is made by whitening (`npgen.encoders.whitening`).

This module imports torch and torchvision: import it only where an encoder is trained.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from npgen.corpus import Corpus, check_corpus
from npgen.encoders.augment import Augment, ring_masks
from npgen.encoders.encoder import Encoder, network_input
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.recipe import Recipe
from npgen.encoders.whitening import whitened
from npgen.errors import invalid
from npgen.nn import Limits, layers, training


class TrainingNetwork(nn.Module):
    """The encoder's convolutions with batch normalisation, and SimCLR's projection head after them.

    Parameters
    ----------
    recipe
        Layers and widths.
    channels
        Channels of an image, C.
    """

    def __init__(self, recipe: Recipe, channels: int) -> None:
        super().__init__()
        self.whitened = recipe.whitened
        self.layers = layers.TrainingLayers(channels + 1, recipe.layers)
        self.pool = nn.AdaptiveAvgPool2d(recipe.pool)
        self.output = nn.Conv2d(self.layers.stack.widths[-1], recipe.dim, recipe.pool)
        self.project = nn.Sequential(
            nn.BatchNorm1d(recipe.dim),
            nn.ReLU(),
            nn.Linear(recipe.dim, 2 * recipe.projection),
            nn.ReLU(),
            nn.Linear(2 * recipe.projection, recipe.projection),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (B, C + 1, H, W) to projections (B, projection)."""
        projection: Tensor = self.project(self.output(self.pool(self.layers(x))).flatten(1))
        return projection

    def embed(self, x: Tensor) -> Tensor:
        """Map inputs (B, C + 1, H, W) to embeddings (B, D), not normalised and, if they are to be, not yet whitened."""
        features: Tensor = self.pool(self.layers(x))
        return (features if self.whitened else self.output(features)).flatten(1)

    def fold(self, mean: Tensor) -> dict[str, NDArray[np.float16]]:
        """Return the tensors of an `Encoder` that computes what `embed` does, with normalisations folded in."""
        tensors = {"mean": mean, **self.layers.fold()}
        if not self.whitened:
            assert self.output.bias is not None
            tensors["output.weight"], tensors["output.bias"] = self.output.weight, self.output.bias
        return {name: tensor.detach().cpu().numpy().astype(np.float16) for name, tensor in tensors.items()}


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Compute the normalised temperature-scaled cross entropy of Chen et al., 2020 (equation 1), mean over all views.

    Parameters
    ----------
    first, second
        Projections (B, projection) of the two views; row i of both is of image i.
    temperature
        Divides the cosine similarities.

    Returns
    -------
    Tensor
        Scalar, nats: cross entropy of picking a view's partner among the other 2 B - 1 views by similarity.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)  # (2 B, projection)
    similarity = views @ views.T / temperature  # (2 B, 2 B)
    similarity.fill_diagonal_(-torch.inf)  # a view is not compared with itself
    count = len(first)
    partner = (torch.arange(2 * count, device=views.device) + count) % (2 * count)
    return F.cross_entropy(similarity, partner)


def train_encoder(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: Recipe | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: bool = True,
    *,
    seconds: float | None = None,
    snapshot_every: float | None = None,
) -> Encoder:
    """Train an encoder on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. After an interruption, the same call
    continues from there. If the corpus has labels, and held-out images with labels, `knn_accuracy` measures the
    finished encoder. A file like `out` but ending in `.json` holds its provenance: accuracy, recipe, corpus and time.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write. `load_encoder` looks for `<corpus.path>/encoder.safetensors`.
    recipe
        How to train; None takes `Recipe.for_corpus(corpus)`.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Continue from a checkpoint if there is one, and return a finished encoder of the same recipe and corpus as it
        is. False starts anew and replaces both.
    progress
        Show a progress bar.
    seconds
        Train for this time instead of the recipe's number of epochs, whose schedule is stretched or shrunk to it: after
        a third of the time, masks and learning rate are those of a third of the recipe's steps. The encoder then
        depends on the machine's speed. None: train for the recipe's epochs.
    snapshot_every
        Seconds after which the encoder as it is then is written beside `out`, as `<name>.snapshot.safetensors`, at the
        end of an epoch; a training that is cut off leaves it, a finished one does not. None: never.

    Returns
    -------
    Encoder
        The encoder as saved.

    Raises
    ------
    OSError
        If the files cannot be written.
    ValueError
        If the corpus has fewer than 2 images, a time is not above 0, or what lies at `out` comes from another recipe,
        corpus or time limit.
    """
    out = training.weights_path(out)
    limits = Limits(seconds, snapshot_every)
    check_corpus(corpus, one_size="an encoder")
    if len(corpus.images) < 2:
        raise invalid("corpus", "of at least 2 images", len(corpus.images))
    recipe = Recipe.for_corpus(corpus) if recipe is None else recipe
    return EncoderTraining.to_file(corpus, out, recipe, device, resume=resume, progress=progress, limits=limits)


class EncoderTraining(training.Training[Recipe, Encoder]):
    """SimCLR training of an encoder."""

    name, version, network_type = "encoder", 4, Encoder
    holds_corpus = True

    def __init__(self, corpus: Corpus, recipe: Recipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device)
        if recipe.draws == "device":
            self.draws_on = device
        with training.seeded(recipe.seed):
            network = TrainingNetwork(recipe, corpus.images.shape[3])
        self.network = network.to(memory_format=torch.channels_last).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.mean = torch.from_numpy(training.channel_mean(corpus.images)).to(device)

    def step(self, images: Tensor, generator: torch.Generator) -> float:
        """Contrast two random views of each image (B, H, W, C)."""
        return self.contrast(images, Augment(self.recipe, generator))

    def contrast(self, images: Tensor, augment: Augment) -> float:
        """Take one step of SimCLR (Chen et al., 2020, algorithm 1), with a known mask on each view."""
        recipe, (height, width) = self.recipe, images.shape[1:3]
        pixels = images.to(self.device).permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        # 1. Draw a known mask for each view. The less is known, the less a view is moved.
        full = recipe.full if self.place < self.unmasked_steps else recipe.masked_full
        known = ring_masks(2 * len(images), height, width, recipe, augment.generator, full)  # (2 B, H, W)
        augment.at(known.float().mean((1, 2)).view(2, -1).amin(0).clamp(min=recipe.least_motion))
        # 2. Augment: two views of each image.
        views = torch.cat([augment(pixels), augment(pixels)])  # (2 B, C, H, W)
        inputs = network_input(views.permute(0, 2, 3, 1) * 255, known, self.mean)  # (2 B, C + 1, H, W)
        # 3. Encode and project.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            projections = self.network(inputs)  # (2 B, projection)
        # 4. Compute NT-Xent between the views.
        first, second = projections.chunk(2)
        loss = nt_xent(first, second, recipe.temperature)
        # 5. Update the weights.
        return training.gradient_step(loss, self.optimiser)

    def learning_rate(self, step: int) -> float:
        """Rise and fall once, and once more in the masked epochs if they have a rate of their own."""
        recipe = self.recipe
        peak, first, steps = recipe.learning_rate, 0, self.unmasked_steps
        if recipe.masked_rate is None:
            steps = self.steps
        elif step >= self.unmasked_steps:
            peak, first, steps = recipe.masked_rate, steps, self.steps - steps
        warmup = training.warmup_factor(step - first, recipe.warmup_epochs * self.steps_per_epoch)
        return peak * warmup * training.cosine_factor(step - first, steps)

    @property
    def unmasked_steps(self) -> int:
        """Steps of the recipe's schedule before the masked epochs."""
        return self.recipe.epochs * self.steps_per_epoch

    def snapshot(self, device: str, progress: bool) -> Encoder:
        """Return the encoder as it is now, whitened if the recipe asks for it."""
        metadata = {
            "recipe": self.recipe.to_json(),
            "corpus": self.corpus.name,
            "corpus_hash": self.corpus.hash,
            "image_size": list(self.corpus.images.shape[1:3]),
            "loss": round(self.losses[-1], 6),
        }
        architecture = self.recipe.architecture(self.corpus.images.shape[3])
        if self.recipe.whitened:
            architecture = replace(architecture, dim=None)
        encoder = Encoder(architecture, self.network.fold(self.mean), metadata=metadata, device=device)
        if self.recipe.whitened:
            encoder = whitened(encoder, self.corpus, self.recipe, progress)
        return encoder

    def network_trained(self, device: str, progress: bool) -> Encoder:
        """Return the encoder with its accuracy, if that can be measured."""
        encoder = self.snapshot(device, progress)
        heldout = self.corpus.heldout
        if self.corpus.labels is not None and heldout is not None and heldout.labels is not None:
            accuracy = knn_accuracy(encoder, self.corpus, heldout.images, heldout.labels)
            encoder.metadata["accuracy"] = {str(side): share for side, share in accuracy.items()}
        return encoder

    def state(self) -> dict[str, Any]:
        """Return loss, network and optimiser."""
        return {
            "loss": self.losses[-1] if self.losses else math.nan,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Set loss, network and optimiser."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(state["loss"])]
