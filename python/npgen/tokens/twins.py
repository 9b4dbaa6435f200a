"""Parametric twins of the token sampler: networks trained to predict a token from the sampler's context.

A twin predicts the next token in raster order, one of 2^b, from its place and the earlier tokens within Chebyshev
distance γ, and from nothing else. `npgen.tokens.twin_networks` has the two kinds of networks.

This module imports torch: import it only where a twin is trained.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.errors import check_type, check_whole, invalid
from npgen.nn import training
from npgen.runtime import resolve_device, retain_freed_memory
from npgen.tokens.store import Tokens
from npgen.tokens.twin_networks import TwinNetwork, make_network
from npgen.tokens.twin_recipe import TwinRecipe

# A twin has a class for each of 2^b tokens.
MOST_CLASS_BITS = 10
# Images per pass when nothing is trained.
BATCH = 128


class Twin:
    """A trained twin. Made by `train_twin`.

    Attributes
    ----------
    recipe
        How it was built and trained.
    facts
        JSON-able: `seconds`, `loss` (nats per token, mean over the last tenth of the steps), `parameters`.
    """

    def __init__(self, network: TwinNetwork, recipe: TwinRecipe, facts: dict[str, Any]) -> None:
        self.recipe, self.facts = recipe, facts
        self._network = network.eval()

    def probabilities(self, codes: NDArray[np.uint8], cells: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Predict one token of each of some images.

        Parameters
        ----------
        codes
            Codes (M, h, w, Y), uint8.
        cells
            (M, 2) integers: the cell (y, x) to predict in each; tokens at and after it have no influence.

        Returns
        -------
        ndarray
            (M, 2^b) float64: probability of each token, by its number: bit j of the number is bit j of the token.
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
        # Each sample has its own random numbers, so that none depends on n.
        chance = np.stack([np.random.default_rng([seed, k]).random(height * width) for k in range(n)])
        z = torch.zeros(n, network.bits, height, width, device=device)
        tokens = np.zeros((n, height, width), np.int64)
        with torch.inference_mode(), tqdm(total=height * width, desc="twin", unit="token", disable=quiet) as bar:
            for y in range(height):
                for x in range(width):
                    # 1. Predict the cell from those before it.
                    cumulated = network.at(z, y, x).cpu().double().softmax(1).cumsum(1).numpy()  # (n, 2^b)
                    # 2. Draw its token, by inversion of the cumulated probabilities.
                    draws = chance[:, y * width + x, None] * cumulated[:, -1:]
                    tokens[:, y, x] = (cumulated <= draws).sum(1).clip(max=network.classes - 1)
                    # 3. Write its bits.
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
        Architecture and training; None takes the defaults.
    device
        Torch device; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Returns
    -------
    Twin
        The same whenever it is trained on a CPU with the same versions and number of threads.

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
        network = make_network(recipe, tokens.bits, tokens.grid)
    network.to(target).train()
    bfloat16 = training.uses_bfloat16(recipe.precision, target)
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    undecayed = [weight for weight in network.parameters() if weight.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    )
    random = np.random.default_rng(recipe.seed)
    losses = []
    bar = tqdm(range(recipe.steps), desc=f"{recipe.kind} {recipe.gamma}", unit="step", disable=quiet)
    with bar, retain_freed_memory():
        for step in bar:
            # 1. Draw a batch; sorted, so that a memory map is read in order.
            chosen = np.sort(random.integers(0, len(tokens), min(recipe.batch_size, len(tokens))))
            codes = tokens.codes(chosen)
            # 2. Set the learning rate.
            rise, fall = training.warmup_factor(step, recipe.steps / 20), training.cosine_factor(step, recipe.steps)
            training.set_learning_rate(optimiser, recipe.learning_rate * (rise * fall))
            # 3. Predict every token from those before it.
            with torch.autocast(target.type, torch.bfloat16, enabled=bfloat16):
                logits = network(network.signs(codes).to(target))  # (B, h·w, 2^b)
            # 4. Update the weights by the cross entropy.
            numbers = torch.from_numpy(numbers_of(codes).reshape(-1)).to(target)  # (B·h·w,)
            loss = F.cross_entropy(logits.float().flatten(0, 1), numbers)
            losses.append(training.gradient_step(loss, optimiser, network.parameters()))
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
    facts = {
        "recipe": recipe.to_json(),
        "seconds": round(time.monotonic() - began, 1),
        "loss": float(np.mean(losses[-max(1, len(losses) // 10) :])),
        "parameters": sum(weight.numel() for weight in network.parameters()),
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
