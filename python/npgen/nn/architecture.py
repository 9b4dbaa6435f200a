"""What shape an encoder's network has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from npgen.errors import check_type, invalid

if TYPE_CHECKING:
    import torch

# No network has wider layers, larger kernels or a finer grid at its end: a file that says so lies.
MOST = 1 << 16
MOST_POOL = 64
# Width, kernel side, stride and, optionally, how many layers the residual block has that ends here.
Layer = tuple[int, int, int] | tuple[int, int, int, int]


@dataclass(frozen=True)
class Stack:
    """Layers one after the other, with or without shortcuts.

    Parameters
    ----------
    width
        Channels of the first layer's input.
    layers
        Width, kernel side (odd) and stride of each convolution, in order; a ReLU follows each. A fourth number
        r makes the layer end a residual block of r layers: the block's input is added before the ReLU, by way
        of a 1×1 convolution (the projection) where its shape is another. Width 0 makes a layer max-pooling,
        which leaves the width as it is. Blocks lie side by side, none inside another.
    """

    width: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        check_type("layers", self.layers, tuple)
        if not self.layers:
            raise invalid("layers", "at least one (width, kernel, stride)", self.layers)
        for layer in self.layers:
            check_type("layer", layer, tuple)
            whole = len(layer) in (3, 4) and all(type(value) is int and value >= 0 for value in layer)
            if not whole or 0 in layer[1:] or (layer[0] == 0 and len(layer) == 4):
                allowed = (
                    "tuples of positive whole numbers (width, kernel, stride) or (width, kernel, stride, block), "
                    "or (0, kernel, stride) for max-pooling"
                )
                raise invalid("layers", allowed, layer)
            if layer[1] % 2 == 0:
                raise invalid("layers", "of odd kernel side", layer)
            if max(layer) > MOST:
                raise invalid("layers", f"of numbers up to {MOST}", layer)
        if any(self.blocks[last] <= before for before, last in pairwise([-1, *self.blocks])):
            raise invalid("layers", "such that residual blocks lie within the stack, side by side", self.layers)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Width of each layer's input, and of the last one's output after them."""
        widths = [self.width]
        for width, *_ in self.layers:
            widths.append(width or widths[-1])
        return tuple(widths)

    @cached_property
    def blocks(self) -> dict[int, int]:
        """The first layer of each residual block, by its last."""
        return {number: number + 1 - layer[3] for number, layer in enumerate(self.layers) if len(layer) == 4}

    def projection(self, last: int) -> tuple[int, int] | None:
        """Give input width and stride of the projection in the block that a layer ends; None where there is none."""
        first = self.blocks.get(last, last + 1)
        stride = prod(layer[2] for layer in self.layers[first : last + 1])
        changed = stride != 1 or self.widths[first] != self.widths[last + 1]
        return (self.widths[first], stride) if changed else None


@dataclass(frozen=True)
class Architecture:
    """A stack of convolutions and what follows it: what shapes an encoder's tensors have.

    Parameters
    ----------
    channels
        Channels of an image, C: 1 or 3. The network's input has one more, the known mask.
    layers
        As in `Stack`.
    pool
        Side of the grid that the last layer's output is averaged to, before the linear map to the embedding.
    dim
        Width of the embedding, D. None: there is no linear map, the averages are the embedding.
    """

    channels: int
    layers: tuple[Layer, ...]
    pool: int
    dim: int | None

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise invalid("channels", "1 or 3", self.channels)
        _ = self.stack  # checks the layers
        if type(self.pool) is not int or not 1 <= self.pool <= MOST_POOL:
            raise invalid("pool", f"a whole number in 1…{MOST_POOL}", self.pool)
        if self.dim is not None and (type(self.dim) is not int or self.dim < 1):
            raise invalid("dim", "a positive whole number or None", self.dim)

    @classmethod
    def from_json(cls, values: Any) -> Architecture:
        """Read what `dataclasses.asdict` gave, from a file's header."""
        try:
            layers = tuple(tuple(layer) for layer in values["layers"])
            return cls(values["channels"], layers, values["pool"], values["dim"])
        except (TypeError, KeyError) as error:
            raise invalid("architecture", "an object of channels, layers, pool and dim", values) from error

    @cached_property
    def stack(self) -> Stack:
        """The convolutions, with the image's channels and the known mask as their input."""
        return Stack(self.channels + 1, self.layers)

    @property
    def width(self) -> int:
        """Width of the embedding, D, also where it is the averages."""
        return self.dim or self.stack.widths[-1] * self.pool**2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor of the encoder and give its shape, in the order of their use."""
        shapes: dict[str, tuple[int, ...]] = {"mean": (self.channels,)}
        for number, (wider, kernel, *_) in enumerate(self.layers):
            if wider:
                shapes[f"layer{number}.weight"] = (wider, self.stack.widths[number], kernel, kernel)
                shapes[f"layer{number}.bias"] = (wider,)
            if projection := self.stack.projection(number):
                shapes[f"layer{number}.projection.weight"] = (wider, projection[0], 1, 1)
                shapes[f"layer{number}.projection.bias"] = (wider,)
        if self.dim is not None:
            shapes["output.weight"] = (self.dim, self.stack.widths[-1], self.pool, self.pool)
            shapes["output.bias"] = (self.dim,)
        return shapes


def fold(weight: torch.Tensor, norm: dict[str, torch.Tensor], eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one convolution of a convolution and the batch normalisation after it, as it works in evaluation.

    Parameters
    ----------
    weight
        The convolution's weight (wider, width, kernel, kernel); it has no bias.
    norm
        The normalisation's weight, bias, running_mean and running_var, (wider,) each.
    eps
        What the normalisation adds to variances.

    Returns
    -------
    tuple of Tensor
        Weight, of the same shape, and bias (wider,).
    """
    gain = norm["weight"] / (norm["running_var"] + eps).sqrt()
    return weight * gain[:, None, None, None], norm["bias"] - norm["running_mean"] * gain
