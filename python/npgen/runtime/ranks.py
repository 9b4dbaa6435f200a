"""The processes of a run, called ranks: one process, or those that torchrun started on one or several machines.

All communication is built on `Ranks.all_to_all`; the operations are named as in MPI. They are collective: every rank
must call them, in the same order. With a single process they return its own data, so callers need no second path.
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
from npgen.runtime.imports import import_uninterrupted

if TYPE_CHECKING:
    import torch

SPLITS = ("samples", "corpus")
# A rank may scan a large corpus for hours before it communicates. A rank that ended is noticed at once, as its
# connections close.
TIMEOUT = timedelta(days=1)


class Ranks:
    """The ranks of a run with a single process; `TorchRanks` is that of several.

    Attributes
    ----------
    rank
        Index of this process, 0 to `count` − 1.
    count
        Number of processes.
    """

    rank = 0
    count = 1

    def all_to_all(self, blocks: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Send one array to each rank and receive one from each.

        Parameters
        ----------
        blocks
            One array (n, ...) per receiving rank, in rank order. Lengths n may differ; dtype and trailing shape are the
            same for all blocks of all ranks.

        Returns
        -------
        list of ndarray
            The blocks for this rank, in order of the sending ranks.

        Raises
        ------
        ConnectionError
            If a rank has ended.
        """
        return list(blocks)

    def threads(self, threads: int | None) -> int | None:
        """Return how many CPU threads this process uses, None meaning one per core."""
        return threads

    def own_range(self, total: int) -> tuple[int, int]:
        """Return this rank's part of `total` items as (start, end)."""
        bounds = self.bounds(total)
        return int(bounds[self.rank]), int(bounds[self.rank + 1])

    def bounds(self, total: int) -> NDArray[np.int64]:
        """Divide `total` items evenly; return where each part starts, and the end: (count + 1,)."""
        return np.arange(self.count + 1, dtype=np.int64) * total // self.count

    def gather(self, array: NDArray[Any]) -> NDArray[Any]:
        """Concatenate the ranks' arrays (n, ...) at rank 0, in rank order; the other ranks get an empty array."""
        empty = array[:0]
        return np.concatenate(self.all_to_all([empty if to else array for to in range(self.count)]))

    def all_gather(self, array: NDArray[Any]) -> NDArray[Any]:
        """Concatenate the ranks' arrays (n, ...) at every rank, in rank order."""
        return np.concatenate(self.all_to_all([array] * self.count))

    def any(self, flag: bool) -> bool:
        """Return True at every rank if any rank's flag is True."""
        return bool(self.all_gather(np.array([flag])).any())

    def broadcast(self, number: int) -> int:
        """Return rank 0's number at every rank."""
        return int(self.all_gather(np.array([number], np.int64))[0])

    def check_equal(self, name: str, value: str) -> None:
        """Raise ValueError, with `name` in its message, unless `value` is the same at all ranks."""
        values = bytes(self.all_gather(np.frombuffer(value.encode() + b"\0", np.uint8))).split(b"\0")
        for rank, other in enumerate(values[:-1]):
            if other != values[0]:
                raise invalid(f"{name} of rank {rank}", f"rank 0's, {values[0].decode()}", other.decode())


class TorchRanks(Ranks):
    """The ranks of a torch.distributed process group.

    Parameters
    ----------
    group
        A process group with a backend for host memory, such as gloo; None for the default group.
    """

    def __init__(self, group: Any = None) -> None:
        import torch.distributed as dist

        self.group = group
        self.rank, self.count = dist.get_rank(group), dist.get_world_size(group)

    def all_to_all(self, blocks: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Send one array to each rank and receive one from each; see `Ranks.all_to_all`."""
        if len(blocks) != self.count:
            raise invalid("blocks", f"{self.count}, one per rank", len(blocks))
        trailing = blocks[0].shape[1:]
        lengths = self._transfer([np.array([len(block)], np.int64) for block in blocks], [(1,)] * self.count)
        return self._transfer(blocks, [(int(length[0]), *trailing) for length in lengths])

    def _transfer(self, blocks: Sequence[NDArray[Any]], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
        """Send blocks and receive blocks of known shapes; this rank's block for itself is returned as it is."""
        import torch.distributed as dist

        received, pending = list(blocks), []
        for peer, block in enumerate(blocks):
            if peer == self.rank:
                continue
            received[peer] = np.empty(shapes[peer], block.dtype)
            with self._connection(peer):
                global_rank = dist.get_global_rank(self.group, peer) if self.group is not None else peer
                for transfer, array in ((dist.isend, block), (dist.irecv, received[peer])):
                    if array.size:
                        pending.append((peer, transfer(_bytes_of(array), global_rank, self.group)))
        for peer, work in pending:
            with self._connection(peer):
                assert work is not None  # this rank is in the group
                work.wait()
        return received

    @contextlib.contextmanager
    def _connection(self, peer: int) -> Iterator[None]:
        """Turn torch's error for a lost connection into ConnectionError."""
        try:
            yield
        except RuntimeError as error:
            raise ConnectionError(f"rank {peer} of {self.count} is gone: {error}") from error

    def threads(self, threads: int | None) -> int | None:
        """Return `threads`; None means that the ranks of this machine divide its cores."""
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return threads if threads is not None else max(1, (os.cpu_count() or 1) // local_ranks)


def _bytes_of(array: NDArray[Any]) -> torch.Tensor:
    """Return the bytes of an array as a tensor, without copying a writeable array."""
    import torch

    contiguous = np.ascontiguousarray(array)
    # torch accepts no read-only memory, not even to send it.
    writeable = contiguous if contiguous.flags.writeable else contiguous.copy()
    return torch.from_numpy(writeable.reshape(-1).view(np.uint8))


@contextlib.contextmanager
def open_ranks(split: str | None) -> Iterator[Ranks]:
    """Join the other processes of the run, until the block ends.

    Parameters
    ----------
    split
        What the ranks divide between them, "samples" or "corpus"; None for this process alone.

    Yields
    ------
    Ranks
        Those of torch.distributed if the caller has initialised it; else those that torchrun started; else this process
        alone.

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
    if not _is_set_up() and not _started_by_torchrun():
        yield Ranks()
        return
    import_uninterrupted("torch.distributed")
    import torch.distributed as dist

    if dist.is_initialized():
        group: Any = dist.new_group(backend="gloo", timeout=TIMEOUT)
        try:
            yield TorchRanks(group)
        finally:
            dist.destroy_process_group(group)
        return
    dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield TorchRanks()
    finally:
        dist.destroy_process_group()


def _started_by_torchrun() -> bool:
    """Return whether the environment describes the ranks of a run, as torchrun sets it.

    A `WORLD_SIZE` of 1 that is left over without the rest describes this process alone.

    Raises
    ------
    ValueError
        If it describes several ranks, but not which of them this is or how to reach the others.
    """
    size = os.environ.get("WORLD_SIZE")
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if size is None or (missing and size.strip() in ("", "1")):
        return False
    if missing:
        raise ValueError(
            f"environment must hold {', '.join(missing)} beside WORLD_SIZE={size}, as torchrun sets them, got none: "
            "start the run with torchrun, or unset WORLD_SIZE"
        )
    return True


def _is_set_up() -> bool:
    import sys

    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()
