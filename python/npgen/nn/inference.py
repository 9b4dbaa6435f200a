"""Running trained networks so that each output depends on its own input alone, not on what is beside it in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import MOST_THREADS, check_whole
from npgen.runtime import torch_workers

if TYPE_CHECKING:
    import torch

# Every network pass sees exactly this many images, the last one padded: with another batch size, a library may choose
# another kernel, which sums in another order. 32 is nearly as fast as more, and wastes little when a single canvas is
# embedded.
MICRO_BATCH = 32
MICRO_BATCH_ACCELERATOR = 256


def on_device(tensors: Mapping[str, NDArray[np.float16]], device: torch.device) -> dict[str, torch.Tensor]:
    """Convert stored tensors to what convolutions take.

    Parameters
    ----------
    tensors
        Float16 arrays by name.
    device
        Where the converted tensors go.

    Returns
    -------
    dict
        Float32 tensors by name, those of four dimensions with channels last in memory.
    """
    return {name: _converted(tensor).to(device) for name, tensor in tensors.items()}


def in_micro_batches(
    run: Callable[..., torch.Tensor],
    inputs: Sequence[NDArray[Any]],
    outputs: NDArray[Any],
    device: torch.device,
    threads: int | None,
) -> None:
    """Run a network over many inputs in batches of one fixed size, so that no output depends on its neighbours.

    Parameters
    ----------
    run
        The network: maps a micro-batch of each of `inputs` to as many outputs.
    inputs
        Arrays (B, ...); the last micro-batch is padded with zeros.
    outputs
        Array (B, ...), filled here.
    device
        Where `run` computes.
    threads
        Threads that share the micro-batches on a CPU; None takes torch's own number. No influence on the result.

    Raises
    ------
    TypeError, ValueError
        If `threads` is not a whole number from 1 to `MOST_THREADS`.
    """
    if threads is not None:
        check_whole("threads", threads, 1, MOST_THREADS)
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
    """Keep CUDA from choosing algorithms by timing, and from rounding to TF32, while the context lasts."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def fastest_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Let CUDA time its algorithms for convolutions and choose the fastest, while the context lasts."""
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True)


def _converted(tensor: NDArray[np.float16]) -> torch.Tensor:
    # By NumPy: torch would share this work among threads, which a forked child of this process does not have.
    import torch

    if tensor.ndim != 4:
        return torch.from_numpy(tensor.astype(np.float32))
    return torch.from_numpy(tensor.transpose(0, 2, 3, 1).astype(np.float32, "C")).permute(0, 3, 1, 2)
