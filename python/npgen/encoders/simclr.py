"""SimCLR training of npgen's encoder: two views of an image must find each other among all others.

The flow, once per batch:

1. Ring masks (`ring_masks`): what a canvas of `npgen.generate` would know of each view.
2. Two random views of each image (`Augment`): geometry, focus, colour.
3. Backbone and projection head (`TrainingNetwork`).
4. NT-Xent (`nt_xent`): draw the two views of an image together, and push all other images away.

At last the head gives way to the embedding: to its first linear map, or to whitening (`npgen.whitening`).

This module imports torch and torchvision: import it only where training is asked for.
"""

from __future__ import annotations

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
from npgen.nn import layers, training
from npgen.runtime import resolve_device


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
        """Map inputs (B, C + 1, H, W) to embeddings (B, D) of any length, or to what becomes them when whitened."""
        features: Tensor = self.pool(self.layers(x))
        return (features if self.whitened else self.output(features)).flatten(1)

    def fold(self, mean: Tensor) -> dict[str, NDArray[np.float16]]:
        """Fold the normalisations into the convolutions: the tensors of an `Encoder` that does what `embed` does."""
        tensors = {"mean": mean, **self.layers.fold()}
        if not self.whitened:
            assert self.output.bias is not None
            tensors["output.weight"], tensors["output.bias"] = self.output.weight, self.output.bias
        return {name: tensor.detach().cpu().numpy().astype(np.float16) for name, tensor in tensors.items()}


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy of Chen et al., 2020.

    Parameters
    ----------
    first, second
        Projections (B, projection) of the two views; row i of both shows image i.
    temperature
        Divides the cosine similarities.

    Returns
    -------
    Tensor
        Scalar: how badly each view's other view stands out among all 2 B - 1 other views, in nats.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)  # (2 B, projection)
    similarity = views @ views.T / temperature  # (2 B, 2 B)
    similarity.fill_diagonal_(-torch.inf)  # a view is no rival of itself
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
) -> Encoder:
    """Train an encoder on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. The same call after Ctrl-C,
    or after the machine went down, goes on from there. If the corpus has labels, and held-out images with
    labels, the accuracy of the finished encoder is measured by `knn_accuracy`. A file like `out` but ending
    in `.json` tells it, with the recipe, the corpus and the time taken.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write. `<corpus.path>/encoder.safetensors` is where `load_encoder` looks.
    recipe
        How to train; None takes `Recipe.for_corpus(corpus)`.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Go on from a checkpoint if there is one, and leave a finished encoder of the same recipe and corpus as
        it is. False starts anew and replaces both.
    progress
        Show a progress bar.

    Returns
    -------
    Encoder
        The encoder as saved.

    Raises
    ------
    OSError
        If the files cannot be written.
    ValueError
        If the corpus has fewer than 2 images, or something at `out` came from another recipe or corpus.
    """
    out = training.weights_path(out)
    check_corpus(corpus, one_size="an encoder")
    if len(corpus.images) < 2:
        raise invalid("corpus", "of at least 2 images", len(corpus.images))
    recipe = Recipe.for_corpus(corpus) if recipe is None else recipe

    def reopen() -> Encoder:
        done = Encoder.load(out, device=device)
        metadata = done.metadata
        training.check_same_training(out, metadata.get("recipe"), metadata.get("corpus_hash"), recipe.to_json(), corpus)
        return done

    def begin() -> _Training:
        return _Training(corpus, recipe, resolve_device(device))

    def finish(trained: _Training) -> Encoder:
        encoder = trained.encoder(device, progress)
        if corpus.labels is not None and corpus.heldout is not None and corpus.heldout.labels is not None:
            accuracy = knn_accuracy(encoder, corpus, corpus.heldout.images, corpus.heldout.labels)
            encoder.metadata["accuracy"] = {str(side): share for side, share in accuracy.items()}
        encoder.save(out)
        training.write_story(out, encoder.id, trained, encoder.metadata)
        return encoder

    return training.train_to_file(out, reopen, begin, finish, resume=resume, progress=progress)


class _Training(training.Training[Recipe]):
    name, version = "encoder", 4

    def __init__(self, corpus: Corpus, recipe: Recipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device, recipe.epochs + recipe.masked_epochs)
        with training.seeded(recipe.seed):
            network = TrainingNetwork(recipe, corpus.images.shape[3])
        self.network = network.to(memory_format=torch.channels_last).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.mean = torch.from_numpy(training.channel_mean(corpus.images)).to(device)

    def step(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        """Contrast two views of each image."""
        return self._contrast(images, Augment(self.recipe, generator))

    def _contrast(self, images: NDArray[np.uint8], augment: Augment) -> float:
        recipe, (height, width) = self.recipe, images.shape[1:3]
        pixels = torch.tensor(images).to(self.device).permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        full = recipe.full if self.epoch < recipe.epochs else recipe.masked_full
        known = ring_masks(2 * len(images), height, width, recipe, augment.generator, full)  # (2 B, H, W)
        augment.at(known.float().mean((1, 2)).view(2, -1).amin(0).clamp(min=recipe.least_motion))
        views = torch.cat([augment(pixels), augment(pixels)])  # (2 B, C, H, W)
        inputs = network_input(views.permute(0, 2, 3, 1) * 255, known, self.mean)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            projections = self.network(inputs)
        first, second = projections.chunk(2)
        return training.descend(nt_xent(first, second, recipe.temperature), self.optimiser)

    def rate(self, step: int) -> float:
        """Rise and fall once, and once more in the masked epochs."""
        recipe, first = self.recipe, self.recipe.epochs * self.steps_per_epoch
        peak, begin, steps = recipe.learning_rate, 0, first
        if step >= first:
            peak, begin, steps = recipe.masked_rate, first, recipe.masked_epochs * self.steps_per_epoch
        warmup = recipe.warmup_epochs * self.steps_per_epoch
        return peak * training.risen(step - begin, warmup) * training.fallen(step - begin, steps)

    def encoder(self, device: str, progress: bool) -> Encoder:
        """Give the trained network in its final form."""
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
        return whitened(encoder, self.corpus, self.recipe, progress) if self.recipe.whitened else encoder

    def state(self) -> dict[str, Any]:
        """Return loss, network and optimiser."""
        return {
            "loss": self.losses[-1],
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(state["loss"])]
