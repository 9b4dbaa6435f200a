"""What shape an encoder's network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from npgen.errors import invalid


@dataclass(frozen=True)
class Architecture:
    """A stack of convolutions: what shapes an encoder's tensors have.

    Parameters
    ----------
    channels
        Channels of an image, C: 1 or 3. The network's input has one more, the known mask.
    layers
        Width, kernel side (odd) and stride of each convolution, in order; a ReLU follows each.
    pool
        Side of the grid that the last layer's output is averaged to, before the linear map to the embedding.
    dim
        Width of the embedding, D.
    """

    channels: int
    layers: tuple[tuple[int, int, int], ...]
    pool: int
    dim: int

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        if self.channels not in (1, 3):
            raise invalid("channels", "1 or 3", self.channels)
        if not self.layers:
            raise invalid("layers", "at least one (width, kernel, stride)", self.layers)
        for layer in self.layers:
            if len(layer) != 3 or not all(type(number) is int and number > 0 for number in layer):
                raise invalid("layers", "triples of positive whole numbers (width, kernel, stride)", layer)
            if layer[1] % 2 == 0:
                raise invalid("layers", "of odd kernel side", layer)
        for name, number in (("pool", self.pool), ("dim", self.dim)):
            if type(number) is not int or number < 1:
                raise invalid(name, "a positive whole number", number)

    @classmethod
    def from_json(cls, values: Any) -> Architecture:
        """Read what `dataclasses.asdict` gave, from a file's header."""
        try:
            layers = tuple(tuple(layer) for layer in values["layers"])
            return cls(values["channels"], layers, values["pool"], values["dim"])
        except (TypeError, KeyError) as error:
            raise invalid("architecture", "an object of channels, layers, pool and dim", values) from error

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor of the encoder and give its shape, in the order of their use."""
        shapes: dict[str, tuple[int, ...]] = {"mean": (self.channels,)}
        width = self.channels + 1
        for number, (wider, kernel, _) in enumerate(self.layers):
            shapes[f"layer{number}.weight"] = (wider, width, kernel, kernel)
            shapes[f"layer{number}.bias"] = (wider,)
            width = wider
        shapes["output.weight"] = (self.dim, width, self.pool, self.pool)
        shapes["output.bias"] = (self.dim,)
        return shapes
