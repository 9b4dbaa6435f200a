"""A small convolutional diffusion network: what the score machines are a theory of.

Convolutions of constant width with residual connections and no normalisation, after the ResNets of Kamb and Ganguli, so
that an output pixel depends on a window of the canvas alone. It is told the time, and predicts v = a·ε − b·x₀ (Salimans
and Ho, 2022): with x = a·x₀ + b·ε and a² + b² = 1, x̂₀ = a·x − b·v.

This module imports torch: import it only where such a network is asked for.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.els.schedules import LATEST, levels
from npgen.errors import check_choice, check_number, check_whole, invalid
from npgen.nn import JsonRecipe, check_precision, read_safetensors, state_arrays, write_safetensors
from npgen.runtime import resolve_device
from npgen.storage import parse_json

FORMAT, VERSION = "npgen-diffusion", 1
PADDINGS = ("zeros", "circular")
# Frequencies that tell the time: waves over 0…1.
WAVES = 16
# Canvases of one pass when nothing is learnt.
BATCH = 64


@dataclass(frozen=True)
class DiffusionRecipe(JsonRecipe):
    """How to build and train a network; with the corpus, this decides its weights.

    Parameters
    ----------
    layers
        Residual 3×3 convolutions between the first and the last, which are 3×3, too: an output pixel depends on a
        window of side 2·(layers + 2) + 1.
    width
        Channels between convolutions.
    padding
        What convolutions see beyond the frame: "zeros", as the machine `equivariant-borders` does, or "circular", the
        other side, as `equivariant` does.
    epochs
        Passes over the corpus.
    batch_size
        Images per step.
    learning_rate
        Peak of Adam's learning rate; it rises over the first fiftieth, then falls as a cosine to zero.
    average
        The weights that are kept are a running mean over about 1/(1 − `average`) steps.
    precision
        "bfloat16" trains the convolutions in it where the processor has such instructions, "float32" never does.
    seed
        Decides initial weights, order, times and noise.

    Raises
    ------
    ValueError
        If a number is out of range.
    TypeError
        If it is no number.
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
        most = {"layers": 64, "width": 4096}
        for name, least in (("layers", 1), ("width", 1), ("epochs", 1), ("batch_size", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least, most.get(name, 2**63 - 1))
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("average", self.average, 0, below=1)
        check_choice("padding", self.padding, PADDINGS)
        check_precision(self.precision)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read a recipe from a JSON object; what is absent takes its default.

        Raises
        ------
        ValueError
            If it is no object, or names something else.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or not set(values) <= set(known):
            raise invalid("recipe", f"a JSON object of {', '.join(known)}", values)
        return cls(**values)

    @property
    def reach(self) -> int:
        """Side of the window that an output pixel depends on."""
        return 2 * (self.layers + 2) + 1


class ConvolutionNetwork(nn.Module):
    """The convolutions."""

    def __init__(self, recipe: DiffusionRecipe, channels: int) -> None:
        super().__init__()
        width, mode = recipe.width, recipe.padding

        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=mode)

        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, 2 * width * recipe.layers))
        self.first = convolution(channels, width)
        self.middle = nn.ModuleList(convolution(width, width) for _ in range(recipe.layers))
        self.last = convolution(width, channels)
        for layer in self.middle:  # a residual of many parts should begin as large as one
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(recipe.layers**-0.5)
        for part in (self.last, self.time[2]):
            assert isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, canvases: Tensor, times: Tensor) -> Tensor:
        """Map canvases (B, C, H, W) at times (B,) to v (B, C, H, W)."""
        phase = math.pi * times[:, None] * torch.arange(1, WAVES + 1, device=times.device)
        told = self.time(torch.cat([phase.sin(), phase.cos()], 1))[:, :, None, None]  # (B, 2·layers·width, 1, 1)
        x = self.first(canvases)  # (B, width, H, W)
        for layer, scale_shift in zip(self.middle, told.chunk(len(self.middle), 1), strict=True):
            scale, shift = scale_shift.chunk(2, 1)
            x = x + layer(F.silu(torch.addcmul(shift, x, 1 + scale)))
        v: Tensor = self.last(F.silu(x))
        return v


class DiffusionNetwork:
    """A trained network. Made by `diffusion_training.train_diffusion`, and by `DiffusionNetwork.load`.

    Attributes
    ----------
    recipe
        How it was built and trained.
    shape
        (H, W, C) of its images.
    metadata
        JSON-able facts, among them the corpus's name and hash.
    """

    def __init__(
        self, network: ConvolutionNetwork, recipe: DiffusionRecipe, shape: tuple[int, ...], metadata: dict[str, Any]
    ) -> None:
        self.recipe, self.shape, self.metadata = recipe, shape, metadata
        self._network = network.eval()

    def denoise(self, canvases: NDArray[np.floating[Any]], time: float, *, device: str = "auto") -> NDArray[np.float64]:
        """Tell what images are expected under noise. The score is (a·x̂₀ − x) / b².

        Parameters
        ----------
        canvases
            (B, H, W, C): x = a·x₀ + b·ε, images being −1…1.
        time
            Which says a and b, by `schedules.levels`.
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
        target = resolve_device(device)
        network = self._network.to(target)
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
        """Make images of noise by deterministic DDIM steps.

        Parameters
        ----------
        noise
            (n, H, W, C): the canvases at the time that the machines start from.
        steps
            Evaluations, at equal steps of time down to 0.
        device
            As in `denoise`.
        progress
            Show a progress bar.

        Returns
        -------
        ndarray
            (n, H, W, C) float32, about −1…1: not clamped.

        Raises
        ------
        ValueError
            If noise is of another shape, or there is no step.
        """
        check_whole("steps", steps, 1, 10_000)
        canvases = np.asarray(noise, np.float64)
        times = np.linspace(LATEST, 0, steps + 1).tolist()
        for now, later in tqdm(list(pairwise(times)), unit="step", disable=not progress):
            (a, b), (next_a, next_b) = levels(now), levels(later)
            mean = self.denoise(canvases, now, device=device)
            canvases = next_a * mean + next_b * (canvases - a * mean) / b
        images: NDArray[np.float32] = canvases.astype(np.float32)
        return images

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as one safetensors file, all of it or nothing."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "recipe": asdict(self.recipe),
            "shape": list(self.shape),
            **self.metadata,
        }
        write_safetensors(path, header, state_arrays(self._network))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DiffusionNetwork:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, or something else.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"network must be an existing file, got {str(path)!r}")
        try:
            text, tensors = read_safetensors(path)
            header = parse_json(text)
            form, version = header.pop("format"), header.pop("version")
        except (SafetensorError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"network must be a whole file that npgen wrote, got {str(path)!r} ({error})") from error
        if (form, version) != (FORMAT, VERSION):
            raise invalid("network", f"a file of format {FORMAT} {VERSION}", f"{path} of {form} {version}")
        try:
            recipe, shape = DiffusionRecipe.from_json(header.pop("recipe")), tuple(header.pop("shape"))
            network = ConvolutionNetwork(recipe, shape[2])
            network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"network file {str(path)!r} is damaged: {' '.join(str(error).split())[:200]}") from error
        return cls(network, recipe, shape, header)
