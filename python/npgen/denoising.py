"""One evaluation of a score machine: what image is expected under noise, and which patches say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from npgen import _core, npy
from npgen.corpus import Corpus, check_one_size
from npgen.errors import MOST_THREADS, check_type, check_whole, invalid

MACHINES: tuple[str, ...] = tuple(_core.score_machines())
# Images that the core compares at once.
TILE_SIZE: int = _core.tile_size()
# What needs images of one size.
NEEDS = "a score machine, unless it is given a size"


@dataclass(frozen=True)
class Denoised:
    """What some canvases are taken for, with the patches that say so. Made by `denoise`.

    Attributes
    ----------
    mean
        (B, H, W, C) float64: the image x̂₀ that is expected under the noise, −1…1.
    log_sum
        (B, H, W) float64: logarithm of the sum of weights exp(−d² / 2b²).
    entropy
        (B, H, W) float64: entropy of each pixel's weights, nats.
    sources
        (B, H, W, M, 3) int32: image, y and x of each pixel's heaviest patches, heaviest first; −1 for none.
    weights
        (B, H, W, M) float64: their shares of the weight.
    skipped
        (B,) float64: bound on the share of any pixel's weight that was skipped.
    standard_error
        (B,) float64: estimated standard error of the noise ε, root mean square; 0 if all images were met.
    images
        (B,) int64: how many images were met.
    weighed
        (B,) float64: share of the patches of these images whose weight was computed.
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
    """Tell what image is expected under each of some noisy canvases. The score is (signal · mean − canvas) / noise².

    Parameters
    ----------
    corpus
        N images of H×W pixels and C channels.
    canvases
        (B, H, W, C): x = a·x₀ + b·ε, images being −1…1.
    machine
        "ideal", "local", "equivariant" or "equivariant-borders".
    window
        Side of a patch, odd; of no effect on "ideal".
    signal, noise
        a in (0, 1], b in [0.001, 1].
    label
        Only images of this class, by number or name; None means all.
    tolerance
        Largest share of any pixel's weight that may be skipped; 0 skips nothing. An expected pixel is off by at most
        twice that.
    sampling
        Where weights are spread, meet only so many images, in a systematic sample, that the standard error of the noise
        ε is below this; 0 means all images.
    sources
        M: how many heaviest patches to name.
    rotation
        Which systematic sample.
    threads
        CPU threads; None means one a core.
    ids
        From `images_alike`, where several calls have the same corpus and label; None makes them.

    Returns
    -------
    Denoised
        A canvas's part of it depends on neither the other canvases nor the threads.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_type("corpus", corpus, Corpus)
    if threads is not None:
        check_whole("threads", threads, 1, MOST_THREADS)
    check_one_size(corpus, NEEDS)
    check_whole("sources", sources, 0, 64)
    check_whole("rotation", rotation, 0, 2**31 - 1)
    check_whole("window", window, most=2**31 - 1)
    if window < 1:
        raise invalid("window", "odd and at least 1", window)
    ids = images_alike(corpus, label) if ids is None else ids
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


# Longest side of resized images, which are made in memory.
LONGEST = 1024


def resized(corpus: Corpus, size: int | tuple[int, int]) -> Corpus:
    """Bring the images of a corpus to another size, bilinearly.

    Parameters
    ----------
    corpus
        The corpus.
    size
        Height and width, or one number for both.

    Returns
    -------
    Corpus
        In memory, with the same labels; the corpus itself if it has that size.

    Raises
    ------
    ValueError
        If a number is below 1, or above what a score machine could work through.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        check_whole("size", side, 1, LONGEST)
    if corpus.sizes is None and corpus.images.shape[1:3] == (height, width):
        return corpus
    images = np.empty((len(corpus), height, width, corpus.images.shape[3]), np.uint8)
    for number, image in enumerate(images):
        source = corpus.image(number)
        picture = Image.fromarray(source[..., 0] if source.shape[2] == 1 else source)
        small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        image[...] = small[..., np.newaxis] if small.ndim == 2 else small
    images.flags.writeable = False
    source_of = {"kind": "resized", "of": corpus.hash, "size": [height, width], "filter": "bilinear"}
    name = f"{corpus.name}-{height}x{width}"
    return Corpus.from_arrays(images, corpus.labels, corpus.classes, name=name, source=source_of)


def label_number(corpus: Corpus, label: int | str | None) -> int | None:
    """Look up a class.

    Parameters
    ----------
    corpus
        The corpus.
    label
        Number or name of a class, or None.

    Returns
    -------
    int or None
        Its number.

    Raises
    ------
    ValueError
        If the corpus has no images of it.
    """
    if label is None:
        return None
    if corpus.labels is None:
        raise invalid("label", "None where the corpus has no labels", label)
    if isinstance(label, str):
        if corpus.classes is None or label not in corpus.classes:
            known = "a number" if corpus.classes is None else f"a number, or one of {', '.join(corpus.classes)}"
            raise invalid("label", known, label)
        return corpus.classes.index(label)
    if not np.any(corpus.labels == label):
        raise invalid("label", "one that the corpus has images of", label)
    return int(label)


def images_alike(corpus: Corpus, label: int | str | None) -> NDArray[np.int32]:
    """Order images so that neighbours are alike.

    The core compares `TILE_SIZE` neighbours at once, and skips them at once if none of them is near.

    Parameters
    ----------
    corpus
        N images.
    label
        Only images of this class, by number or name; None means all.

    Returns
    -------
    ndarray
        (n,) int32 ids.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    check_one_size(corpus, NEEDS)
    number = label_number(corpus, label)
    ids = np.arange(len(corpus)) if number is None else np.flatnonzero(corpus.labels == number)
    cells = _coarse(corpus.images, ids)
    # Split at the median of the cell that varies most, again and again: whole numbers, so the same on every machine.
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
    """Return sums over up to 8×8 cells of each image, (N, cells·C)."""
    _, height, width, channels = images.shape
    down, across = (np.arange(min(8, extent)) * extent // min(8, extent) for extent in (height, width))
    cells = np.empty((len(ids), len(down), len(across), channels), np.int64)
    for start in range(0, len(ids), 4096):
        part = npy.read_rows(images, ids[start : start + 4096]).astype(np.int64)
        cells[start : start + 4096] = np.add.reduceat(np.add.reduceat(part, down, 1), across, 2)
    return cells.reshape(len(ids), -1)
