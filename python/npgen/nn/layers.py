"""A stack of convolutions with batch normalisation and shortcuts, as torch modules.

This module imports torch: import it only where a network is trained or run as a module.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from torch import Tensor, nn

from npgen.nn.architecture import Layer, Stack, fold


class _Convolution(nn.Module):
    """Convolution and batch normalisation, which `fold` turns into one convolution after training."""

    def __init__(self, width: int, wider: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, wider, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(wider)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(x))
        return normed

    def fold(self) -> tuple[Tensor, Tensor]:
        return fold(self.convolution.weight, self.norm.state_dict(), self.norm.eps)


class TrainingLayer(_Convolution):
    """One layer of a stack: convolution, batch normalisation, sum with the residual block's input if any, ReLU.

    Parameters
    ----------
    stack
        The stack.
    number
        The layer's number in it, from 0.
    """

    def __init__(self, stack: Stack, number: int) -> None:
        wider, kernel, stride, *_ = stack.layers[number]
        super().__init__(stack.widths[number], wider, kernel, stride)
        projection = stack.projection(number)
        self.projection = _Convolution(projection[0], wider, 1, projection[1]) if projection else None
        if number in stack.blocks:
            nn.init.zeros_(self.norm.weight)  # a block starts as the identity: deep stacks train better

    def forward(self, x: Tensor, entry: Tensor | None = None) -> Tensor:
        """Map x (B, C, H, W) to (B, width, H / stride, W / stride).

        `entry` is the input of the residual block that ends with this layer, None if none does.
        """
        x = super().forward(x)
        if entry is not None:
            x = x + (entry if self.projection is None else self.projection(entry))
        return F.relu(x, inplace=True)


class TrainingLayers(nn.ModuleList):
    """All layers of a stack, residual blocks and max-pooling among them.

    Parameters
    ----------
    width
        Channels of the first layer's input.
    layers
        As in `Stack`.
    """

    def __init__(self, width: int, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.stack = Stack(width, tuple(layers))
        for number, (wider, kernel, stride, *_) in enumerate(layers):
            self.append(TrainingLayer(self.stack, number) if wider else nn.MaxPool2d(kernel, stride, kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the last layer's output (B, width, H / strides, W / strides)."""
        entry = x  # input of the present residual block
        for number, layer in enumerate(self):
            if number in self.stack.blocks.values():
                entry = x
            x = layer(x, entry) if number in self.stack.blocks else layer(x)
        return x

    def fold(self) -> dict[str, Tensor]:
        """Fold the normalisations into the convolutions; return tensors with the names of `Architecture.shapes`."""
        tensors = {}
        for number, layer in enumerate(self):
            if isinstance(layer, TrainingLayer):
                for part, convolution in (("", layer), (".projection", layer.projection)):
                    if convolution is not None:
                        weight, bias = convolution.fold()
                        tensors[f"layer{number}{part}.weight"], tensors[f"layer{number}{part}.bias"] = weight, bias
        return tensors
