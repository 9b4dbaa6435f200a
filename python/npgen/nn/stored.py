"""Trained networks in files: one base class and one file form for all of them.

A file is a safetensors file. It holds the network's tensors by name and, as JSON, its header: `format_version`, the
`architecture`, and metadata, which are facts about the training. Files of releases up to 0.1.0 in which classifiers and
diffusion networks had forms of their own are read as well.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npgen.errors import check_type, invalid
from npgen.nn.tensors import check_tensors, read_safetensors, tensors_id, write_safetensors
from npgen.runtime import resolve_device
from npgen.storage import parse_json

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT_VERSION = 1


class NetworkArchitecture(Protocol):
    """An architecture: a dataclass of numbers that decides the shapes of a network's tensors."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""


A = TypeVar("A", bound=NetworkArchitecture)


class StoredNetwork(Generic[A]):
    """A trained network: an architecture, its tensors, and metadata. Each kind of network is a subclass.

    Parameters
    ----------
    architecture
        Decides the shapes of the tensors.
    tensors
        One array of the class's `dtype` for each name in `architecture.shapes()`. A network computes from what is
        stored, so that it and its saved and loaded copy are the same function.
    metadata
        JSON-able facts about the training; not part of `id`.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Raises
    ------
    ValueError
        If tensors are missing, unexpected, of a wrong shape or type, or not finite.
    """

    kind: ClassVar[str]  # what messages call such a network
    architecture_type: ClassVar[type[Any]]
    dtype: ClassVar[DTypeLike] = np.float16  # of all tensors

    def __init__(
        self,
        architecture: A,
        tensors: dict[str, NDArray[Any]],
        *,
        metadata: dict[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        check_type("architecture", architecture, self.architecture_type)
        check_type("tensors", tensors, dict)
        check_type("metadata", metadata, dict, type(None))
        shapes = architecture.shapes()
        check_tensors(shapes, tensors, self.dtype)
        self.architecture = architecture
        self.tensors = {name: np.ascontiguousarray(tensors[name]) for name in shapes}
        self.metadata = dict(metadata or {})
        self.device = device
        self._id = tensors_id(asdict(architecture), self.tensors)

    @property
    def id(self) -> str:
        """Sha256 over architecture and tensors, 64 hexadecimal digits."""
        return self._id

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as a safetensors file, atomically.

        Parameters
        ----------
        path
            File to write or replace.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before stays.
        """
        header = {**self.metadata, "architecture": asdict(self.architecture), "format_version": FORMAT_VERSION}
        write_safetensors(path, header, self.tensors)

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
            If the file is damaged, holds another kind of network, or was written by a newer npgen.
        """
        header, tensors = _read(Path(path), cls.kind)
        try:
            header, tensors = cls.upgraded(header, tensors)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{cls.kind} file {os.fspath(path)!r} is damaged: {error!r}") from error
        version = header.pop("format_version", None)
        if version is None:
            raise invalid(cls.kind, "a safetensors file written by npgen", str(path))
        if version != FORMAT_VERSION:
            allowed = f"of format version {FORMAT_VERSION} (a newer npgen may read this file)"
            raise invalid(f"{cls.kind} {os.fspath(path)!r}", allowed, version)
        try:
            architecture = cls.architecture_type.from_json(header.pop("architecture", None))
            return cls(architecture, tensors, metadata=header, device=device)
        except ValueError as error:
            raise ValueError(f"{cls.kind} file {os.fspath(path)!r} is damaged: {error}") from error

    @classmethod
    def upgraded(
        cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Convert what an older release wrote to the present file form; anything else is returned as it is.

        Parameters
        ----------
        header, tensors
            What the file holds.

        Returns
        -------
        header, tensors
            In the present form.
        """
        return header, tensors


class ModuleNetwork(StoredNetwork[A]):
    """A trained network that runs as a torch module; its tensors are the module's state."""

    dtype = np.float32
    _module: nn.Module | None = None

    @abstractmethod
    def build(self) -> nn.Module:
        """Make a module of this architecture."""

    def module(self, device: str | None = None) -> tuple[nn.Module, torch.device]:
        """Return the module in evaluation mode, and the device that it is on.

        Parameters
        ----------
        device
            Torch device to move the module to; None takes the network's own.

        Returns
        -------
        module, device
            The module holds the network's tensors.
        """
        import torch

        target = resolve_device(self.device if device is None else device)
        if self._module is None:
            module = _without_memory(self.build)
            # Copies have the same strides whether trained or loaded; torch chooses algorithms by strides.
            state = {name: torch.from_numpy(tensor.copy()) for name, tensor in self.tensors.items()}
            module.load_state_dict(state, assign=True)
            self._module = module.eval()
        return self._module.to(target), target


def module_shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Name every tensor of a torch module and give its shape.

    Parameters
    ----------
    build
        Function without arguments that makes the module.

    Returns
    -------
    dict
        In the order of the module's state; counts of batches are left out, as in `module_tensors`.
    """
    return {name: tuple(part.shape) for name, part in _without_memory(build).state_dict().items() if _is_weight(part)}


def module_tensors(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Copy the state of a torch module to C-ordered arrays.

    Parameters
    ----------
    module
        The module; it is moved to the CPU.

    Returns
    -------
    dict
        Arrays by name. Counts of batches, which batch normalisation keeps and a trained network never reads, are left
        out.
    """
    state = module.cpu().state_dict()
    return {name: part.contiguous().numpy() for name, part in state.items() if _is_weight(part)}


def _is_weight(part: torch.Tensor) -> bool:
    return part.is_floating_point()


def _without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """Make a module whose tensors have shapes only: no numbers are drawn for initial weights."""
    import torch

    with torch.device("meta"):
        return build()


def read_header(path: Path) -> dict[str, Any]:
    """Read the header of a network's file alone.

    Raises
    ------
    ValueError
        If it is not a safetensors file, or its header is no JSON object.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = parse_json((file.metadata() or {}).get("npgen", ""))
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} must be a whole safetensors file ({error})") from error
    if not isinstance(header, dict):
        raise invalid("header", "a JSON object", type(header).__name__)
    return header


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and tensors of a file, of whatever form."""
    from safetensors import SafetensorError

    if not path.is_file():
        raise FileNotFoundError(f"{kind} must be an existing file, got {str(path)!r}")
    try:
        text, tensors = read_safetensors(path)
    except SafetensorError as error:
        raise ValueError(f"{kind} must be a whole safetensors file, got {str(path)!r} ({error})") from error
    try:
        header = parse_json(text)
        check_type("header", header, dict)
    except (ValueError, TypeError) as error:
        raise invalid(kind, "a safetensors file written by npgen", str(path)) from error
    return header, tensors
