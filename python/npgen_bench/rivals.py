"""The scan of one pixel in the fastest forms known for NumPy, PyTorch and FAISS.

The work of every form is divided as npgen divides its own, so that only what is new per pixel and canvas is timed:

- `prepare`, not timed: what all pixels of a stage share. Images as float32, in any layout, squared beforehand.
- `set_pixel`, not timed: what all canvases of a batch share. Known taps, weights, indices.
- `distances` and `pool`, timed: distances of all candidates, and the pool.

Two kinds of form compute distances. *Differences* are subtracted, squared and added, as in npgen. *Products* expand the
squares, ``Σ w (b − a)² = Σ w a² − 2 Σ w b a + Σ w b²``, and compute the sums as a matrix product. That is faster, but
large terms cancel: distances near 0, which decide pools, keep few digits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen_bench.libraries import Floats, load_faiss


@dataclass(frozen=True, eq=False)
class ScanLayout:
    """The scan of one pixel, less the values of canvas and images.

    Attributes
    ----------
    context
        (T·C,) indices of the known taps in a flattened canvas (H, W, C).
    sources
        (S, 2) positions (y, x) of the candidates in an image.
    taps
        (S, T, 2) positions (y, x) of each candidate's taps in an image with a margin.
    weights
        (T·C,) float32 weights of the taps; their sum is 1.
    shape
        (height, width, C) of an image with its margin.
    """

    context: NDArray[np.intp]
    sources: NDArray[np.intp]
    taps: NDArray[np.intp]
    weights: Floats
    shape: tuple[int, int, int]


def margin(config: Config) -> int:
    """Return the width, in pixels, of the border that images need for all windows of all candidates to lie inside."""
    return config.locality + config.window // 2


def extend(images: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Extend images (K, H, W, C) by edge replication on every side."""
    return np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)), "edge")


def lay_out_scan(known: NDArray[np.bool_], pixel: tuple[int, int], channels: int, config: Config) -> ScanLayout:
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
    return ScanLayout(
        context=context.reshape(-1),
        sources=sources,
        taps=sources[:, None] + offsets + by,
        weights=weights.astype(np.float32),
        shape=(height + 2 * by, width + 2 * by, channels),
    )


def pool(distances: Floats, epsilon: float, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pool that follows from all distances (S, K), the nearest first.

    Members are the best source of each image, where it is within (1 + ε) of the nearest of all; ties are ordered by
    image id. The result is the position of each member in the shortlist, and the number of its source.
    """
    best = distances.min(0)
    near = np.flatnonzero(best <= (1 + epsilon) * best.min())
    near = near[np.lexsort((ids[near], best[near]))]
    return near, distances[:, near].argmin(0)


class Form(ABC):
    """One way to compute all distances of a pixel."""

    library: str
    name: str
    # True: distances are sums of squared differences. False: differences of large products.
    exact: bool
    # True: the library divides this work among threads.
    threaded: bool

    @abstractmethod
    def prepare(self, images: NDArray[np.uint8]) -> None:
        """Store images (K, H, W, C), which have a margin, in the layout that this form needs."""

    @abstractmethod
    def set_pixel(self, layout: ScanLayout) -> None:
        """Prepare the scan of another pixel."""

    @abstractmethod
    def distances(self, context: Floats) -> Floats:
        """Compute the distances (S, K) of all candidates to the values (T·C,) of the known taps."""


class _Windows(Form):
    """Windows gathered into a matrix, one row per candidate."""

    def prepare(self, images: NDArray[np.uint8]) -> None:
        self.count = len(images)
        self.flat = images.reshape(self.count, -1).astype(np.float32)  # (K, H·W·C)

    def set_pixel(self, layout: ScanLayout) -> None:
        _, width, channels = layout.shape
        pixels = layout.taps[..., 0] * width + layout.taps[..., 1]  # (S, T)
        self.index = (pixels[..., None] * channels + np.arange(channels)).reshape(-1)  # (S·T·C,)
        self.weights = layout.weights
        self.rows = np.empty((self.count, len(self.index)), np.float32)
        self.sources = len(layout.sources)

    def gather(self) -> Floats:
        np.take(self.flat, self.index, axis=1, out=self.rows, mode="clip")
        return self.rows.reshape(-1, len(self.weights))  # (K·S, T·C)

    def folded(self, distances: Floats) -> Floats:
        return distances.reshape(self.count, self.sources).T


class _NumpyWindows(_Windows):
    """Gather, subtract, square, and multiply by the weights."""

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

    def set_pixel(self, layout: ScanLayout) -> None:
        super().set_pixel(layout)
        self.images = self.torch.from_numpy(self.flat)
        self.tensor_index = self.torch.from_numpy(self.index)
        self.tensor_weights = self.torch.from_numpy(self.weights)

    def distances(self, context: Floats) -> Floats:
        with self.torch.inference_mode():
            rows = self.images.index_select(1, self.tensor_index).reshape(-1, len(self.weights))
            rows -= self.torch.from_numpy(context)
            return self.folded((rows.square_() @ self.tensor_weights).numpy())


class _FaissWindows(_Windows):
    """An `IndexFlatL2` of the windows of this pixel alone: another pixel has other windows.

    L2 distance has no weights, so windows and query are multiplied by √w first. Building the index is timed.
    """

    library, name = "FAISS", "IndexFlatL2 of this pixel's windows"
    exact, threaded = True, True

    def __init__(self) -> None:
        self.faiss = load_faiss()

    def set_pixel(self, layout: ScanLayout) -> None:
        super().set_pixel(layout)
        self.scale = np.sqrt(layout.weights)

    def distances(self, context: Floats) -> Floats:
        rows = self.gather()
        rows *= self.scale
        index = self.faiss.IndexFlatL2(rows.shape[1])
        index.add(rows)
        # An infinite radius returns all distances from one scan; `search` would also sort them.
        _, found, labels = index.range_search((context * self.scale)[None], np.inf)
        distances = np.empty(len(rows), np.float32)
        distances[labels] = found
        return self.folded(distances)


class _NumpyTaps(Form):
    """Tap by tap, over images that lie side by side in memory: nothing is gathered."""

    library, name = "NumPy", "tap by tap"
    exact, threaded = True, False

    def prepare(self, images: NDArray[np.uint8]) -> None:
        self.planes = np.ascontiguousarray(images.transpose(1, 2, 3, 0), np.float32)  # (H, W, C, K)

    def set_pixel(self, layout: ScanLayout) -> None:
        # Sources form a rectangle, and so do the pixels at one tap of all sources.
        low, high = layout.taps.min(0), layout.taps.max(0) + 1  # (T, 2)
        ends = np.concatenate([low, high], 1).tolist()
        self.views = [self.planes[y0:y1, x0:x1, c] for y0, x0, y1, x1 in ends for c in range(layout.shape[2])]
        self.weights = layout.weights.tolist()
        self.sources = len(layout.sources)

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
    """One banded matrix of weights and canvas values per row of pixels, times the pixels and their squares."""

    def prepare(self, images: NDArray[np.uint8]) -> None:
        pixels = images.transpose(1, 2, 3, 0).astype(np.float32)
        self.planes = np.concatenate([pixels, pixels * pixels], 2)  # (H, W, 2·C, K)

    def set_pixel(self, layout: ScanLayout) -> None:
        channels = layout.shape[2]
        low, high = layout.taps.min((0, 1)), layout.taps.max((0, 1)) + 1
        rows, columns = (high - low).tolist()
        at = layout.taps - low  # (S, T, 2)
        line = at[..., 0] * len(layout.sources) + np.arange(len(layout.sources))[:, None]
        cell = (line * columns + at[..., 1]) * 2 * channels
        # Places of the factors of pixels in `bands`; the factors of their squares lie C places further.
        self.entries = (cell[..., None] + np.arange(channels)).reshape(len(layout.sources), -1)  # (S, T·C)
        self.bands = np.zeros((rows, len(layout.sources), columns * 2 * channels), np.float32)
        self.bands.reshape(-1)[self.entries + channels] = layout.weights
        region = self.planes[low[0] : high[0], low[1] : high[1]]
        self.region = region.reshape(rows, columns * 2 * channels, -1)
        self.weights = layout.weights

    def fill_bands(self, context: Floats) -> np.float32:
        """Write a canvas's values to `bands`, and return the canvas's own term Σ w b²."""
        weighted = self.weights * context
        self.bands.reshape(-1)[self.entries] = -2 * weighted
        return np.float32(weighted @ context)


class _NumpyProducts(_Products):
    """The product is computed by NumPy's BLAS."""

    library, name = "NumPy", "banded matrix"
    exact, threaded = False, True

    def distances(self, context: Floats) -> Floats:
        own = self.fill_bands(context)
        total: Floats = (self.bands @ self.region).sum(0)
        total += own
        return np.maximum(total, 0, out=total)


class _TorchProducts(_Products):
    """The product is computed by PyTorch's BLAS."""

    library, name = "PyTorch", "banded matrix"
    exact, threaded = False, True

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def set_pixel(self, layout: ScanLayout) -> None:
        super().set_pixel(layout)
        self.tensor_bands = self.torch.from_numpy(self.bands)  # shares memory
        self.tensor_region = self.torch.from_numpy(self.region)

    def distances(self, context: Floats) -> Floats:
        own = self.fill_bands(context)
        with self.torch.inference_mode():
            total: Floats = self.torch.bmm(self.tensor_bands, self.tensor_region).sum(0).numpy()
        total += own
        return np.maximum(total, 0, out=total)


class _TorchConvolution(Form):
    """A convolution of the images, as a batch, with the window."""

    library, name = "PyTorch", "conv2d"
    exact, threaded = False, True

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def prepare(self, images: NDArray[np.uint8]) -> None:
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        planes = np.ascontiguousarray(np.concatenate([pixels, pixels * pixels], 1))  # (K, 2·C, H, W)
        self.planes = self.torch.from_numpy(planes)

    def set_pixel(self, layout: ScanLayout) -> None:
        low, high = layout.taps.min((0, 1)), layout.taps.max((0, 1)) + 1
        self.region = self.planes[:, :, low[0] : high[0], low[1] : high[1]]
        window = layout.taps[0] - layout.taps[0].min(0)  # (T, 2)
        self.at = window[:, 0], window[:, 1]
        self.channels = layout.shape[2]
        self.kernel = np.zeros((1, 2 * self.channels, *(window.max(0) + 1)), np.float32)
        self.weights = layout.weights.reshape(-1, self.channels)  # (T, C)
        self.kernel[0, self.channels :][:, *self.at] = self.weights.T
        self.sources = len(layout.sources)

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
