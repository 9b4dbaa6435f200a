"""Names of the devices that networks run on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from npgen.errors import check_type, invalid
from npgen.runtime.imports import import_uninterrupted

if TYPE_CHECKING:
    import torch


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name.

    Parameters
    ----------
    device
        "auto" for an accelerator if there is one, else the CPU; or a name that torch knows, such as "cuda:1".

    Returns
    -------
    torch.device
        On this machine. Of several CUDA devices, "auto" takes the one whose index is this process's `LOCAL_RANK`.

    Raises
    ------
    ValueError
        If torch does not know the name, or this machine has no such device.
    """
    import_uninterrupted("torch")
    import torch

    check_type("device", device, str)
    if device == "auto":
        if torch.cuda.is_available():
            # torchrun numbers the processes of one machine in LOCAL_RANK: each takes its own accelerator.
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.ones(1, device=device).item()  # a device such as "meta" has no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise invalid("device", "auto, cpu, or an accelerator that this machine and this torch have", device) from error
    return torch.device(device)
