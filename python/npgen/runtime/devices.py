"""Devices that networks run on, by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from npgen.errors import invalid
from npgen.runtime.imports import import_whole

if TYPE_CHECKING:
    import torch


def resolve_device(device: str) -> torch.device:
    """Turn a device's name into a torch device.

    Parameters
    ----------
    device
        "auto" (an accelerator if there is one, else the CPU) or a name that torch knows, such as "cuda:1".

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If torch does not know the name, or this machine has no such device.
    """
    import_whole("torch")
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            # Processes that torchrun started on one machine take one accelerator each.
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise invalid("device", "auto, cpu, or an accelerator that this machine and this torch have", device) from error
    return torch.device(device)
