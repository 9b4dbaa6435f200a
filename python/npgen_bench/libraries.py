"""The libraries that npgen is compared with: imports, threads, and their search of nearest keys."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Takes queries (B, D) and returns the ids (B, K) of the nearest keys of each, the nearest first.
Search = Callable[[Floats], NDArray[np.integer]]

LIBRARIES = ("NumPy", "PyTorch", "FAISS")


def load_faiss() -> Any:
    """Import FAISS; raise ModuleNotFoundError where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # raised by SWIG's code in FAISS
        return importlib.import_module("faiss")


def not_installed(error: ModuleNotFoundError) -> str:
    """Return the remark of a row whose library is missing: which one, and how to install it."""
    return f'not installed ({error.name}): pip install "npgen[bench]"'


def use_threads(library: str, threads: int) -> None:
    """Set the number of threads of a library. NumPy's BLAS reads its number from the environment when it is loaded."""
    if library == "PyTorch":
        import torch

        torch.set_num_threads(threads)
    elif library == "FAISS":
        load_faiss().omp_set_num_threads(threads)


def prepare_search(library: str, keys: Floats, k: int) -> Search:
    """Return the library's search for the K keys (N, D) of largest product with each query.

    Work that depends on the keys alone is done here, and is not timed.
    """
    if library == "NumPy":

        def numpy(queries: Floats) -> NDArray[np.integer]:
            scores = queries @ keys.T
            near = np.argpartition(scores, len(keys) - k, axis=1)[:, len(keys) - k :]
            order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1)
            return np.take_along_axis(near, order, 1)

        return numpy
    if library == "PyTorch":
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the keys are read-only, and PyTorch only reads them
            tensor = torch.from_numpy(keys)

        def pytorch(queries: Floats) -> NDArray[np.integer]:
            with torch.inference_mode():
                ids: NDArray[np.int64] = (torch.from_numpy(queries) @ tensor.T).topk(k).indices.numpy()
                return ids

        return pytorch
    index: Any = load_faiss().IndexFlatIP(keys.shape[1])
    index.add(np.ascontiguousarray(keys))

    def faiss(queries: Floats) -> NDArray[np.integer]:
        ids: NDArray[np.int64] = index.search(queries, k)[1]
        return ids

    return faiss
