"""The smallest network that can be trained and stored: a line y = a·x + b, with batch normalisation beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from npgen.nn import JsonRecipe, ModuleNetwork, module_shapes, module_tensors, training


@dataclass(frozen=True)
class LineArchitecture:
    """Number of lines."""

    count: int = 1

    @classmethod
    def from_json(cls, values: Any) -> LineArchitecture:
        if not isinstance(values, dict) or set(values) != {"count"} or values["count"] not in range(1, 9):
            raise ValueError(f"architecture must be of count, got {values!r}")
        return cls(**values)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return module_shapes(lambda: LineModule(self))


class LineModule(nn.Module):
    def __init__(self, architecture: LineArchitecture) -> None:
        super().__init__()
        self.line = nn.Linear(1, architecture.count)
        self.norm = nn.BatchNorm1d(architecture.count, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 1) to (B, count); the normalisation takes part in training only, to have a state."""
        y: torch.Tensor = self.line(x)
        if self.training:
            self.norm(y.detach())
        return y


class Lines(ModuleNetwork[LineArchitecture]):
    kind = "lines"
    architecture_type = LineArchitecture

    def build(self) -> LineModule:
        return LineModule(self.architecture)


@dataclass(frozen=True)
class LineRecipe(JsonRecipe):
    """Learn that the mean of an image of 0…255 is its mean: y = x."""

    epochs: int = 4
    batch_size: int = 4
    rate: float = 0.1
    precision: str = "float32"
    seed: int = 0

    @property
    def total_epochs(self) -> int:
        return self.epochs


class LineTraining(training.Training[LineRecipe, Lines]):
    name, version, network_type = "lines", 3, Lines

    def __init__(self, corpus: Any, recipe: LineRecipe, device: torch.device) -> None:
        super().__init__(corpus, recipe, device)
        with training.seeded(recipe.seed):
            self.module = LineModule(LineArchitecture())
        self.optimiser = torch.optim.Adam(self.module.parameters())
        self.batches: list[list[int]] = []
        self.rates: list[float] = []

    def step(self, images: torch.Tensor, generator: torch.Generator) -> float:
        self.batches.append(images[:, 0, 0, 0].tolist())
        self.rates.append(self.optimiser.param_groups[0]["lr"])
        x = (images.double().mean((1, 2, 3)) / 255).float()[:, None]
        noise = torch.randn(x.shape, generator=generator) / 100
        return training.gradient_step(((self.module(x + noise) - x) ** 2).mean(), self.optimiser)

    def learning_rate(self, step: int) -> float:
        return self.recipe.rate * training.warmup_factor(step, 2) * training.cosine_factor(step, self.steps)

    def state(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])

    def network_trained(self, device: str, progress: bool) -> Lines:
        metadata = {"recipe": asdict(self.recipe), "corpus_hash": self.corpus.hash}
        return Lines(LineArchitecture(), module_tensors(self.module), metadata=metadata, device=device)
