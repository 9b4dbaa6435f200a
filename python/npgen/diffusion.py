"""A small convolutional diffusion network: what the score machines are a theory of.

Convolutions of constant width with residual connections and no normalisation, after the ResNets of Kamb and Ganguli, so
that an output pixel depends on a window of the canvas alone. It is told the time, and predicts v = a·ε − b·x₀ (Salimans
and Ho, 2022): with x = a·x₀ + b·ε and a² + b² = 1, x̂₀ = a·x − b·v.

This module imports torch: import it only where such a network is asked for.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
import zipfile
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.encoder import resolve_device
from npgen.errors import check_whole, invalid
from npgen.files import parse_json, replacing, write_bytes
from npgen.schedules import LATEST, levels

if TYPE_CHECKING:
    from npgen.corpus import Corpus

FORMAT, VERSION = "npgen-diffusion", 1
CHECKPOINT_VERSION = 1
PADDINGS = ("zeros", "circular")
# Frequencies that tell the time: waves over 0…1.
WAVES = 16
# Canvases of one pass when nothing is learnt.
BATCH = 64


@dataclass(frozen=True)
class DiffusionRecipe:
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
    padding: str = "zeros"
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
        for name in ("learning_rate", "average"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < self.learning_rate < math.inf:
            raise invalid("learning_rate", "a number above 0", self.learning_rate)
        if not 0 <= self.average < 1:
            raise invalid("average", "at least 0, below 1", self.average)
        if self.padding not in PADDINGS:
            raise invalid("padding", f"one of {', '.join(PADDINGS)}", self.padding)
        if self.precision not in ("bfloat16", "float32"):
            raise invalid("precision", '"bfloat16" or "float32"', self.precision)

    @classmethod
    def from_json(cls, values: Any) -> DiffusionRecipe:
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


class _Network(nn.Module):
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
    """A trained network. Made by `train_diffusion`, and by `DiffusionNetwork.load`.

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
        self, network: _Network, recipe: DiffusionRecipe, shape: tuple[int, ...], metadata: dict[str, Any]
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
        state = self._network.cpu().state_dict()
        tensors = {name: tensor.contiguous().numpy() for name, tensor in state.items()}
        header = {
            "format": FORMAT,
            "version": VERSION,
            "recipe": asdict(self.recipe),
            "shape": list(self.shape),
            **self.metadata,
        }
        write_bytes(path, save(tensors, metadata={"npgen": json.dumps(header, sort_keys=True)}))

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
            with safe_open(path, framework="numpy") as file:
                header = parse_json((file.metadata() or {}).get("npgen", ""))
                tensors = {name: torch.from_numpy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            form, version = header.pop("format"), header.pop("version")
        except (SafetensorError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"network must be a whole file that npgen wrote, got {str(path)!r} ({error})") from error
        if (form, version) != (FORMAT, VERSION):
            raise invalid("network", f"a file of format {FORMAT} {VERSION}", f"{path} of {form} {version}")
        try:
            recipe, shape = DiffusionRecipe.from_json(header.pop("recipe")), tuple(header.pop("shape"))
            network = _Network(recipe, shape[2])
            network.load_state_dict(tensors)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"network file {str(path)!r} is damaged: {' '.join(str(error).split())[:200]}") from error
        return cls(network, recipe, shape, header)


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
            network = _Network(recipe, corpus.images.shape[3])
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
