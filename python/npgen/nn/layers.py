"""A stack of convolutions with batch normalisation and shortcuts, to be trained.

This module imports torch: import it only where a network is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from torch import Tensor, nn

from npgen.nn.architecture import Layer, Stack, fold


class _Convolution(nn.Module):
    """Convolution and batch normalisation: one convolution once trained."""

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
    """Convolution, batch normalisation, the sum with a residual block's input, ReLU.

    Parameters
    ----------
    stack
        What it is a layer of.
    number
        Which one.
    """

    def __init__(self, stack: Stack, number: int) -> None:
        wider, kernel, stride, *_ = stack.layers[number]
        super().__init__(stack.widths[number], wider, kernel, stride)
        projection = stack.projection(number)
        self.projection = _Convolution(projection[0], wider, 1, projection[1]) if projection else None
        if number in stack.blocks:
            nn.init.zeros_(self.norm.weight)  # a block begins as its shortcut, which makes long stacks trainable

    def forward(self, x: Tensor, entry: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W), with the input of the residual block that ends here, to (B, width, H / stride, …)."""
        x = super().forward(x)
        if entry is not None:
            x = x + (entry if self.projection is None else self.projection(entry))
        return F.relu(x, inplace=True)


class TrainingLayers(nn.ModuleList):
    """Layers one after the other, residual blocks and max-pooling among them.

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
        """Map (B, C, H, W) to the last layer's output."""
        entry = x  # of the residual block
        for number, layer in enumerate(self):
            if number in self.stack.blocks.values():
                entry = x
            x = layer(x, entry) if number in self.stack.blocks else layer(x)
        return x

    def fold(self) -> dict[str, Tensor]:
        """Fold the normalisations into the convolutions: tensors as `Architecture.shapes` names them."""
        tensors = {}
        for number, layer in enumerate(self):
            if isinstance(layer, TrainingLayer):
                for part, convolution in (("", layer), (".projection", layer.projection)):
                    if convolution is not None:
                        weight, bias = convolution.fold()
                        tensors[f"layer{number}{part}.weight"], tensors[f"layer{number}{part}.bias"] = weight, bias
        return tensors
