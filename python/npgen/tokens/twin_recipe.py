"""The recipe of a twin: its architecture and all settings of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from npgen.errors import check_number, check_whole, invalid
from npgen.nn import JsonRecipe, check_precision

TwinKind = Literal["convolution", "transformer"]


@dataclass(frozen=True)
class TwinRecipe(JsonRecipe):
    """The architecture of a twin, and how to train it.

    Parameters
    ----------
    kind
        "convolution" or "transformer".
    gamma
        Range γ of the context in cells; None means all earlier cells.
    width
        Channels between the layers.
    blocks
        Number of residual blocks, or of attention layers.
    heads
        Attention heads; without effect on a convolution.
    steps
        Training steps.
    batch_size
        Images per step; each contributes h·w predictions.
    learning_rate
        Peak of AdamW's learning rate, which rises over the first 5 % of the steps, then falls as a cosine.
    weight_decay
        Weight decay of AdamW.
    precision
        "bfloat16" or "float32": number type of the network while training.
    seed
        Seed of initial weights and order.

    Raises
    ------
    TypeError, ValueError
        If a number is outside its range.
    """

    kind: TwinKind = "convolution"
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
        if self.kind not in get_args(TwinKind):
            raise invalid("kind", "'convolution' or 'transformer'", self.kind)
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
