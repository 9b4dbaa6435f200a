"""One evaluation of a score machine: the expected image under noisy canvases, and the patches that determine it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.corpus import Corpus, check_corpus, label_number
from npgen.errors import check_choice, check_number, check_odd, check_threads, check_whole, invalid
from npgen.storage import npy

MACHINES: tuple[str, ...] = tuple(_core.score_machines())
# Images that the core compares at once.
TILE_SIZE: int = _core.tile_size()
# Widest window of any corpus; the images' sides set a lower limit.
WIDEST = 2**31 - 1
# For messages: what requires images of one size.
NEEDS = "a score machine, unless it is given a size"


@dataclass(frozen=True)
class Denoised:
    """Denoised canvases, with the patches of greatest weight. Made by `denoise`.

    Attributes
    ----------
    mean
        (B, H, W, C) float64: the image x̂₀ expected under the noise, −1…1.
    log_sum
        (B, H, W) float64: logarithm of the sum of a pixel's weights exp(−d² / 2b²) over all patches.
    entropy
        (B, H, W) float64: entropy of each pixel's weights, nats.
    sources
        (B, H, W, M, 3) int32: image, y and x of the patches of greatest weight for each pixel, in falling order; −1
        for none.
    weights
        (B, H, W, M) float64: shares of these patches in the pixel's weight.
    skipped
        (B,) float64: upper bound on the share of any pixel's weight that was not computed.
    standard_error
        (B,) float64: estimated standard error of the noise ε, root mean square; 0 if all images were compared.
    images
        (B,) int64: number of images that were compared.
    weighed
        (B,) float64: share of the patches of these images whose weight was computed.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> canvas = 0.6 * (corpus.images[:1] / 127.5 - 1)  # signal 0.6, and no noise
    >>> found = npgen.denoise(corpus, canvas, machine="ideal", window=3, signal=0.6, noise=0.8)
    >>> found.mean.shape, found.images
    ((1, 28, 28, 1), array([5000]))
    """

    mean: NDArray[np.float64]
    log_sum: NDArray[np.float64]
    entropy: NDArray[np.float64]
    sources: NDArray[np.int32]
    weights: NDArray[np.float64]
    skipped: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    images: NDArray[np.int64]
    weighed: NDArray[np.float64]


def denoise(
    corpus: Corpus,
    canvases: NDArray[np.floating[Any]],
    *,
    machine: str,
    window: int,
    signal: float,
    noise: float,
    label: int | str | None = None,
    tolerance: float = 1e-6,
    sampling: float = 0.0,
    sources: int = 0,
    rotation: int = 0,
    threads: int | None = None,
    ids: NDArray[np.int32] | None = None,
) -> Denoised:
    """Compute the expected image under each noisy canvas. The score is (signal · mean − canvas) / noise².

    The expectation of a pixel is over the centres of patches of the corpus, with weights exp(−d² / 2b²), d being the
    distance of the patch, multiplied by a, to the canvas around the pixel (Kamb and Ganguli, arXiv 2412.20292).

    Parameters
    ----------
    corpus
        N images of H×W pixels and C channels.
    canvases
        (B, H, W, C): x = a·x₀ + b·ε, with images x₀ of −1…1.
    machine
        "ideal", "local", "equivariant" or "equivariant-borders".
    window
        Side of a patch, odd; without effect on "ideal".
    signal, noise
        a in (0, 1], b in [0.001, 1].
    label
        Only images of this class, by number or name; None means all.
    tolerance
        Largest share of any pixel's weight that may be skipped; 0 skips nothing. The error of an expected pixel is at
        most twice that.
    sampling
        Compare a systematic sample of images, as small as an estimated standard error of the noise ε below this allows;
        0 compares all images.
    sources
        M: number of patches of greatest weight to return for each pixel.
    rotation
        Number of the systematic sample.
    threads
        CPU threads; None means one per core.
    ids
        From `similarity_order`, if several calls share corpus and label; None computes them.

    Returns
    -------
    Denoised
        The result of a canvas depends neither on the other canvases nor on the number of threads.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> noise = np.random.default_rng(0).standard_normal((1, 28, 28, 1))
    >>> canvas = 0.8 * (corpus.images[:1] / 127.5 - 1) + 0.6 * noise
    >>> found = npgen.denoise(corpus, canvas, machine="ideal", window=3, signal=0.8, noise=0.6, sources=1)
    >>> int(found.sources[0, 0, 0, 0, 0])  # the image of greatest weight
    0
    """
    check_corpus(corpus, one_size=NEEDS)
    check_threads(threads)
    check_whole("sources", sources, 0, 64)
    check_whole("rotation", rotation, 0, 2**31 - 1)
    check_odd("window", check_whole("window", window, most=WIDEST))
    ids = similarity_order(corpus, label) if ids is None else ids
    found = _core.denoise(
        corpus.images,
        ids,
        np.ascontiguousarray(canvases, np.float32),
        machine=machine,
        window=window,
        signal=signal,
        noise=noise,
        tolerance=tolerance,
        sampling=sampling,
        rotation=rotation,
        sources=sources,
        threads=threads or 0,
    )
    return Denoised(
        mean=found.mean,
        log_sum=found.log_sum,
        entropy=found.entropy,
        sources=found.sources,
        weights=found.weights,
        skipped=found.skipped,
        standard_error=found.standard_error,
        images=found.images,
        weighed=found.weighed,
    )


def check_settings(
    corpus: Corpus,
    machine: str,
    sides: Sequence[int],
    tolerance: float,
    sampling: float,
    threads: int | None = None,
) -> None:
    """Check the settings of many calls of `denoise`, before the first of them.

    Parameters
    ----------
    corpus, machine, tolerance, sampling, threads
        As for `denoise`.
    sides
        Window sides, one per step; that of step 0 is not used.

    Raises
    ------
    TypeError, ValueError
        What `denoise` would raise in any step.
    """
    check_choice("machine", machine, MACHINES)
    check_corpus(corpus, one_size=NEEDS)
    check_threads(threads)
    widest = widest_of(corpus)
    for side in sides[1:]:
        check_whole("window", side, most=WIDEST)
        if side % 2 == 0 or not 1 <= side <= widest:
            raise invalid("each of windows", f"odd, in 1…{widest}, which holds the whole image from anywhere", side)
    check_number("tolerance", tolerance, 0, below=1, allowed="at least 0, below 1")
    if sampling != float("inf"):  # without a bound on the error one tile of images is enough
        check_number("sampling", sampling, 0, allowed="at least 0")


def widest_of(corpus: Corpus) -> int:
    """Return the side of a window that holds a whole image of a corpus from anywhere in it: 2·max(H, W) − 1."""
    return 2 * int(max(corpus.images.shape[1:3])) - 1


def similarity_order(corpus: Corpus, label: int | str | None) -> NDArray[np.int32]:
    """Order images so that neighbours in the order are similar.

    The core compares `TILE_SIZE` consecutive images at once, and skips all of them if none can have much weight.

    Parameters
    ----------
    corpus
        N images.
    label
        Only images of this class, by number or name; None means all.

    Returns
    -------
    ndarray
        (n,) int32: ids of the images.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    check_corpus(corpus, one_size=NEEDS)
    number = label_number(corpus, label)
    ids = np.arange(len(corpus)) if number is None else np.flatnonzero(corpus.labels == number)
    cells = _coarse(corpus.images, ids)
    # Split at the median of the cell of greatest variance, recursively; in whole numbers, so that the order is the same
    # on every machine.
    ordered, parts = [], [np.arange(len(ids))]
    while parts:
        part = parts.pop()
        if len(part) <= TILE_SIZE:
            ordered.append(part)
            continue
        values = cells[part]
        sums, squares = values.sum(0), (values * values).sum(0)
        cell = int(np.argmax(len(part) * squares - sums * sums))
        half = -(-len(part) // (2 * TILE_SIZE)) * TILE_SIZE
        sorted_part = part[np.argsort(values[:, cell], kind="stable")]
        parts += [sorted_part[half:], sorted_part[:half]]
    return ids[np.concatenate(ordered)].astype(np.int32)


def _coarse(images: NDArray[np.uint8], ids: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the sums over up to 8×8 cells of each image, (n, cells·C)."""
    _, height, width, channels = images.shape
    down, across = (np.arange(min(8, extent)) * extent // min(8, extent) for extent in (height, width))
    cells = np.empty((len(ids), len(down), len(across), channels), np.int64)
    for start in range(0, len(ids), 4096):
        part = npy.read_rows(images, ids[start : start + 4096]).astype(np.int64)
        cells[start : start + 4096] = np.add.reduceat(np.add.reduceat(part, down, 1), across, 2)
    return cells.reshape(len(ids), -1)
