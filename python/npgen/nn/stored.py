"""Trained networks in files: each is a class of its own, and all are kept, told apart and found alike."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import check_type, invalid
from npgen.nn.tensors import check_tensors, on_device, read_tensors, tensors_id, write_tensors
from npgen.runtime import resolve_device

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parents[1] / "weights"
# Corpora by name that shipped networks fit, with the shape of image these were trained on.
SHIPPED: dict[str, tuple[str, tuple[int, int, int]]] = {
    "mnist": ("mnist", (28, 28, 1)),
    "mnist-5k": ("mnist", (28, 28, 1)),
    "cifar10": ("cifar10", (32, 32, 3)),
}


class Shape(Protocol):
    """The shapes of a network: a dataclass of numbers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""


A = TypeVar("A", bound=Shape)


class StoredNetwork(Generic[A]):
    """A trained network: an architecture and its tensors. What these are, each kind says."""

    kind: ClassVar[str]  # as messages and a corpus folder's file name it
    shape_type: ClassVar[type[Any]]  # of `architecture`
    prefix: ClassVar[str] = ""  # of shipped files
    specs: ClassVar[tuple[str, ...]] = ("auto",)  # names of none that is shipped
    remedy: ClassVar[str]  # what to do where a corpus has none, at {where}

    def __init__(
        self,
        architecture: A,
        tensors: dict[str, NDArray[np.float16]],
        *,
        metadata: dict[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        check_type("architecture", architecture, self.shape_type)
        check_type("tensors", tensors, dict)
        check_type("metadata", metadata, dict, type(None))
        check_tensors(architecture.shapes(), tensors)
        self.architecture = architecture
        self.tensors = {name: np.ascontiguousarray(tensors[name]) for name in architecture.shapes()}
        self.metadata = dict(metadata or {})
        self.device = device
        self._weights: dict[str, torch.Tensor] | None = None
        self._id = tensors_id(asdict(architecture), self.tensors)

    @property
    def id(self) -> str:
        """Sha256 over architecture and tensors, 64 hexadecimal digits."""
        return self._id

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as safetensors, all of it or nothing.

        Parameters
        ----------
        path
            File to write or replace.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before stays.
        """
        write_tensors(path, {**self.metadata, "architecture": asdict(self.architecture)}, self.tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read a network that `save` wrote.

        Parameters
        ----------
        path
            A safetensors file.
        device
            Torch device to run on; "auto" takes an accelerator if there is one.

        Returns
        -------
        StoredNetwork
            Of this class, with the same `id` as the one saved.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, of no such network of npgen, or of a newer npgen.
        """
        header, tensors = read_tensors(path, cls.kind)
        try:
            architecture = cls.shape_type.from_json(header.pop("architecture", None))
            return cls(architecture, tensors, metadata=header, device=device)
        except ValueError as error:
            raise ValueError(f"{cls.kind} file {os.fspath(path)!r} is damaged: {error}") from error

    @classmethod
    def find(cls, spec: str | os.PathLike[str], corpus: Corpus, device: str = "auto") -> Self:
        """Load the network that a name or a path means for a corpus.

        Parameters
        ----------
        spec
            "auto": the one in the corpus's folder, else a shipped one for its name and shape. A name: the shipped one.
            Else a path.
        corpus
            The corpus.
        device
            As in `load`.

        Returns
        -------
        StoredNetwork
            Of this class; whether it fits the corpus, its user finds out.

        Raises
        ------
        FileNotFoundError
            If `spec` is a path and there is no such file.
        ValueError
            If `spec` is unknown, the file is no good, or the corpus has none.
        """
        shipped = sorted({name for name, _ in SHIPPED.values()})
        path: str | os.PathLike[str] = spec
        if spec == "auto":
            path = cls._of_corpus(corpus)
        elif spec in shipped:
            path = WEIGHTS / f"{cls.prefix}{spec}.safetensors"
        elif not os.fspath(spec).endswith(".safetensors"):
            names = ", ".join(f'"{name}"' for name in (*cls.specs, *shipped))
            raise invalid(cls.kind, f"one of {names} or the path of a .safetensors file", os.fspath(spec))
        return cls.load(path, device=device)

    @classmethod
    def _of_corpus(cls, corpus: Corpus) -> Path:
        if corpus.path is not None and (own := corpus.path / f"{cls.kind}.safetensors").exists():
            return own
        name, shape = SHIPPED.get(corpus.name, ("", None))
        if shape != corpus.images.shape[1:]:
            remedy = cls.remedy.format(where="PATH" if corpus.path is None else corpus.path)
            raise ValueError(f"{cls.kind} must be given, as corpus {corpus.name!r} has none: {remedy}, got 'auto'")
        return WEIGHTS / f"{cls.prefix}{name}.safetensors"

    def _prepare(self) -> tuple[torch.device, dict[str, torch.Tensor]]:
        """Return device and weights to run with."""
        device = resolve_device(self.device)
        if self._weights is None or self._weights["mean"].device.type != device.type:
            self._weights = on_device(self.tensors, device)
        return device, self._weights
