"""Trained networks as files of named float16 tensors, and how they run so that a row depends on its own input alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import check_threads, check_type, invalid
from npgen.runtime import torch_workers
from npgen.storage import parse_json, write_bytes

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 1
# Every network pass sees exactly this many images, the last one padded: another batch size may make a library
# choose another kernel, which sums in another order. 32 loses little speed, and wastes little when a lone
# canvas is embedded.
MICRO_BATCH = 32
MICRO_BATCH_ACCELERATOR = 256


def check_tensors(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, NDArray[np.float16]]) -> None:
    """Complain unless tensors are those that a network needs.

    Parameters
    ----------
    shapes
        Name and shape of every tensor of the network.
    tensors
        The tensors given.

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        If one is missing, unexpected, of a wrong shape or type, or not finite.
    """
    for name in shapes:
        if name not in tensors:
            raise invalid("tensors", f"complete, with {name!r}", sorted(tensors))
    for name, tensor in tensors.items():
        if name not in shapes:
            raise invalid("tensors", f"only {', '.join(shapes)}", name)
        check_type(f"tensor {name!r}", tensor, np.ndarray)
        if tensor.shape != shapes[name] or tensor.dtype != np.float16:
            got = f"{tensor.dtype} of shape {tensor.shape}"
            raise invalid(f"tensor {name!r}", f"float16 of shape {shapes[name]}", got)
        if not np.isfinite(tensor).all():
            raise invalid(f"tensor {name!r}", "finite numbers", f"{(~np.isfinite(tensor)).sum()} that are not")


def tensors_id(architecture: dict[str, Any], tensors: Mapping[str, NDArray[np.float16]]) -> str:
    """Hash what a network computes.

    Parameters
    ----------
    architecture
        JSON-able shapes of the network.
    tensors
        Its tensors, in the order of their use.

    Returns
    -------
    str
        Sha256 over both, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
    for name, tensor in tensors.items():
        digest.update(name.encode() + b"\0" + tensor.astype("<f2").tobytes())
    return digest.hexdigest()


def write_tensors(
    path: str | os.PathLike[str], header: dict[str, Any], tensors: dict[str, NDArray[np.float16]]
) -> None:
    """Write a network as safetensors, all of it or nothing.

    Parameters
    ----------
    path
        File to write or replace.
    header
        JSON-able facts, the architecture among them; the format's version is added.
    tensors
        C-ordered arrays by name.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before stays.
    """
    write_safetensors(path, {**header, "format_version": FORMAT_VERSION}, tensors)


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write_tensors` wrote.

    Parameters
    ----------
    path
        A safetensors file.
    kind
        What it should hold, for messages: "encoder" or "autoencoder".

    Returns
    -------
    header, tensors
        As given to `write_tensors`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, not written by npgen, or of a newer npgen.
    """
    from safetensors import SafetensorError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{kind} must be an existing file, got {str(path)!r}")
    try:
        text, tensors = read_safetensors(path)
    except SafetensorError as error:
        raise ValueError(f"{kind} must be a whole safetensors file, got {str(path)!r} ({error})") from error
    try:
        header = parse_json(text)
        version = header.pop("format_version")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise invalid(kind, "a safetensors file written by npgen", str(path)) from error
    if version != FORMAT_VERSION:
        allowed = f"of format version {FORMAT_VERSION} (a newer npgen may read this file)"
        raise invalid(f"{kind} {str(path)!r}", allowed, version)
    return header, tensors


def write_safetensors(path: str | os.PathLike[str], header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Write C-ordered arrays, and a header of JSON-able values, as a safetensors file: all of it or nothing."""
    from safetensors.numpy import save

    # One metadata entry: safetensors keeps no order among several, and equal networks make equal files.
    write_bytes(Path(path), save(tensors, metadata={"npgen": json.dumps(header, sort_keys=True)}))


def read_safetensors(path: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """Read the header that `write_safetensors` wrote, as text, "" if there is none; and the arrays."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get("npgen", "")
        return text, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def state_arrays(network: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """Give a network's state, which goes to the CPU, as arrays that can be written: training leaves channels last."""
    return {name: tensor.contiguous().numpy() for name, tensor in network.cpu().state_dict().items()}


def on_device(tensors: Mapping[str, NDArray[np.float16]], device: torch.device) -> dict[str, torch.Tensor]:
    """Turn stored tensors into what convolutions take: float32, channels last.

    By NumPy, as torch would share the work among threads that a forked child of this process hasn't got.
    """
    return {name: _unpacked(tensor).to(device) for name, tensor in tensors.items()}


def in_micro_batches(
    run: Callable[..., torch.Tensor],
    inputs: Sequence[NDArray[Any]],
    outputs: NDArray[Any],
    device: torch.device,
    threads: int | None,
) -> None:
    """Run a network over many inputs, always on as many at a time, so that no row depends on its neighbours.

    Parameters
    ----------
    run
        The network: a whole micro-batch of each input to as many outputs.
    inputs
        Arrays (B, ...); the last micro-batch is padded with zeros.
    outputs
        (B, ...), written.
    device
        Where `run` computes.
    threads
        Threads that share the micro-batches on a CPU; None takes torch's own number. No influence on the result.

    Raises
    ------
    TypeError, ValueError
        If `threads` is out of range.
    """
    check_threads(threads)
    import torch

    size = MICRO_BATCH if device.type == "cpu" else MICRO_BATCH_ACCELERATOR

    def run_one(start: int) -> None:
        end = min(start + size, len(outputs))
        batches = [np.zeros((size, *array.shape[1:]), array.dtype) for array in inputs]
        for batch, array in zip(batches, inputs, strict=True):
            batch[: end - start] = array[start:end]
        with torch.inference_mode():
            outputs[start:end] = run(*map(torch.from_numpy, batches))[: end - start].cpu().numpy()

    workers = torch_workers(1 if device.type != "cpu" else threads)
    with exact_convolutions(device):
        for _ in workers.map(run_one, range(0, len(outputs), size)):
            pass


def exact_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Keep CUDA from choosing algorithms by timing and from rounding to TF32."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _unpacked(tensor: NDArray[np.float16]) -> torch.Tensor:
    import torch

    if tensor.ndim != 4:
        return torch.from_numpy(tensor.astype(np.float32))
    return torch.from_numpy(tensor.transpose(0, 2, 3, 1).astype(np.float32, "C")).permute(0, 3, 1, 2)
