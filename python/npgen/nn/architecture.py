"""Architectures: stacks of convolutions with residual blocks, and the shapes of their tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from npgen.errors import check_type, invalid

if TYPE_CHECKING:
    import torch

# Limits on numbers that come from files: no real network has wider layers, larger kernels or a finer grid.
MOST = 1 << 16
MOST_POOL = 64
# Width, kernel side, stride; and, for the last layer of a residual block, the number of layers in the block.
Layer = tuple[int, int, int] | tuple[int, int, int, int]


@dataclass(frozen=True)
class Stack:
    """Layers one after the other, with or without shortcuts.

    Parameters
    ----------
    width
        Channels of the first layer's input.
    layers
        Width, kernel side (odd) and stride of each convolution, in order; a ReLU follows each. A fourth number r
        marks the last layer of a residual block of r layers: the block's input is added before that layer's ReLU,
        through a 1×1 convolution (the projection) where shapes differ. A layer of width 0 is max-pooling and leaves
        the width unchanged. Blocks follow each other and are not nested.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or blocks overlap.

    Examples
    --------
    >>> stack = Stack(1, ((8, 3, 1), (16, 3, 2), (16, 3, 1, 2)))
    >>> stack.widths, stack.blocks, stack.projection(2)
    ((1, 8, 16, 16), {2: 1}, (8, 2))
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
        """Width of each layer's input, followed by that of the last layer's output."""
        widths = [self.width]
        for width, *_ in self.layers:
            widths.append(width or widths[-1])
        return tuple(widths)

    @cached_property
    def blocks(self) -> dict[int, int]:
        """Numbers of the first layers of residual blocks, by those of their last layers."""
        return {number: number + 1 - layer[3] for number, layer in enumerate(self.layers) if len(layer) == 4}

    def projection(self, last: int) -> tuple[int, int] | None:
        """Return input width and stride of the projection in the block that ends with layer `last`, if it has one."""
        first = self.blocks.get(last, last + 1)
        stride = prod(layer[2] for layer in self.layers[first : last + 1])
        changed = stride != 1 or self.widths[first] != self.widths[last + 1]
        return (self.widths[first], stride) if changed else None


@dataclass(frozen=True)
class Architecture:
    """A stack of convolutions, average pooling, and a linear map to the embedding: an encoder's architecture.

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

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.
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
        """Make an architecture of what `dataclasses.asdict` returned for it, as read from a file's header."""
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
        """Width of the embedding, D, also without a linear map."""
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
    """Fold a batch normalisation into the convolution before it, for use after training.

    Parameters
    ----------
    weight
        The convolution's weight (wider, width, kernel, kernel); it has no bias.
    norm
        The normalisation's weight, bias, running_mean and running_var, (wider,) each.
    eps
        The small number that the normalisation adds to variances.

    Returns
    -------
    weight, bias
        Of one convolution that computes the same as both: (wider, width, kernel, kernel) and (wider,).
    """
    gain = norm["weight"] / (norm["running_var"] + eps).sqrt()
    return weight * gain[:, None, None, None], norm["bias"] - norm["running_mean"] * gain
