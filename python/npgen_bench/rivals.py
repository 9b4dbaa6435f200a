"""The other side of `npgen bench`: one pixel's scan, and the shortlist, as NumPy, PyTorch and FAISS do them best.

Every form of the scan has its work laid out as npgen's kernels have theirs, so that only what is new for each pixel of
each canvas is timed:

- `prepare`, not timed: what all pixels of a stage share. Images as float32, in any layout, squared beforehand.
- `aim`, not timed: what all canvases of a batch share. Known taps, weights, indices.
- `distances` and `pool`, timed: distances of all candidates, and the pool drawn from.

Two kinds of form compute distances. *Differences* square and add differences, as npgen does. *Products* expand them,
``Σ w (b − a)² = Σ w a² − 2 Σ w b a + Σ w b²``, and leave the sums to a matrix product. These are faster, but large
terms cancel: distances near 0, where pools are decided, keep few digits.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config

Floats = NDArray[np.float32]
Shortlist = Callable[[Floats], NDArray[np.integer]]

LIBRARIES = ("NumPy", "PyTorch", "FAISS")


@dataclass(frozen=True, eq=False)
class Aim:
    """One pixel to be filled: everything about its scan but the values.

    Attributes
    ----------
    context
        (T·C,) where the known taps lie in a flattened canvas (H, W, C).
    sources
        (S, 2) positions (y, x) of the candidates of an image.
    corners
        (S, T, 2) positions of each candidate's taps in an image with a margin.
    weights
        (T·C,) float32, of sum 1.
    shape
        (height, width, C) of an image with its margin.
    """

    context: NDArray[np.intp]
    sources: NDArray[np.intp]
    corners: NDArray[np.intp]
    weights: Floats
    shape: tuple[int, int, int]


def margin(config: Config) -> int:
    """Pixels by which images are extended on every side, so that all windows of all candidates lie inside."""
    return config.locality + config.window // 2


def extended(images: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Extend images (K, H, W, C) by edge replication on every side."""
    return np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)), "edge")


def take_aim(known: NDArray[np.bool_], pixel: tuple[int, int], channels: int, config: Config) -> Aim:
    """Lay out the scan of one pixel.

    Parameters
    ----------
    known
        (H, W) known mask.
    pixel
        (y, x) of the pixel.
    channels
        Channels C of an image.
    config
        Window, σ and locality.
    """
    height, width = known.shape
    half, reach = config.window // 2, config.locality
    offsets = np.indices((config.window, config.window)).reshape(2, -1).T - half
    at = offsets + pixel
    inside = ((at >= 0) & (at < (height, width))).all(1) & offsets.any(1)
    offsets, at = offsets[inside], at[inside]
    taken = known[at[:, 0], at[:, 1]]
    offsets, at = offsets[taken], at[taken]  # (T, 2)
    gaussian = np.exp(-(offsets**2).sum(1) / (2 * config.gaussian_sigma**2))
    weights = np.repeat(gaussian / (gaussian.sum() * channels), channels)
    steps = np.indices((2 * reach + 1, 2 * reach + 1)).reshape(2, -1).T - reach + pixel
    sources = steps[((steps >= 0) & (steps < (height, width))).all(1)]  # (S, 2)
    by = margin(config)
    context = (at[:, 0] * width + at[:, 1])[:, None] * channels + np.arange(channels)
    return Aim(
        context=context.reshape(-1),
        sources=sources,
        corners=sources[:, None] + offsets + by,
        weights=weights.astype(np.float32),
        shape=(height + 2 * by, width + 2 * by, channels),
    )


def pool(distances: Floats, epsilon: float, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw up the pool from all distances (S, K), nearest first: positions in the shortlist, and source of each.

    The best source of each image, within (1 + ε) of the nearest of all; ties by image id.
    """
    best = distances.min(0)
    near = np.flatnonzero(best <= (1 + epsilon) * best.min())
    near = near[np.lexsort((ids[near], best[near]))]
    return near, distances[:, near].argmin(0)


def _load_faiss() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its SWIG's
        return importlib.import_module("faiss")


class Form(ABC):
    """One way to compute all distances of a pixel."""

    library: str
    name: str
    # Whether distances are sums of squared differences, rather than differences of large products.
    exact: bool
    # Whether the library shares this work among threads.
    threaded: bool

    @abstractmethod
    def prepare(self, images: NDArray[np.uint8]) -> None:
        """Lay out images (K, H, W, C) that have a margin."""

    @abstractmethod
    def aim(self, aim: Aim) -> None:
        """Turn to another pixel."""

    @abstractmethod
    def distances(self, context: Floats) -> Floats:
        """Compute the distances (S, K) of all candidates from the known taps' values (T·C,)."""


class _Windows(Form):
    """Windows gathered, one row per candidate."""

    def prepare(self, images: NDArray[np.uint8]) -> None:
        self.count = len(images)
        self.flat = images.reshape(self.count, -1).astype(np.float32)  # (K, H·W·C)

    def aim(self, aim: Aim) -> None:
        _, width, channels = aim.shape
        pixels = aim.corners[..., 0] * width + aim.corners[..., 1]  # (S, T)
        self.index = (pixels[..., None] * channels + np.arange(channels)).reshape(-1)  # (S·T·C,)
        self.weights = aim.weights
        self.rows = np.empty((self.count, len(self.index)), np.float32)
        self.sources = len(aim.sources)

    def gather(self) -> Floats:
        np.take(self.flat, self.index, axis=1, out=self.rows, mode="clip")
        return self.rows.reshape(-1, len(self.weights))  # (K·S, T·C)

    def folded(self, distances: Floats) -> Floats:
        return distances.reshape(self.count, self.sources).T


class _NumpyWindows(_Windows):
    """Gather, subtract, square, weigh."""

    library, name = "NumPy", "windows"
    exact, threaded = True, False

    def distances(self, context: Floats) -> Floats:
        rows = self.gather()
        rows -= context
        np.square(rows, out=rows)
        return self.folded(rows @ self.weights)


class _TorchWindows(_Windows):
    """The same in PyTorch."""

    library, name = "PyTorch", "windows"
    exact, threaded = True, True

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def aim(self, aim: Aim) -> None:
        super().aim(aim)
        self.images = self.torch.from_numpy(self.flat)
        self.tensor_index = self.torch.from_numpy(self.index)
        self.tensor_weights = self.torch.from_numpy(self.weights)

    def distances(self, context: Floats) -> Floats:
        with self.torch.inference_mode():
            rows = self.images.index_select(1, self.tensor_index).reshape(-1, len(self.weights))
            rows -= self.torch.from_numpy(context)
            return self.folded((rows.square_() @ self.tensor_weights).numpy())


class _FaissWindows(_Windows):
    """An `IndexFlatL2` for this one pixel, whose windows no other pixel has.

    L2 distance knows no weights, so windows and query are scaled by √w first. Building the index is part of the work.
    """

    library, name = "FAISS", "IndexFlatL2 of this pixel's windows"
    exact, threaded = True, True

    def __init__(self) -> None:
        self.faiss = _load_faiss()

    def aim(self, aim: Aim) -> None:
        super().aim(aim)
        self.scale = np.sqrt(aim.weights)

    def distances(self, context: Floats) -> Floats:
        rows = self.gather()
        rows *= self.scale
        index = self.faiss.IndexFlatL2(rows.shape[1])
        index.add(rows)
        # Within any radius: all distances from one scan, where `search` would sort them too.
        _, found, labels = index.range_search((context * self.scale)[None], np.inf)
        distances = np.empty(len(rows), np.float32)
        distances[labels] = found
        return self.folded(distances)


class _NumpyTaps(Form):
    """Tap by tap over whole rows of images, which lie side by side: no gathering."""

    library, name = "NumPy", "tap by tap"
    exact, threaded = True, False

    def prepare(self, images: NDArray[np.uint8]) -> None:
        self.planes = np.ascontiguousarray(images.transpose(1, 2, 3, 0), np.float32)  # (H, W, C, K)

    def aim(self, aim: Aim) -> None:
        # Sources form a rectangle, and so does what a tap of them sees.
        low, high = aim.corners.min(0), aim.corners.max(0) + 1  # (T, 2)
        ends = np.concatenate([low, high], 1).tolist()
        self.views = [self.planes[y0:y1, x0:x1, c] for y0, x0, y1, x1 in ends for c in range(aim.shape[2])]
        self.weights = aim.weights.tolist()
        self.sources = len(aim.sources)

    def distances(self, context: Floats) -> Floats:
        total = np.zeros(self.views[0].shape, np.float32)
        part = np.empty_like(total)
        for view, weight, value in zip(self.views, self.weights, context, strict=True):
            np.subtract(view, value, out=part)
            np.multiply(part, part, out=part)
            np.multiply(part, weight, out=part)
            total += part
        return total.reshape(self.sources, -1)


class _Products(Form):
    """Weights and canvas as one banded matrix per row of pixels, times pixels and their squares."""

    def prepare(self, images: NDArray[np.uint8]) -> None:
        pixels = images.transpose(1, 2, 3, 0).astype(np.float32)
        self.planes = np.concatenate([pixels, pixels * pixels], 2)  # (H, W, 2·C, K)

    def aim(self, aim: Aim) -> None:
        channels = aim.shape[2]
        low, high = aim.corners.min((0, 1)), aim.corners.max((0, 1)) + 1
        rows, columns = (high - low).tolist()
        at = aim.corners - low  # (S, T, 2)
        line = at[..., 0] * len(aim.sources) + np.arange(len(aim.sources))[:, None]
        cell = (line * columns + at[..., 1]) * 2 * channels
        # Where the factors of pixels go; those of squares lie C further.
        self.entries = (cell[..., None] + np.arange(channels)).reshape(len(aim.sources), -1)  # (S, T·C)
        self.bands = np.zeros((rows, len(aim.sources), columns * 2 * channels), np.float32)
        self.bands.reshape(-1)[self.entries + channels] = aim.weights
        region = self.planes[low[0] : high[0], low[1] : high[1]]
        self.region = region.reshape(rows, columns * 2 * channels, -1)
        self.weights = aim.weights

    def fill_bands(self, context: Floats) -> np.float32:
        """Put a canvas's values in, and return its own term."""
        weighted = self.weights * context
        self.bands.reshape(-1)[self.entries] = -2 * weighted
        return np.float32(weighted @ context)


class _NumpyProducts(_Products):
    """The product by NumPy's BLAS."""

    library, name = "NumPy", "banded matrix"
    exact, threaded = False, True

    def distances(self, context: Floats) -> Floats:
        own = self.fill_bands(context)
        total: Floats = (self.bands @ self.region).sum(0)
        total += own
        return np.maximum(total, 0, out=total)


class _TorchProducts(_Products):
    """The product by PyTorch's BLAS."""

    library, name = "PyTorch", "banded matrix"
    exact, threaded = False, True

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def aim(self, aim: Aim) -> None:
        super().aim(aim)
        self.tensor_bands = self.torch.from_numpy(self.bands)  # shares memory
        self.tensor_region = self.torch.from_numpy(self.region)

    def distances(self, context: Floats) -> Floats:
        own = self.fill_bands(context)
        with self.torch.inference_mode():
            total: Floats = self.torch.bmm(self.tensor_bands, self.tensor_region).sum(0).numpy()
        total += own
        return np.maximum(total, 0, out=total)


class _TorchConvolution(Form):
    """A convolution with the window, images as the batch."""

    library, name = "PyTorch", "conv2d"
    exact, threaded = False, True

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def prepare(self, images: NDArray[np.uint8]) -> None:
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        planes = np.ascontiguousarray(np.concatenate([pixels, pixels * pixels], 1))  # (K, 2·C, H, W)
        self.planes = self.torch.from_numpy(planes)

    def aim(self, aim: Aim) -> None:
        low, high = aim.corners.min((0, 1)), aim.corners.max((0, 1)) + 1
        self.region = self.planes[:, :, low[0] : high[0], low[1] : high[1]]
        window = aim.corners[0] - aim.corners[0].min(0)  # (T, 2)
        self.at = window[:, 0], window[:, 1]
        self.channels = aim.shape[2]
        self.kernel = np.zeros((1, 2 * self.channels, *(window.max(0) + 1)), np.float32)
        self.weights = aim.weights.reshape(-1, self.channels)  # (T, C)
        self.kernel[0, self.channels :][:, *self.at] = self.weights.T
        self.sources = len(aim.sources)

    def distances(self, context: Floats) -> Floats:
        values = context.reshape(-1, self.channels)
        weighted = self.weights * values
        self.kernel[0, : self.channels][:, *self.at] = -2 * weighted.T
        with self.torch.inference_mode():
            kernel = self.torch.from_numpy(self.kernel)
            total: Floats = self.torch.nn.functional.conv2d(self.region, kernel).numpy()  # (K, 1, y, x)
        total += np.vdot(weighted, values)
        return np.maximum(total, 0, out=total).reshape(-1, self.sources).T


FORMS: tuple[type[Form], ...] = (
    _NumpyWindows,
    _NumpyTaps,
    _NumpyProducts,
    _TorchWindows,
    _TorchConvolution,
    _TorchProducts,
    _FaissWindows,
)


def use_threads(library: str, threads: int) -> None:
    """Give a library so many threads. NumPy's BLAS takes its number from the environment, as it starts."""
    if library == "PyTorch":
        import torch

        torch.set_num_threads(threads)
    elif library == "FAISS":
        _load_faiss().omp_set_num_threads(threads)


def shortlist_form(library: str, keys: Floats, k: int) -> Shortlist:
    """Make the library's way from queries (B, D) to the K nearest keys (N, D) of each, (B, K).

    What depends on the keys alone is done here.
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
            warnings.simplefilter("ignore", UserWarning)  # the keys' memory is read-only, and only read
            tensor = torch.from_numpy(keys)

        def pytorch(queries: Floats) -> NDArray[np.integer]:
            with torch.inference_mode():
                ids: NDArray[np.int64] = (torch.from_numpy(queries) @ tensor.T).topk(k).indices.numpy()
                return ids

        return pytorch
    index: Any = _load_faiss().IndexFlatIP(keys.shape[1])
    index.add(np.ascontiguousarray(keys))

    def faiss(queries: Floats) -> NDArray[np.integer]:
        ids: NDArray[np.int64] = index.search(queries, k)[1]
        return ids

    return faiss
