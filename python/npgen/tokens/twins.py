"""Parametric twins of the token sampler: networks that learn what it looks up, from just as much context.

A twin predicts the next token in raster order, one of 2^b, from its place and the tokens before it within Chebyshev
distance γ, and from nothing else. There are two:

* "convolution" (after the γ-ARVM of Zhao and Basu, arXiv 2506.21731): one masked convolution of side 2γ + 1 sees the
  context, and 1×1 residual blocks think about it. A stack of small ones would see a cone, not a square.
* "transformer": each cell asks its question in several rounds of attention. Keys and values are made of the tokens
  alone, never of other cells' answers, so that the range stays γ however many the rounds.

This module imports torch: import it only where a twin is asked for.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.errors import check_choice, check_number, check_type, check_whole, invalid
from npgen.nn import JsonRecipe, check_precision, training
from npgen.runtime import resolve_device, retain_freed_memory
from npgen.tokens.store import Tokens

Kind = Literal["convolution", "transformer"]
# A twin gives a probability to each of 2^b tokens.
MOST_CLASS_BITS = 10
# Canvases or images per pass when nothing is learnt.
BATCH = 128


@dataclass(frozen=True)
class TwinRecipe(JsonRecipe):
    """How a twin is built and trained.

    Parameters
    ----------
    kind
        "convolution" or "transformer".
    gamma
        Range γ of the context in cells; None means all cells before.
    width
        Channels between the layers.
    blocks
        Residual blocks, or rounds of attention.
    heads
        Heads of attention; no part in a convolution.
    steps
        Steps of training.
    batch_size
        Images per step; each gives h·w predictions.
    learning_rate
        Peak of AdamW's learning rate, which rises over the first 5 % of the steps, then falls as a cosine.
    weight_decay
        Of AdamW.
    precision
        "bfloat16" or "float32": what is computed in while training.
    seed
        Decides initial weights and order.

    Raises
    ------
    TypeError, ValueError
        If a number is outside its range.
    """

    kind: Kind = "convolution"
    gamma: int | None = 5
    width: int = 96
    blocks: int = 3
    heads: int = 4
    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    precision: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        check_choice("kind", self.kind, get_args(Kind))
        if self.gamma is not None:
            check_whole("gamma", self.gamma, 1)
        for name in ("width", "blocks", "heads", "steps", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        check_whole("seed", self.seed, 0)
        if self.width % self.heads:
            raise invalid("heads", f"a divisor of the width {self.width}", self.heads)
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), least=0)
        check_precision(self.precision)


class Twin:
    """A trained twin. Made by `train_twin`.

    Attributes
    ----------
    recipe
        How it was built and trained.
    facts
        JSON-able: `seconds`, `loss` (nats a token, mean over the last tenth of the steps), `parameters`.
    """

    def __init__(self, network: _Network, recipe: TwinRecipe, facts: dict[str, Any]) -> None:
        self.recipe, self.facts = recipe, facts
        self._network = network.eval()

    def probabilities(self, codes: NDArray[np.uint8], cells: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Predict one token of each of some images.

        Parameters
        ----------
        codes
            Codes (M, h, w, Y), uint8.
        cells
            (M, 2) integers: the cell (y, x) to predict in each; tokens at and after it are not looked at.

        Returns
        -------
        ndarray
            (M, 2^b) float64: probability of each token, whose number has bit j where the token has it.
        """
        device = self._network.device
        rows = np.empty((len(codes), self._network.classes), np.float64)
        places = torch.from_numpy(np.asarray(cells, np.int64))
        with torch.inference_mode():
            for start in range(0, len(codes), BATCH):
                part = slice(start, start + BATCH)
                z = self._network.signs(codes[part]).to(device)
                logits = self._network(z).cpu()  # (B, h·w, 2^b)
                at = places[part, 0] * z.shape[3] + places[part, 1]
                rows[part] = logits[torch.arange(len(at)), at].double().softmax(1).numpy()
        return rows

    def sample(self, n: int, seed: int = 0, *, quiet: bool = True) -> NDArray[np.uint8]:
        """Draw grids of tokens, cell after cell in raster order.

        Parameters
        ----------
        n
            Number of samples.
        seed
            Seed of all draws.
        quiet
            Show no progress.

        Returns
        -------
        ndarray
            Codes (n, h, w, Y), uint8.
        """
        check_whole("n", n, 1)
        check_whole("seed", seed, 0)
        network = self._network
        (height, width), device = network.grid, network.device
        # A row for each sample: none depends on how many there are.
        chance = np.stack([np.random.default_rng([seed, k]).random(height * width) for k in range(n)])
        z = torch.zeros(n, network.bits, height, width, device=device)
        tokens = np.zeros((n, height, width), np.int64)
        with torch.inference_mode(), tqdm(total=height * width, desc="twin", unit="token", disable=quiet) as bar:
            for y in range(height):
                for x in range(width):
                    below = network.at(z, y, x).cpu().double().softmax(1).cumsum(1).numpy()  # (n, 2^b)
                    draws = chance[:, y * width + x, None] * below[:, -1:]
                    tokens[:, y, x] = (below <= draws).sum(1).clip(max=network.classes - 1)
                    z[:, :, y, x] = network.table[torch.from_numpy(tokens[:, y, x])]
                    bar.update()
        return codes_of(tokens, network.bits)


def train_twin(tokens: Tokens, recipe: TwinRecipe | None = None, device: str = "auto", quiet: bool = False) -> Twin:
    """Train a twin on tokens.

    Parameters
    ----------
    tokens
        Tokens of at most `MOST_CLASS_BITS` bits.
    recipe
        How to build and train it; None takes the defaults.
    device
        Torch device; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Returns
    -------
    Twin
        On a CPU, training again with the same versions and number of threads gives the same twin.

    Raises
    ------
    ValueError
        If the tokens have more bits.
    """
    check_type("tokens", tokens, Tokens)
    recipe = TwinRecipe() if recipe is None else recipe
    check_type("recipe", recipe, TwinRecipe)
    if tokens.bits > MOST_CLASS_BITS:
        raise invalid("tokens", f"of at most {MOST_CLASS_BITS} bits, as a twin has a class for each token", tokens)
    began = time.monotonic()
    target = resolve_device(device)
    with training.seeded(recipe.seed):
        network = _network(recipe, tokens.bits, tokens.grid)
    network.to(target).train()
    half = training.computes_half(recipe.precision, target)
    decay = [one for one in network.parameters() if one.ndim > 1]
    plain = [one for one in network.parameters() if one.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        recipe.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1, 20 * (step + 1) / recipe.steps) * training.fallen(step, recipe.steps),
    )
    random = np.random.default_rng(recipe.seed)
    losses = []
    bar = tqdm(range(recipe.steps), desc=f"{recipe.kind} {recipe.gamma}", unit="step", disable=quiet)
    with bar, retain_freed_memory():
        for _ in bar:
            # Sorted, so that a memory map is read forwards.
            chosen = np.sort(random.integers(0, len(tokens), min(recipe.batch_size, len(tokens))))
            codes = tokens.codes(chosen)
            with torch.autocast(target.type, torch.bfloat16, enabled=half):
                logits = network(network.signs(codes).to(target))
            answers = torch.from_numpy(numbers_of(codes).reshape(-1)).to(target)
            loss = F.cross_entropy(logits.float().flatten(0, 1), answers)
            losses.append(training.descend(loss, optimiser, network.parameters()))
            schedule.step()
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
    facts = {
        "recipe": recipe.to_json(),
        "seconds": round(time.monotonic() - began, 1),
        "loss": float(np.mean(losses[-max(1, len(losses) // 10) :])),
        "parameters": sum(one.numel() for one in network.parameters()),
    }
    return Twin(network, recipe, facts)


def numbers_of(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Turn codes (..., Y) into the tokens' numbers (...): bit j of a number is bit j of the token."""
    weights = 1 << (8 * np.arange(codes.shape[-1], dtype=np.int64))
    numbers: NDArray[np.int64] = (codes.astype(np.int64) * weights).sum(-1)
    return numbers


def codes_of(numbers: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Turn tokens' numbers (...) into codes (..., Y)."""
    shifts = 8 * np.arange(-(-bits // 8), dtype=np.int64)
    return ((numbers[..., None] >> shifts) & 0xFF).astype(np.uint8)


class _Network(nn.Module, ABC):
    """What both kinds share: places, the answer's layers, and tokens as signs."""

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
        self.answer = nn.Linear(recipe.width, self.classes)

    @property
    def device(self) -> torch.device:
        return self.place.device

    def signs(self, codes: NDArray[np.uint8]) -> Tensor:
        """Turn codes (B, h, w, Y) into signs (B, b, h, w)."""
        latents = np.unpackbits(codes, axis=-1, count=self.bits, bitorder="little")
        return torch.from_numpy(latents.transpose(0, 3, 1, 2)).float() * 2 - 1

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Predict every token of grids (B, b, h, w): logits (B, h·w, 2^b)."""

    @abstractmethod
    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell of grids (B, b, h, w), whatever they hold from there on: logits (B, 2^b)."""


def _network(recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> _Network:
    return (_Convolution if recipe.kind == "convolution" else _Transformer)(recipe, bits, grid)


def _residual(width: int) -> nn.Sequential:
    block = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
    nn.init.zeros_(block[-1].weight)  # type: ignore[arg-type]
    return block


class _Convolution(_Network):
    """A masked convolution over the rows above and the cells to the left, then residual blocks."""

    mask: Tensor  # (γ + 1, 2γ + 1): the last row is the cell's own

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
        return self._answers(x.flatten(2).transpose(1, 2), self.place)

    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell."""
        reach = self.reach
        top, left, right = max(0, y - reach), max(0, x - reach), min(self.grid[1], x + reach + 1)
        seen = z[:, :, top : y + 1, left:right]
        taps = (self.weight * self.mask)[:, :, top - y - 1 :, reach - (x - left) : reach + right - x]
        found = torch.einsum("bchw,ochw->bo", seen, taps)
        return self._answers(found[:, None], self.place[y * self.grid[1] + x])[:, 0]

    def _answers(self, x: Tensor, place: Tensor) -> Tensor:
        x = x + place
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.answer(self.norm(x))
        return logits


class _Transformer(_Network):
    """Rounds of attention of each cell to the tokens in its context, and to a start, lest there be none."""

    visible: Tensor  # (h·w, 1 + h·w) bool: which tokens each cell sees; the first is the start

    def __init__(self, recipe: TwinRecipe, bits: int, grid: tuple[int, int]) -> None:
        super().__init__(recipe, bits, grid)
        self.heads = recipe.heads
        self.register_buffer("visible", _visible(grid, self.reach), persistent=False)
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
        return self._answers(x, memory, self.visible)

    def at(self, z: Tensor, y: int, x: int) -> Tensor:
        """Predict one cell."""
        cell = y * self.grid[1] + x
        seen = self.visible[cell, 1:].nonzero()[:, 0]
        memory = self._memory(z.flatten(2)[:, :, seen].transpose(1, 2), self.where[seen])
        return self._answers(self.place[cell].expand(len(z), 1, -1), memory, None)[:, 0]

    def _memory(self, tokens: Tensor, where: Tensor) -> Tensor:
        """Turn tokens (B, T, b) at their places into what is attended to, (B, 1 + T, width)."""
        memory = self.token(tokens) + where
        memory = torch.cat([self.start.expand(len(tokens), -1, -1).to(memory.dtype), memory], 1)
        normed: Tensor = self.memory_norm(memory + self.memory(memory))
        return normed

    def _answers(self, x: Tensor, memory: Tensor, visible: Tensor | None) -> Tensor:
        for keys, queries, output, block in zip(self.keys, self.queries, self.outputs, self.blocks, strict=True):
            key, value = (self._split(part) for part in keys(memory).chunk(2, 2))
            found = F.scaled_dot_product_attention(self._split(queries(x)), key, value, visible)
            x = x + output(found.transpose(1, 2).flatten(2))
            x = x + block(x)
        logits: Tensor = self.answer(self.norm(x))
        return logits

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, T, width / heads)


def _visible(grid: tuple[int, int], reach: int) -> Tensor:
    """Tell which tokens each cell sees (h·w, 1 + h·w): those before it, within reach; and the start."""
    height, width = grid
    y, x = (places.flatten() for places in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    near = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs()) <= reach
    before = torch.arange(height * width)[:, None] > torch.arange(height * width)
    return torch.cat([torch.ones(height * width, 1, dtype=torch.bool), near & before], 1)
