"""Training of the binary-latent autoencoder: bits that noise can't tip over, then a decoder that sees nothing else.

First the latents are tanh(ℓ) + σ·noise: against noise, a latent says most where tanh is −1 or +1 (Zhao and Basu; at
their σ = 0.3474, noise tips one bit in 500). In the settling epochs they are the signs that the finished autoencoder
keeps, and the gradient passes them as if they were tanh(ℓ). The loss is the squared error of the pixels. Theirs adds
0.1·mean(bits²), which holds down latents that have no bound; those of a tanh need none.

This module imports torch: import it only where training is asked for.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

from npgen.corpus import Corpus, check_corpus
from npgen.errors import check_number, check_type, check_whole, invalid
from npgen.nn import JsonRecipe, check_precision, training
from npgen.runtime import resolve_device
from npgen.tokens.autoencoder import Autoencoder, TokenArchitecture, bit_logits, network_input, pixels_of_bits


@dataclass(frozen=True)
class AutoencoderRecipe(JsonRecipe):
    """How to train an autoencoder. The defaults that suit their corpora made the shipped ones.

    Parameters
    ----------
    stride, bits, kernel, width, blocks, reach
        As in `npgen.autoencoder.TokenArchitecture`.
    epochs
        Passes over the corpus with noise.
    settling_epochs
        Passes after those with signs.
    noise
        Standard deviation σ of the noise on latents.
    batch_size
        Images per step.
    learning_rate
        Peak of Adam's learning rate; it rises linearly over the first hundred steps, then falls as a cosine to zero.
    flip
        Share of images mirrored left to right.
    precision
        "bfloat16" or "float32": what convolutions compute in while training. A CPU without bfloat16 instructions takes
        float32.
    seed
        Decides initial weights, noise and order.

    Raises
    ------
    TypeError, ValueError
        If a number is outside its range.
    """

    stride: int = 2
    bits: int = 8
    kernel: int = 5
    width: int = 64
    blocks: int = 2
    reach: int = 2
    epochs: int = 2
    settling_epochs: int = 2
    noise: float = 0.3474
    batch_size: int = 128
    learning_rate: float = 4e-3
    flip: float = 0.0
    precision: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        self.architecture(1)
        for name, least in (("epochs", 0), ("settling_epochs", 1), ("batch_size", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
        check_number("noise", self.noise, least=0)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("flip", self.flip, 0, 1)
        check_precision(self.precision)

    @classmethod
    def for_corpus(cls, corpus: Corpus, **changes: Any) -> AutoencoderRecipe:
        """Choose what suits a corpus: glyphs if it is grey, photographs if it is RGB.

        Parameters
        ----------
        corpus
            The corpus to train on.
        **changes
            Values to set otherwise.

        Returns
        -------
        AutoencoderRecipe
            The recipe.
        """
        glyphs = corpus.images.shape[3] == 1
        return replace(cls(width=48, epochs=1) if glyphs else cls(flip=0.5), **changes)

    def architecture(self, channels: int) -> TokenArchitecture:
        """Give the architecture of the autoencoder for images of C channels."""
        return TokenArchitecture(channels, self.stride, self.bits, self.kernel, self.width, self.blocks, self.reach)


def train_autoencoder(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: AutoencoderRecipe | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: bool = True,
) -> Autoencoder:
    """Train an autoencoder on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. The same call after Ctrl-C, or after
    the machine went down, goes on from there. If the corpus has held-out images, the PSNR of their reconstructions is
    measured. A file like `out` but ending in `.json` tells it, with the recipe, the corpus and the time taken.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write. `<corpus.path>/autoencoder.safetensors` is where `load_autoencoder` looks.
    recipe
        How to train; None takes `AutoencoderRecipe.for_corpus(corpus)`.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Go on from a checkpoint if there is one, and leave a finished autoencoder of the same recipe and corpus as it
        is. False starts anew and replaces both.
    progress
        Show a progress bar.

    Returns
    -------
    Autoencoder
        The autoencoder as saved.

    Raises
    ------
    OSError
        If the files cannot be written.
    ValueError
        If images are of several sizes, or their sides no multiples of the stride, or something at `out` came from
        another recipe or corpus.
    """
    check_corpus(corpus, one_size="an autoencoder")
    out = training.weights_path(out)
    recipe = AutoencoderRecipe.for_corpus(corpus) if recipe is None else recipe
    check_type("recipe", recipe, AutoencoderRecipe)
    height, width = corpus.images.shape[1:3]
    if height % recipe.stride or width % recipe.stride:
        raise invalid("stride", f"a divisor of the images' sides {height} and {width}", recipe.stride)

    def reopen() -> Autoencoder:
        done = Autoencoder.load(out, device=device)
        metadata = done.metadata
        training.check_same_training(out, metadata.get("recipe"), metadata.get("corpus_hash"), recipe.to_json(), corpus)
        return done

    def begin() -> _Training:
        return _Training(corpus, recipe, resolve_device(device))

    def finish(trained: _Training) -> Autoencoder:
        autoencoder = trained.autoencoder(device)
        if corpus.heldout is not None:
            autoencoder.metadata["psnr"] = reconstruction_psnr(autoencoder, corpus.heldout.images)
        autoencoder.save(out)
        training.write_story(out, autoencoder.id, trained, autoencoder.metadata)
        return autoencoder

    return training.train_to_file(out, reopen, begin, finish, resume=resume, progress=progress)


def reconstruction_psnr(autoencoder: Autoencoder, images: NDArray[np.uint8]) -> dict[str, float]:
    """Measure how well images come back from their tokens.

    Parameters
    ----------
    autoencoder
        The autoencoder.
    images
        (n, H, W, C) uint8.

    Returns
    -------
    dict
        PSNR in dB, 10·log₁₀(255² / mean squared error): `mean`, `median` and the `low` 5 % quantile of the images' own,
        and `pooled`, that of the mean squared error over all of them; `images`, their number.
    """
    squared = np.empty(len(images))
    for start in range(0, len(images), 1024):
        part = np.asarray(images[start : start + 1024])
        error = autoencoder.decode(autoencoder.encode(part)).astype(np.float64) - part
        squared[start : start + len(part)] = (error**2).mean((1, 2, 3))
    psnr = 10 * np.log10(255**2 / squared.clip(1 / images[0].size))  # finite where nothing is lost
    values = {
        "mean": psnr.mean(),
        "median": np.median(psnr),
        "low": np.percentile(psnr, 5),
        "pooled": 10 * math.log10(255**2 / max(squared.mean(), 1 / images[0].size)),
    }
    return {**{name: round(float(value), 3) for name, value in values.items()}, "images": len(images)}


class _Training(training.Training[AutoencoderRecipe]):
    name, version = "autoencoder", 1

    def __init__(self, corpus: Corpus, recipe: AutoencoderRecipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device, recipe.epochs + recipe.settling_epochs)
        self.architecture = recipe.architecture(corpus.images.shape[3])
        self.mean = torch.from_numpy(training.channel_mean(corpus.images)).to(device)
        self.weights = {
            name: tensor.to(device).requires_grad_()
            for name, tensor in initial_weights(self.architecture, recipe.seed).items()
        }
        self.optimiser = torch.optim.Adam(self.weights.values(), lr=recipe.learning_rate)

    def step(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        """Show images as their latents show them."""
        pixels = torch.tensor(images)
        mirrored = torch.rand(len(pixels), generator=generator) < self.recipe.flip
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        x = network_input(pixels, self.mean)  # (B, C, H, W)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = bit_logits(x, self.weights, self.architecture).float()
            decoded = pixels_of_bits(self._latents(logits, generator), self.weights, self.architecture)
        return training.descend(F.mse_loss(decoded.float(), x), self.optimiser)

    def _latents(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        soft = logits.tanh()
        if self.epoch < self.recipe.epochs:
            return soft + self.recipe.noise * torch.randn(soft.shape, generator=generator).to(soft.device)
        return soft + (torch.where(logits > 0, 1.0, -1.0) - soft).detach()  # signs, with the gradient of tanh

    def rate(self, step: int) -> float:
        """Rise for a hundred steps, and fall."""
        return (
            self.recipe.learning_rate
            * training.risen(step, 100)
            * training.fallen(step, self.epochs * self.steps_per_epoch)
        )

    def shown(self, loss: float) -> dict[str, str]:
        """Tell the PSNR."""
        return {"psnr": f"{_psnr(loss):.2f}"}

    def autoencoder(self, device: str) -> Autoencoder:
        """Give the trained networks in their final form."""
        tensors = {
            name: tensor.detach().cpu().numpy().astype(np.float16)
            for name, tensor in {"mean": self.mean, **self.weights}.items()
        }
        height, width = self.corpus.images.shape[1:3]
        metadata = {
            "recipe": self.recipe.to_json(),
            "corpus": self.corpus.name,
            "corpus_hash": self.corpus.hash,
            "image_size": [height, width],
            "bits_per_image": height * width * self.recipe.bits // self.recipe.stride**2,
            "training_psnr": round(_psnr(self.losses[-1]), 3),
        }
        return Autoencoder(self.architecture, tensors, metadata=metadata, device=device)

    def state(self) -> dict[str, Any]:
        """Return loss, weights and optimiser."""
        return {
            "loss": self.losses[-1],
            "weights": {name: tensor.detach() for name, tensor in self.weights.items()},
            "optimiser": self.optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        with torch.no_grad():
            for name, tensor in self.weights.items():
                tensor.copy_(state["weights"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(state["loss"])]


def initial_weights(architecture: TokenArchitecture, seed: int) -> dict[str, Tensor]:
    """Draw the weights that a training begins with: all tensors but the mean, channels last."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in architecture.shapes().items():
        if name == "mean":
            continue
        tensor = torch.zeros(shape)
        # A residual block begins as its shortcut, and the decoder with the mean; all else keeps variances as they are.
        if name.endswith(".weight") and not name.endswith((".1.weight", "decoder.last.weight")):
            tensor.normal_(0, math.sqrt(2 / math.prod(shape[1:])), generator=generator)
        weights[name] = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    return weights


def _psnr(loss: float) -> float:
    return -10 * math.log10(max(loss, 1e-12)) if math.isfinite(loss) else math.nan
