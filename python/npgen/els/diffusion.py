"""A small convolutional diffusion network, the kind of network that the score machines are a theory of.

Residual convolutions of constant width without normalisation, after the ResNets of Kamb and Ganguli, so that an output
pixel depends only on a window of the canvas. The time is a second input. The network predicts v = a·ε − b·x₀ (Salimans
and Ho, arXiv 2202.00512): with x = a·x₀ + b·ε and a² + b² = 1, x̂₀ = a·x − b·v.

This module imports torch: import it only where a diffusion network is trained or run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.els.schedules import LATEST, ddim_step, levels
from npgen.errors import check_number, check_whole, invalid
from npgen.nn import JsonRecipe, ModuleNetwork, check_precision, module_shapes

PADDINGS = ("zeros", "circular")
# Frequencies of the sines and cosines that the time enters the network as.
WAVES = 16
# Canvases per pass when nothing is trained.
BATCH = 64


@dataclass(frozen=True)
class DiffusionArchitecture:
    """The architecture of a diffusion network.

    Parameters
    ----------
    shape
        (H, W, C) of its images.
    layers, width, padding
        As in `DiffusionRecipe`.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.
    """

    shape: tuple[int, int, int]
    layers: int
    width: int
    padding: Literal["zeros", "circular"]

    def __post_init__(self) -> None:
        """Check every value, as they may come from a file."""
        for extent in self.shape:
            check_whole("shape", extent, 1, 1 << 16)
        check_whole("layers", self.layers, 1, 64)
        check_whole("width", self.width, 1, 4096)
        if self.padding not in PADDINGS:
            raise invalid("padding", f"one of {', '.join(PADDINGS)}", self.padding)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Make an architecture of what `dataclasses.asdict` returned for it, as read from a file's header."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise invalid("architecture", f"an object of {', '.join(names)}", values)
        try:
            height, width, channels = values["shape"]
            return cls(**{**values, "shape": (height, width, channels)})
        except TypeError as error:
            raise invalid("architecture", "an object of whole numbers", values) from error

    @property
    def receptive_field(self) -> int:
        """Side of the window that an output pixel depends on."""
        return 2 * (self.layers + 2) + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""
        return module_shapes(lambda: DiffusionModule(self))


@dataclass(frozen=True)
class DiffusionRecipe(JsonRecipe):
    """The architecture of a diffusion network, and how to train it; with the corpus, this decides its weights.

    Parameters
    ----------
    layers
        Number of residual 3×3 convolutions between the first and the last convolution, which are 3×3, too: an output
        pixel depends on a window of side 2·(layers + 2) + 1.
    width
        Channels between convolutions.
    padding
        Padding of convolutions: "zeros", which the machine `equivariant-borders` corresponds to, or "circular", which
        `equivariant` corresponds to.
    epochs
        Passes over the corpus.
    batch_size
        Images per step.
    learning_rate
        Peak of Adam's learning rate; it rises over the first 2 % of the steps, then falls as a cosine to zero.
    average
        The trained weights are a running mean over about the last 1/(1 − `average`) steps.
    precision
        "bfloat16" or "float32": number type of convolutions while training. A CPU without bfloat16 instructions uses
        float32.
    seed
        Seed of initial weights, order, times and noise.

    Raises
    ------
    ValueError
        If a number is out of range.
    TypeError
        If it is not a number.
    """

    layers: int = 6
    width: int = 64
    padding: Literal["zeros", "circular"] = "zeros"
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 2e-3
    average: float = 0.998
    precision: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        self.architecture((1, 1, 1))
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least, 2**63 - 1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("average", self.average)
        if not 0 <= self.average < 1:
            raise invalid("average", "at least 0, below 1", self.average)
        check_precision(self.precision)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Make a recipe of a JSON object; what is absent takes its default.

        Raises
        ------
        TypeError, ValueError
            If it is not an object, or holds unknown names or bad values.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or not set(values) <= set(known):
            raise invalid("recipe", f"a JSON object of {', '.join(known)}", values)
        return cls(**values)

    @property
    def total_epochs(self) -> int:
        """Passes over the corpus."""
        return self.epochs

    def architecture(self, shape: tuple[int, int, int]) -> DiffusionArchitecture:
        """Return the architecture of the network for images of shape (H, W, C)."""
        return DiffusionArchitecture(shape, self.layers, self.width, self.padding)


class DiffusionModule(nn.Module):
    """The network as a torch module.

    Parameters
    ----------
    architecture
        Shapes of the layers.
    """

    def __init__(self, architecture: DiffusionArchitecture) -> None:
        super().__init__()
        count, width, mode = architecture.layers, architecture.width, architecture.padding

        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=mode)

        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, 2 * width * count))
        self.first = convolution(architecture.shape[2], width)
        self.middle = nn.ModuleList(convolution(width, width) for _ in range(count))
        self.last = convolution(width, architecture.shape[2])
        for layer in self.middle:  # the sum of all residuals should initially have the variance of a single layer
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(count**-0.5)
        for part in (self.last, self.time[2]):
            assert isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, canvases: Tensor, times: Tensor) -> Tensor:
        """Map canvases (B, C, H, W) at times (B,) to v (B, C, H, W)."""
        phase = math.pi * times[:, None] * torch.arange(1, WAVES + 1, device=times.device)
        waves = torch.cat([phase.sin(), phase.cos()], 1)  # (B, 2·WAVES)
        scales_shifts = self.time(waves)[:, :, None, None]  # (B, 2·layers·width, 1, 1)
        x = self.first(canvases)  # (B, width, H, W)
        for layer, scale_shift in zip(self.middle, scales_shifts.chunk(len(self.middle), 1), strict=True):
            scale, shift = scale_shift.chunk(2, 1)
            x = x + layer(F.silu(torch.addcmul(shift, x, 1 + scale)))
        v: Tensor = self.last(F.silu(x))
        return v


class DiffusionNetwork(ModuleNetwork[DiffusionArchitecture]):
    """A trained diffusion network. Made by `diffusion_training.train_diffusion`; `load` reads one.

    Parameters
    ----------
    architecture
        Shapes of the network.
    tensors
        One float32 array for each name in `architecture.shapes()`.
    metadata
        JSON-able facts, among them the recipe, and the corpus's name and hash.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.
    """

    kind = "network"
    architecture_type = DiffusionArchitecture

    @property
    def recipe(self) -> DiffusionRecipe:
        """How the network was trained."""
        return DiffusionRecipe.from_json(self.metadata["recipe"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of its images."""
        return self.architecture.shape

    def build(self) -> DiffusionModule:
        """Make a module of this architecture."""
        return DiffusionModule(self.architecture)

    @classmethod
    def upgraded(
        cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Convert a file of release 0.1.0, which has the images' shape and no architecture apart from the recipe."""
        if (header.get("format"), header.get("version")) != ("npgen-diffusion", 1):
            return header, tensors
        shape = tuple(header["shape"])
        architecture = asdict(DiffusionRecipe.from_json(header["recipe"]).architecture(shape))
        metadata = {name: value for name, value in header.items() if name not in ("format", "version", "shape")}
        return {**metadata, "architecture": architecture, "format_version": 1}, tensors

    def denoise(self, canvases: NDArray[np.floating[Any]], time: float, *, device: str = "auto") -> NDArray[np.float64]:
        """Denoise canvases: return the expected images x̂₀ under the noise. The score is (a·x̂₀ − x) / b².

        Parameters
        ----------
        canvases
            (B, H, W, C): x = a·x₀ + b·ε, with images x₀ of −1…1.
        time
            Time of the canvases, which decides a and b by `levels`.
        device
            Torch device; "auto" takes an accelerator if there is one.

        Returns
        -------
        ndarray
            (B, H, W, C) float64: x̂₀.

        Raises
        ------
        ValueError
            If canvases are of another shape.
        """
        if canvases.shape[1:] != self.shape:
            raise invalid("canvases", f"of shape (B, {str(self.shape)[1:]}", canvases.shape)
        network, target = self.module(device)
        a, b = levels(time)
        mean = np.empty(canvases.shape)
        with torch.inference_mode():
            for at in range(0, len(canvases), BATCH):
                part = canvases[at : at + BATCH]
                x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(part, 3, 1), np.float32)).to(target)
                v = network(x, torch.full((len(x),), time, device=target))
                mean[at : at + BATCH] = a * part - b * np.moveaxis(v.double().cpu().numpy(), 1, 3)
        return mean

    def sample(
        self, noise: NDArray[np.floating[Any]], steps: int = 150, *, device: str = "auto", progress: bool = True
    ) -> NDArray[np.float32]:
        """Generate images from noise by deterministic DDIM steps.

        Parameters
        ----------
        noise
            (n, H, W, C): the canvases at the time of the machines' initial noise.
        steps
            Number of steps, of equal length, down to time 0.
        device
            As in `denoise`.
        progress
            Show a progress bar.

        Returns
        -------
        ndarray
            (n, H, W, C) float32, about −1…1, not clamped.

        Raises
        ------
        ValueError
            If the noise is of another shape, or `steps` out of range.
        """
        check_whole("steps", steps, 1, 10_000)
        canvases = np.asarray(noise, np.float64)
        times = np.linspace(LATEST, 0, steps + 1).tolist()
        for now, later in tqdm(list(pairwise(times)), unit="step", disable=not progress):
            canvases = ddim_step(canvases, self.denoise(canvases, now, device=device), now, later)
        images: NDArray[np.float32] = canvases.astype(np.float32)
        return images
