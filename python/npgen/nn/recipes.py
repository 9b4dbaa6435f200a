"""Training recipes: what they share, reading from JSON and the check of the precision."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Self

from npgen.errors import check_choice, invalid
from npgen.storage import read_json


class SavedRecipe(Protocol):
    """What a checkpoint needs of a recipe."""

    def to_json(self) -> dict[str, Any]:
        """Return all settings, JSON-able; with the corpus, they decide the training."""

    def completed(self, values: Any) -> Any:
        """Return a JSON object with the defaults of what it lacks."""


class TrainingRecipe(SavedRecipe, Protocol):
    """What every training needs of its recipe."""

    @property
    def total_epochs(self) -> int:
        """Passes over the corpus, all kinds of epochs together."""

    @property
    def batch_size(self) -> int:
        """Images per step."""

    @property
    def precision(self) -> str:
        """Number type that convolutions compute in, "bfloat16" or "float32"."""

    @property
    def seed(self) -> int:
        """Seed of all random numbers."""


@dataclass(frozen=True)
class JsonRecipe:
    """Base of training recipes: dataclasses of settings that files hold as JSON objects."""

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Make a recipe of a JSON object, as `to_json` returns it; what is absent takes its default.

        Parameters
        ----------
        values
            The object.

        Returns
        -------
        JsonRecipe
            Of this class.

        Raises
        ------
        TypeError, ValueError
            If it holds unknown names or bad values.
        """
        return cls(**cls.checked_names(values))

    @classmethod
    def checked_names(cls, values: Any) -> dict[str, Any]:
        """Return a JSON object once its names are checked: each must be a setting of the recipe."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or not set(values) <= set(names):
            got = sorted(set(values) - set(names)) if isinstance(values, dict) else values
            raise invalid("recipe", f"an object of {', '.join(names)}", got)
        return values

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a recipe from a JSON file.

        Parameters
        ----------
        path
            File to read.

        Returns
        -------
        JsonRecipe
            Of this class.
        """
        return cls.from_json(read_json(Path(path)))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    def completed(self, values: Any) -> Any:
        """Return a JSON object with the defaults of what it lacks: the settings of a file from an older release.

        Parameters
        ----------
        values
            The object; anything else is returned as it is.

        Returns
        -------
        dict
            All settings by name.
        """
        return {**type(self)().to_json(), **values} if isinstance(values, dict) else values


def check_precision(got: object) -> None:
    """Check the number type that a training is to compute in."""
    check_choice("precision", got, ("bfloat16", "float32"))
