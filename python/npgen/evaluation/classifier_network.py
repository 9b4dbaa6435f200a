"""The network of a classifier, and its file.

This module imports torch: import it only where a classifier is trained or run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from npgen.errors import check_type, check_whole, invalid
from npgen.evaluation.classifier_recipe import ClassifierRecipe
from npgen.nn import Architecture, Layer, ModuleNetwork, layers, module_shapes


@dataclass(frozen=True)
class ClassifierArchitecture:
    """The architecture of a classifier.

    Parameters
    ----------
    channels
        Channels of an image, C: 1 or 3.
    classes
        Number of classes, K.
    layers, pool, features, side
        As in `ClassifierRecipe`.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.
    """

    channels: int
    classes: int
    layers: tuple[Layer, ...]
    pool: int
    features: int
    side: int

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        Architecture(self.channels, self.layers, self.pool, self.features)
        check_whole("classes", self.classes, 2, 1 << 20)
        check_whole("features", self.features, 1, 1 << 16)
        check_whole("side", self.side, 1, 1 << 16)

    @classmethod
    def of_recipe(cls, recipe: ClassifierRecipe, channels: int, classes: int) -> ClassifierArchitecture:
        """Return the architecture of a recipe's classifier for images of C channels and K classes."""
        return cls(channels, classes, recipe.layers, recipe.pool, recipe.features, recipe.side)

    @classmethod
    def from_json(cls, values: Any) -> ClassifierArchitecture:
        """Make an architecture of what `dataclasses.asdict` returned for it, as read from a file's header."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise invalid("architecture", f"an object of {', '.join(names)}", values)
        try:
            check_type("layers", values["layers"], list)
            return cls(**{**values, "layers": tuple(tuple(layer) for layer in values["layers"])})
        except TypeError as error:
            raise invalid("architecture", "an object of whole numbers", values) from error

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""
        return module_shapes(lambda: ClassifierModule(self))


class ClassifierModule(nn.Module):
    """Convolutions, average pooling, a feature layer, and a linear map to the classes.

    Parameters
    ----------
    architecture
        Shapes of the layers.
    """

    def __init__(self, architecture: ClassifierArchitecture) -> None:
        super().__init__()
        self.side = architecture.side
        self.layers = layers.TrainingLayers(architecture.channels, architecture.layers)
        self.pool = nn.AdaptiveAvgPool2d(architecture.pool)
        self.features = nn.Linear(architecture.layers[-1][0] * architecture.pool**2, architecture.features)
        self.output = nn.Linear(architecture.features, architecture.classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, H, W, C) uint8 to features (B, F) and logits (B, K)."""
        x = pixels.permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        height, width = x.shape[2:]
        if max(height, width) > self.side:
            x = F.adaptive_avg_pool2d(x, (min(height, self.side), min(width, self.side)))
        features = F.relu(self.features(self.pool(self.layers(x)).flatten(1)))
        return features, self.output(features)


class ClassifierNetwork(ModuleNetwork[ClassifierArchitecture]):
    """The trained network of a classifier."""

    kind = "classifier"
    architecture_type = ClassifierArchitecture

    def build(self) -> ClassifierModule:
        """Make a module of this architecture."""
        return ClassifierModule(self.architecture)

    @classmethod
    def upgraded(
        cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Convert a file of release 0.1.0: it has no architecture apart from the recipe, and counts of batches."""
        if (header.get("format"), header.get("version")) != ("npgen-classifier", 2):
            return header, tensors
        recipe = header["recipe"]
        architecture = {
            "channels": tensors["layers.0.convolution.weight"].shape[1],
            "classes": len(tensors["output.bias"]),
            **{name: recipe[name] for name in ("layers", "pool", "features", "side")},
        }
        weights = {name: tensor for name, tensor in tensors.items() if not name.endswith(".num_batches_tracked")}
        metadata = {name: value for name, value in header.items() if name not in ("format", "version")}
        return {**metadata, "architecture": architecture, "format_version": 1}, weights
