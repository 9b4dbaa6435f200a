"""Training of the binary-latent autoencoder: with noise on the latents first, then with the bits themselves.

With logits ℓ, the latents are first tanh(ℓ) + σ·noise. Under noise a latent carries most information where tanh is near
−1 or +1, so training drives it there (Zhao and Basu; at their σ = 0.3474, noise flips the sign of one latent in 500).
In the settling epochs the latents are the signs of ℓ, as in the finished autoencoder, with the gradient of tanh(ℓ). The
loss is the mean squared error of the pixels. Zhao and Basu add 0.1·mean(latents²) to it, which keeps unbounded latents
small; those of a tanh are bounded.

This module imports torch: import it only where an autoencoder is trained.
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
from npgen.tokens.autoencoder import Autoencoder, TokenArchitecture, bit_logits, network_input, pixels_of_bits


@dataclass(frozen=True)
class AutoencoderRecipe(JsonRecipe):
    """How to train an autoencoder. The shipped ones were trained with `for_corpus` of their corpora.

    Parameters
    ----------
    stride, bits, kernel, width, blocks, reach
        As in `TokenArchitecture`.
    epochs
        Passes over the corpus with noise on the latents.
    settling_epochs
        Passes after those, with the signs as latents.
    noise
        Standard deviation σ of the noise.
    batch_size
        Images per step.
    learning_rate
        Peak of Adam's learning rate; it rises linearly over the first hundred steps, then falls as a cosine to zero.
    flip
        Share of images mirrored left to right.
    precision
        "bfloat16" or "float32": number type of convolutions while training. A CPU without bfloat16 instructions uses
        float32.
    seed
        Seed of initial weights, noise and order.

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
        """Return defaults that suit a corpus: for glyphs if it is grey, for photographs if it is RGB.

        Parameters
        ----------
        corpus
            The corpus to train on.
        **changes
            Settings to change.

        Returns
        -------
        AutoencoderRecipe
            The recipe.
        """
        glyphs = corpus.images.shape[3] == 1
        return replace(cls(width=48, epochs=1) if glyphs else cls(flip=0.5), **changes)

    @property
    def total_epochs(self) -> int:
        """Passes over the corpus, settling ones included."""
        return self.epochs + self.settling_epochs

    def architecture(self, channels: int) -> TokenArchitecture:
        """Return the architecture of the autoencoder for images of C channels."""
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

    After every epoch a checkpoint is left beside `out`; it is removed at the end. After an interruption, the same call
    continues from there. If the corpus has held-out images, the PSNR of their reconstructions is measured. A file like
    `out` but ending in `.json` holds the autoencoder's provenance: PSNR, recipe, corpus and time.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write. `load_autoencoder` looks for `<corpus.path>/autoencoder.safetensors`.
    recipe
        How to train; None takes `AutoencoderRecipe.for_corpus(corpus)`.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Continue from a checkpoint if there is one, and return a finished autoencoder of the same recipe and corpus as
        it is. False starts anew and replaces both.
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
        If images are of several sizes, their sides are not multiples of the stride, or what lies at `out` comes from
        another recipe or corpus.
    """
    check_corpus(corpus, one_size="an autoencoder")
    out = training.weights_path(out)
    recipe = AutoencoderRecipe.for_corpus(corpus) if recipe is None else recipe
    check_type("recipe", recipe, AutoencoderRecipe)
    height, width = corpus.images.shape[1:3]
    if height % recipe.stride or width % recipe.stride:
        raise invalid("stride", f"a divisor of the images' sides {height} and {width}", recipe.stride)
    return AutoencoderTraining.to_file(corpus, out, recipe, device, resume=resume, progress=progress)


def reconstruction_psnr(autoencoder: Autoencoder, images: NDArray[np.uint8]) -> dict[str, float]:
    """Measure how close images decoded from their tokens are to the originals.

    Parameters
    ----------
    autoencoder
        The autoencoder.
    images
        (n, H, W, C) uint8.

    Returns
    -------
    dict
        PSNR in dB, 10·log₁₀(255² / mean squared error): `mean`, `median` and `low`, the 5 % quantile, of the PSNRs of
        single images; `pooled`, that of the mean squared error over all images; `images`, their number.
    """
    squared = np.empty(len(images))
    for start in range(0, len(images), 1024):
        part = np.asarray(images[start : start + 1024])
        error = autoencoder.decode(autoencoder.encode(part)).astype(np.float64) - part
        squared[start : start + len(part)] = (error**2).mean((1, 2, 3))
    psnr = 10 * np.log10(255**2 / squared.clip(1 / images[0].size))  # finite also for exact reconstructions
    values = {
        "mean": psnr.mean(),
        "median": np.median(psnr),
        "low": np.percentile(psnr, 5),
        "pooled": 10 * math.log10(255**2 / max(squared.mean(), 1 / images[0].size)),
    }
    return {**{name: round(float(value), 3) for name, value in values.items()}, "images": len(images)}


class AutoencoderTraining(training.Training[AutoencoderRecipe, Autoencoder]):
    """Training of an autoencoder."""

    name, version, network_type = "autoencoder", 1, Autoencoder

    def __init__(self, corpus: Corpus, recipe: AutoencoderRecipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device)
        self.architecture = recipe.architecture(corpus.images.shape[3])
        self.mean = torch.from_numpy(training.channel_mean(corpus.images)).to(device)
        self.weights = {
            name: tensor.to(device).requires_grad_()
            for name, tensor in initial_weights(self.architecture, recipe.seed).items()
        }
        self.optimiser = torch.optim.Adam(self.weights.values(), lr=recipe.learning_rate)

    def step(self, images: Tensor, generator: torch.Generator) -> float:
        """Take one step on images (B, H, W, C): encode, decode from noisy or signed latents, compare the pixels."""
        # 1. Mirror some images.
        mirrored = torch.rand(len(images), generator=generator) < self.recipe.flip
        pixels = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        x = network_input(pixels, self.mean)  # (B, C, H, W)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            # 2. Encode.
            logits = bit_logits(x, self.weights, self.architecture).float()  # (B, b, h, w)
            # 3. Decode from latents.
            decoded = pixels_of_bits(self._latents(logits, generator), self.weights, self.architecture)
        # 4. Update the weights by the squared error.
        return training.gradient_step(F.mse_loss(decoded.float(), x), self.optimiser)

    def _latents(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Return latents (B, b, h, w): noisy ones, or signs in the settling epochs."""
        soft = logits.tanh()
        if self.epoch < self.recipe.epochs:
            return soft + self.recipe.noise * torch.randn(soft.shape, generator=generator).to(soft.device)
        return soft + (torch.where(logits > 0, 1.0, -1.0) - soft).detach()  # signs, with the gradient of tanh

    def learning_rate(self, step: int) -> float:
        """Rise linearly for a hundred steps, and fall as a cosine over all."""
        warmup = training.warmup_factor(step, 100)
        return self.recipe.learning_rate * warmup * training.cosine_factor(step, self.steps)

    def bar_text(self, loss: float) -> dict[str, str]:
        """Return the PSNR."""
        return {"psnr": f"{_psnr(loss):.2f}"}

    def network_trained(self, device: str, progress: bool) -> Autoencoder:
        """Return the autoencoder, with its PSNR on held-out images if there are any."""
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
        autoencoder = Autoencoder(self.architecture, tensors, metadata=metadata, device=device)
        if self.corpus.heldout is not None:
            autoencoder.metadata["psnr"] = reconstruction_psnr(autoencoder, self.corpus.heldout.images)
        return autoencoder

    def state(self) -> dict[str, Any]:
        """Return loss, weights and optimiser."""
        return {
            "loss": self.losses[-1] if self.losses else math.nan,
            "weights": {name: tensor.detach() for name, tensor in self.weights.items()},
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Set loss, weights and optimiser."""
        with torch.no_grad():
            for name, tensor in self.weights.items():
                tensor.copy_(state["weights"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = [float(state["loss"])]


def initial_weights(architecture: TokenArchitecture, seed: int) -> dict[str, Tensor]:
    """Draw initial weights: all tensors but the mean, channels last in memory."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in architecture.shapes().items():
        if name == "mean":
            continue
        tensor = torch.zeros(shape)
        # Residual blocks start as the identity, and the decoder's output as the mean; all other layers preserve
        # variance.
        if name.endswith(".weight") and not name.endswith((".1.weight", "decoder.last.weight")):
            tensor.normal_(0, math.sqrt(2 / math.prod(shape[1:])), generator=generator)
        weights[name] = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    return weights


def _psnr(loss: float) -> float:
    """Return the PSNR in dB of a mean squared error of pixels in 0…1."""
    return -10 * math.log10(max(loss, 1e-12)) if math.isfinite(loss) else math.nan
