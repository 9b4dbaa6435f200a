"""Training of the diffusion network that score machines are compared with.

The random numbers of an epoch depend on the recipe's seed and the epoch's number alone, as in `npgen.simclr`: a
training resumed from the checkpoint of its last whole epoch repeats, bit for bit on a CPU, one that never stopped.

This module imports torch: import it only where training is asked for.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.diffusion import ConvolutionNetwork, DiffusionNetwork, DiffusionRecipe
from npgen.encoder import resolve_device
from npgen.errors import check_whole, invalid
from npgen.files import replacing
from npgen.schedules import LATEST, levels

if TYPE_CHECKING:
    from npgen.corpus import Corpus

CHECKPOINT_VERSION = 1


def train_diffusion(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: DiffusionRecipe | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: bool = True,
) -> DiffusionNetwork:
    """Train a diffusion network on a corpus and save it.

    After every epoch a checkpoint is left beside `out`; it is removed at the end. The same call after Ctrl-C, or after
    the machine went down, goes on from there.

    Parameters
    ----------
    corpus
        Images to train on.
    out
        Safetensors file to write.
    recipe
        How to train; None takes the defaults.
    device
        Torch device; "auto" takes an accelerator if there is one.
    resume
        Go on from a checkpoint if there is one, and leave a finished network of the same recipe and corpus as it is.
        False starts anew and replaces both.
    progress
        Show a progress bar.

    Returns
    -------
    DiffusionNetwork
        The network as saved.

    Raises
    ------
    OSError
        If the files cannot be written.
    ValueError
        If something at `out` came from another recipe or corpus.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise invalid("out", "a path that ends in .safetensors", str(out))
    recipe = recipe or DiffusionRecipe()
    if resume and out.exists():
        done = DiffusionNetwork.load(out)
        _same_training(out, asdict(done.recipe), done.metadata.get("corpus_hash"), recipe, corpus)
        return done
    out.parent.mkdir(parents=True, exist_ok=True)
    training = _Training(corpus, recipe, resolve_device(device))
    checkpoint = out.with_name(out.name + ".checkpoint")
    if resume and checkpoint.exists():
        training.restore(checkpoint)
    steps = training.steps_per_epoch
    with tqdm(
        total=recipe.epochs * steps,
        initial=training.epoch * steps,
        desc="diffusion",
        unit="step",
        disable=not progress,
    ) as bar:
        while training.epoch < recipe.epochs:
            training.run_epoch(bar)
            training.save(checkpoint)
    training.network_kept().save(out)
    checkpoint.unlink(missing_ok=True)
    return DiffusionNetwork.load(out)  # whose layout in memory, and so the last bits of what it says, are a file's


class _Training:
    """A training between two epochs: everything a checkpoint holds."""

    def __init__(self, corpus: Corpus, recipe: DiffusionRecipe, device: torch.device) -> None:
        self.corpus, self.recipe, self.device = corpus, recipe, device
        self.epoch = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = ConvolutionNetwork(recipe, corpus.images.shape[3])
        self.network = network.to(memory_format=torch.channels_last).to(device)
        self.kept = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
        # Processors that lack such instructions emulate bfloat16, ten times slower than float32.
        native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
        self.half = recipe.precision == "bfloat16" and native
        self.batch_size = min(recipe.batch_size, len(corpus))
        self.steps_per_epoch = len(corpus) // self.batch_size  # what is left over waits for another epoch

    def run_epoch(self, bar: tqdm[Any]) -> None:
        """Show every image once, in a random order, each at a random time with fresh noise."""
        began = time.monotonic()
        key = np.random.SeedSequence([self.recipe.seed, self.epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(key >> np.uint64(1)))
        order = torch.randperm(len(self.corpus), generator=generator).numpy()
        self.network.train()
        total = 0.0
        for step in range(self.steps_per_epoch):
            chosen = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            self._set_learning_rate(self.epoch * self.steps_per_epoch + step)
            total += self._learn(self.corpus.images[chosen], generator)
            bar.update()
            bar.set_postfix(epoch=self.epoch + 1, loss=f"{total / (step + 1):.4f}", refresh=False)
        self.epoch += 1
        self.losses.append(total / self.steps_per_epoch)
        self.seconds += time.monotonic() - began

    def _learn(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, C, H, W)
        noise = torch.randn(pixels.shape, generator=generator)
        # One time in each of B equal spans, so that batches differ little in how hard they are.
        count = len(images)
        spans = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        times = LATEST * spans / count  # (B,)
        a, b = (level[:, None, None, None] for level in _levels(times))
        v = (a * noise - b * pixels).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found = self.network((a * pixels + b * noise).to(self.device), times.to(self.device))
        loss = F.mse_loss(found.float(), v)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            taken = len(self.losses) * self.steps_per_epoch + 1
            # A mean of few steps at first: the initial weights are no part of it for long.
            share = 1 - min(self.recipe.average, taken / (taken + 10))
            for kept, new in zip(self.kept.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, share)
        return float(loss.detach())

    def _set_learning_rate(self, step: int) -> None:
        steps = self.recipe.epochs * self.steps_per_epoch
        rise = min(1.0, (step + 1) / max(1.0, steps / 50))
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / steps))

    def network_kept(self) -> DiffusionNetwork:
        """Give the averaged network in its final form."""
        metadata = {
            "corpus": self.corpus.name,
            "corpus_hash": self.corpus.hash,
            "loss": round(self.losses[-1], 6),
            "seconds": round(self.seconds, 3),
        }
        return DiffusionNetwork(self.kept, self.recipe, self.corpus.images.shape[1:], metadata)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        with replacing(path) as file:
            torch.save(
                {
                    "checkpoint_version": CHECKPOINT_VERSION,
                    "recipe": json.dumps(asdict(self.recipe)),
                    "corpus_hash": self.corpus.hash,
                    "epoch": self.epoch,
                    "seconds": self.seconds,
                    "losses": self.losses,
                    "network": self.network.state_dict(),
                    "kept": self.kept.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                },
                file,
            )

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe and corpus."""
        remedy = "delete it, or pass resume=False to start anew"
        try:
            # A pipe would be waited for, and torch would take other files for its older, pickled kind.
            if not path.is_file() or not zipfile.is_zipfile(path):
                raise ValueError("not a zip archive")
            state = torch.load(path, map_location=self.device, weights_only=True)
            version = state["checkpoint_version"]
            recipe, corpus_hash = json.loads(state["recipe"]), state["corpus_hash"]
        except Exception as error:  # torch answers a damaged file with all kinds
            raise ValueError(f"checkpoint must be one that npgen wrote; {remedy}, got {str(path)!r}") from error
        if version != CHECKPOINT_VERSION:
            raise invalid("checkpoint", f"of version {CHECKPOINT_VERSION} ({remedy})", f"{path} of version {version}")
        _same_training(path, recipe, corpus_hash, self.recipe, self.corpus)
        try:
            self.network.load_state_dict(state["network"])
            self.kept.load_state_dict(state["kept"])
            self.optimiser.load_state_dict(state["optimiser"])
            check_whole("epoch", state["epoch"], 0)
            self.epoch, self.seconds = state["epoch"], float(state["seconds"])
            self.losses = [float(loss) for loss in state["losses"]]
        except Exception as error:
            raise ValueError(f"checkpoint must be whole; {remedy}, got {str(path)!r} ({error})") from error


def _levels(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b at many times."""
    pairs = [levels(time) for time in times.tolist()]
    a, b = torch.tensor(pairs).T
    return a, b


def _same_training(path: Path, found_recipe: Any, found_hash: Any, recipe: DiffusionRecipe, corpus: Corpus) -> None:
    """Refuse what another recipe or corpus left at `path`."""
    remedy = "choose another path, or pass resume=False to replace it"
    if found_hash != corpus.hash:
        raise invalid("corpus", f"the one that {str(path)!r} was trained on, {found_hash} ({remedy})", corpus.hash)
    found = found_recipe if isinstance(found_recipe, dict) else {}
    wanted = asdict(recipe)
    if found != wanted:
        changed = {name: value for name, value in wanted.items() if found.get(name) != value}
        raise invalid("recipe", f"the one that {str(path)!r} was trained with ({remedy})", changed)
