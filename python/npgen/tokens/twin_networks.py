"""Networks of twins: a masked convolution and a transformer, both with a context of fixed range.

* "convolution" (after the γ-ARVM of Zhao and Basu, arXiv 2506.21731): one masked convolution of side 2γ + 1 covers the
  context, and 1×1 residual blocks follow. The receptive field of a stack of small masked convolutions would be a
  triangle, not a square.
* "transformer": each cell attends to the tokens of its context in several layers. Keys and values are computed from the
  tokens alone, never from other cells' activations, so that the range stays γ at any depth.

This module imports torch: import it only where a twin is trained.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from npgen.tokens.twin_recipe import TwinRecipe


class TwinNetwork(nn.Module, ABC):
    """What both kinds share: embeddings of places, the output layers, and tokens as signs.

    Parameters
    ----------
    recipe
        Range, widths and depth.
    bits
        Bits of a token, b.
    grid
        Extents of an image's tokens, (h, w).
    """

    table: Tensor  # (2^b, b): the signs of each token

    def __init__(self, recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.bits, self.grid, self.classes = bits, grid, 1 << bits
        self.reach = max(1, max(grid) - 1 if recipe.gamma is None else min(recipe.gamma, max(grid) - 1))
        numbers = torch.arange(self.classes)
        signs = (numbers[:, None] >> torch.arange(bits)) % 2 * 2.0 - 1
        self.register_buffer("table", signs, persistent=False)
        self.place = nn.Parameter(torch.randn(grid[0] * grid[1], recipe.width) * 0.1)
        self.norm = nn.LayerNorm(recipe.width)
        self.output = nn.Linear(recipe.width, self.classes)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.place.device

    def signs(self, codes: NDArray[np.uint8]) -> Tensor:
        """Convert codes (B, h, w, Y) to signs (B, b, h, w)."""
        latents = np.unpackbits(codes, axis=-1, count=self.bits, bitorder="little")
        return torch.from_numpy(latents.transpose(0, 3, 1, 2)).float() * 2 - 1

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Predict every token of grids (B, b, h, w): logits (B, h·w, 2^b)."""

    @abstractmethod
    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell of grids (B, b, h, w), from the cells before it: logits (B, 2^b)."""


def make_network(recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> TwinNetwork:
    """Make a network of the recipe's kind, with initial weights, for grids (h, w) of tokens of b bits."""
    return (ConvolutionTwin if recipe.kind == "convolution" else TransformerTwin)(recipe, bits, grid)


def _residual(width: int) -> nn.Sequential:
    """Make the inner part of a residual block, which starts as zero."""
    block = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
    nn.init.zeros_(block[-1].weight)  # type: ignore[arg-type]
    return block


class ConvolutionTwin(TwinNetwork):
    """A masked convolution over the rows above and the cells to the left, then residual blocks."""

    mask: Tensor  # (γ + 1, 2γ + 1), 1 for cells of the context; the last row is that of the predicted cell

    def __init__(self, recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> None:
        super().__init__(recipe, bits, grid)
        mask = torch.ones(self.reach + 1, 2 * self.reach + 1)
        mask[-1, self.reach :] = 0
        self.register_buffer("mask", mask, persistent=False)
        taps = bits * int(mask.sum())
        self.weight = nn.Parameter(torch.randn(recipe.width, bits, *mask.shape) / math.sqrt(taps))
        self.blocks = nn.ModuleList(_residual(recipe.width) for _ in range(recipe.blocks))

    def forward(self, z: Tensor) -> Tensor:
        """Predict every token."""
        padded = F.pad(z, (self.reach, self.reach, self.reach, 0))
        x = F.conv2d(padded, self.weight * self.mask)  # (B, width, h, w)
        return self._logits(x.flatten(2).transpose(1, 2), self.place)

    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell."""
        reach = self.reach
        top, left, right = max(0, y - reach), max(0, x - reach), min(self.grid[1], x + reach + 1)
        seen = z[:, :, top : y + 1, left:right]
        taps = (self.weight * self.mask)[:, :, top - y - 1 :, reach - (x - left) : reach + right - x]
        x_cell = torch.einsum("bchw,ochw->bo", seen, taps)  # (B, width)
        return self._logits(x_cell[:, None], self.place[y * self.grid[1] + x])[:, 0]

    def _logits(self, x: Tensor, place: Tensor) -> Tensor:
        x = x + place
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.output(self.norm(x))
        return logits


class TransformerTwin(TwinNetwork):
    """Attention from each cell to the tokens of its context, and to a start token, as a context may be empty."""

    visible: Tensor  # (h·w, 1 + h·w) bool: which tokens each cell attends to; the first is the start token

    def __init__(self, recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> None:
        super().__init__(recipe, bits, grid)
        self.heads = recipe.heads
        self.register_buffer("visible", _visible_tokens(grid, self.reach), persistent=False)
        width = recipe.width
        self.start = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.token = nn.Linear(bits, width)
        self.where = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.1)
        self.memory = _residual(width)
        self.memory_norm = nn.LayerNorm(width)
        self.keys = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in range(recipe.blocks))
        self.queries = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, bias=False)) for _ in range(recipe.blocks)
        )
        self.outputs = nn.ModuleList(nn.Linear(width, width) for _ in range(recipe.blocks))
        self.blocks = nn.ModuleList(_residual(width) for _ in range(recipe.blocks))

    def forward(self, z: Tensor) -> Tensor:
        """Predict every token."""
        memory = self._memory(z.flatten(2).transpose(1, 2), self.where)
        x = self.place.expand(len(z), -1, -1)
        return self._logits(x, memory, self.visible)

    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell."""
        cell = y * self.grid[1] + x
        seen = self.visible[cell, 1:].nonzero()[:, 0]
        memory = self._memory(z.flatten(2)[:, :, seen].transpose(1, 2), self.where[seen])
        return self._logits(self.place[cell].expand(len(z), 1, -1), memory, None)[:, 0]

    def _memory(self, tokens: Tensor, where: Tensor) -> Tensor:
        """Map tokens (B, T, b) and the embeddings of their places to what is attended to, (B, 1 + T, width)."""
        memory = self.token(tokens) + where
        memory = torch.cat([self.start.expand(len(tokens), -1, -1).to(memory.dtype), memory], 1)
        normed: Tensor = self.memory_norm(memory + self.memory(memory))
        return normed

    def _logits(self, x: Tensor, memory: Tensor, visible: Tensor | None) -> Tensor:
        for keys, queries, output, block in zip(self.keys, self.queries, self.outputs, self.blocks, strict=True):
            key, value = (self._split(part) for part in keys(memory).chunk(2, 2))
            found = F.scaled_dot_product_attention(self._split(queries(x)), key, value, visible)
            x = x + output(found.transpose(1, 2).flatten(2))
            x = x + block(x)
        logits: Tensor = self.output(self.norm(x))
        return logits

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, T, width / heads)


def _visible_tokens(grid: tuple[int, int], reach: int) -> Tensor:
    """Return which tokens each cell attends to, (h·w, 1 + h·w) bool: the start, and earlier ones within reach."""
    height, width = grid
    y, x = (places.flatten() for places in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    near = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs()) <= reach
    before = torch.arange(height * width)[:, None] > torch.arange(height * width)
    return torch.cat([torch.ones(height * width, 1, dtype=torch.bool), near & before], 1)
