"""Named tensors: their check, their hash, and files of them, npgen's own and those that other software wrote."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npgen.errors import check_type, invalid
from npgen.storage import write_bytes

if TYPE_CHECKING:
    import torch


def check_tensors(
    shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float16
) -> None:
    """Check that tensors are exactly those that a network needs.

    Parameters
    ----------
    shapes
        Name and shape of every tensor of the network.
    tensors
        The tensors given.
    dtype
        Their number type.

    Raises
    ------
    TypeError
        If one is not an array.
    ValueError
        If one is missing, unexpected, of a wrong shape or type, or not finite.

    Examples
    --------
    >>> check_tensors({"bias": (2,)}, {"bias": np.zeros(3, np.float16)})
    Traceback (most recent call last):
    ...
    ValueError: tensor 'bias' must be float16 of shape (2,), got 'float16 of shape (3,)'
    """
    for name in shapes:
        if name not in tensors:
            raise invalid("tensors", f"complete, with {name!r}", sorted(tensors))
    for name, tensor in tensors.items():
        if name not in shapes:
            raise invalid("tensors", f"only {', '.join(shapes)}", name)
        check_type(f"tensor {name!r}", tensor, np.ndarray)
        if tensor.shape != shapes[name] or tensor.dtype != dtype:
            got = f"{tensor.dtype} of shape {tensor.shape}"
            raise invalid(f"tensor {name!r}", f"{np.dtype(dtype)} of shape {shapes[name]}", got)
        if not np.isfinite(tensor).all():
            raise invalid(f"tensor {name!r}", "finite numbers", f"{(~np.isfinite(tensor)).sum()} that are not")


def tensors_id(architecture: dict[str, Any], tensors: Mapping[str, NDArray[np.floating[Any]]]) -> str:
    """Hash what decides a network's outputs.

    Parameters
    ----------
    architecture
        The network's architecture, JSON-able.
    tensors
        Its tensors, in the order of their use.

    Returns
    -------
    str
        Sha256 over both, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
    for name, tensor in tensors.items():
        little_endian = tensor.astype(tensor.dtype.newbyteorder("<"))
        digest.update(name.encode() + b"\0" + little_endian.tobytes())
    return digest.hexdigest()


def write_safetensors(path: str | os.PathLike[str], header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Write arrays and a header as a safetensors file, atomically.

    Parameters
    ----------
    path
        File to write or replace.
    header
        JSON-able values.
    tensors
        C-ordered arrays by name.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before stays.
    """
    from safetensors.numpy import save

    # One metadata entry: safetensors keeps no order among several, and equal networks make equal files.
    write_bytes(Path(path), save(tensors, metadata={"npgen": json.dumps(header, sort_keys=True)}))


def read_safetensors(path: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """Read a file that `write_safetensors` wrote.

    Parameters
    ----------
    path
        A safetensors file.

    Returns
    -------
    header, tensors
        The header as JSON text, "" if the file has none; the arrays by name.

    Raises
    ------
    safetensors.SafetensorError
        If it is not a whole safetensors file.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get("npgen", "")
        return text, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def read_foreign_tensors(path: Path, parameter: str) -> dict[str, torch.Tensor]:
    """Read the tensors in a file that other software wrote, without executing anything in it.

    Parameters
    ----------
    path
        A safetensors file, or one of `torch.save`.
    parameter
        What error messages call the file.

    Returns
    -------
    dict
        Tensors on the CPU, by name. A tensor in nested dictionaries is named by their keys, joined by dots; whatever
        else lies beside the tensors is left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, damaged, or cannot be read without executing code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{parameter} must be an existing file, got {str(path)!r}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # Training scripts often save their arguments beside the weights; a Namespace executes nothing when loaded.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about files that are then refused anyway
            return dict(_named_tensors(torch.load(path, map_location="cpu", weights_only=True), ""))
    except (
        SafetensorError,
        pickle.UnpicklingError,
        struct.error,
        RuntimeError,
        EOFError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        got = f"{str(path)!r}" + (f", which needs the code of {code[1]}" if code else "")
        allowed = "safetensors, or a file of torch.save that needs no code to read (as its state_dict alone)"
        raise ValueError(f"{parameter} must be {allowed}, got {got}") from error


def _named_tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _named_tensors(part, f"{name}.{key}" if name else str(key))
