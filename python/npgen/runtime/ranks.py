"""The processes of a run: one alone, or the ranks that torchrun started, on one machine or on many.

Everything that ranks say to each other goes through `Ranks.exchange`, in which every rank has a parcel for every rank.
A process alone hands its parcel to itself, so nothing that builds on it needs to know which of the two it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import invalid
from npgen.runtime.imports import import_whole

if TYPE_CHECKING:
    import torch

SPLITS = ("samples", "corpus")
# A rank that scans a large corpus may be silent for hours; one that died is noticed at once, by its connections.
PATIENCE = timedelta(days=1)


class Ranks:
    """One process, alone.

    Attributes
    ----------
    rank, count
        Which of how many processes this is.
    """

    rank = 0
    count = 1

    def exchange(self, parcels: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Hand every rank its parcel, and get one from each.

        Parameters
        ----------
        parcels
            One array a rank, in their order, of any length; all ranks' are of one dtype, and of one shape but for their
            length.

        Returns
        -------
        list of ndarray
            What the ranks had for this one, in their order.

        Raises
        ------
        ConnectionError
            If a rank is gone.
        """
        return list(parcels)

    def threads(self, threads: int | None) -> int | None:
        """How many CPU threads this process takes, None meaning one a core."""
        return threads

    def share(self, total: int) -> tuple[int, int]:
        """Where this rank's part of `total` things begins, and where it ends."""
        bounds = self.bounds(total)
        return int(bounds[self.rank]), int(bounds[self.rank + 1])

    def bounds(self, total: int) -> NDArray[np.int64]:
        """Where each rank's part of `total` things begins, and the last one's end: (count + 1,)."""
        return np.arange(self.count + 1, dtype=np.int64) * total // self.count

    def gather(self, array: NDArray[Any]) -> NDArray[Any]:
        """Put the ranks' arrays (n, ...) together at rank 0; the others get an empty one."""
        nothing = array[:0]
        return np.concatenate(self.exchange([nothing if to else array for to in range(self.count)]))

    def gather_everywhere(self, array: NDArray[Any]) -> NDArray[Any]:
        """Put the ranks' arrays (n, ...) together at every rank."""
        return np.concatenate(self.exchange([array] * self.count))

    def any(self, flag: bool) -> bool:
        """Whether it is so at any rank."""
        return bool(self.gather_everywhere(np.array([flag])).any())

    def tell(self, number: int) -> int:
        """Tell all ranks rank 0's number."""
        return int(self.gather_everywhere(np.array([number], np.int64))[0])

    def agree(self, name: str, value: str) -> None:
        """Raise ValueError unless all ranks say the same."""
        said = bytes(self.gather_everywhere(np.frombuffer(value.encode() + b"\0", np.uint8))).split(b"\0")
        for rank, other in enumerate(said[:-1]):
            if other != said[0]:
                raise invalid(f"{name} of rank {rank}", f"rank 0's, {said[0].decode()}", other.decode())


class TorchRanks(Ranks):
    """One of the processes of a torch.distributed group.

    Parameters
    ----------
    group
        A group whose backend takes what is in host memory, as gloo does; None for the default one.
    """

    def __init__(self, group: Any = None) -> None:
        import torch.distributed as dist

        self.group = group
        self.rank, self.count = dist.get_rank(group), dist.get_world_size(group)

    def exchange(self, parcels: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Hand every rank its parcel, and get one from each; see `Ranks.exchange`."""
        if len(parcels) != self.count:
            raise invalid("parcels", f"{self.count}, one a rank", len(parcels))
        tail = parcels[0].shape[1:]
        lengths = self._swap([np.array([len(parcel)], np.int64) for parcel in parcels], [(1,)] * self.count)
        return self._swap(parcels, [(int(length[0]), *tail) for length in lengths])

    def _swap(self, parcels: Sequence[NDArray[Any]], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
        """Send parcels and receive others, of known shapes; what is for this rank itself stays behind."""
        import torch.distributed as dist

        received, pending = list(parcels), []
        for peer, parcel in enumerate(parcels):
            if peer == self.rank:
                continue
            received[peer] = np.empty(shapes[peer], parcel.dtype)
            with self._missing(peer):
                at = dist.get_global_rank(self.group, peer) if self.group is not None else peer
                for transfer, array in ((dist.isend, parcel), (dist.irecv, received[peer])):
                    if array.size:
                        pending.append((peer, transfer(_bytes_of(array), at, self.group)))
        for peer, work in pending:
            with self._missing(peer):
                assert work is not None  # this rank is in the group
                work.wait()
        return received

    @contextlib.contextmanager
    def _missing(self, peer: int) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise ConnectionError(f"rank {peer} of {self.count} is gone: {error}") from error

    def threads(self, threads: int | None) -> int | None:
        """Share the machine's cores among the processes that torchrun started on it."""
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return threads if threads is not None else max(1, (os.cpu_count() or 1) // beside)


def _bytes_of(array: NDArray[Any]) -> torch.Tensor:
    import torch

    whole = np.ascontiguousarray(array)
    # Torch takes no read-only memory, though it would only read it.
    flat = (whole if whole.flags.writeable else whole.copy()).reshape(-1).view(np.uint8)
    return torch.from_numpy(flat)


@contextlib.contextmanager
def open_ranks(split: str | None) -> Iterator[Ranks]:
    """Find the other processes of the run.

    Parameters
    ----------
    split
        What ranks divide among them, "samples" or "corpus"; None for a process alone.

    Yields
    ------
    Ranks
        This process among its like: those of torch.distributed if the caller has set it up, those that torchrun started
        if it did, else this one alone.

    Raises
    ------
    ValueError
        If there is no such split.
    """
    if split is None:
        yield Ranks()
        return
    if split not in SPLITS:
        raise invalid("split", f"one of {', '.join(SPLITS)}, or None", split)
    if "WORLD_SIZE" not in os.environ and not _is_set_up():
        yield Ranks()
        return
    import_whole("torch.distributed")
    import torch.distributed as dist

    if dist.is_initialized():
        group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        try:
            yield TorchRanks(group)
        finally:
            dist.destroy_process_group(group)
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield TorchRanks()
    finally:
        dist.destroy_process_group()


def _is_set_up() -> bool:
    import sys

    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()
