"""What the core is asked: the order of the pixels, and what may be copied to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config
from npgen.corpus import Corpus, check_corpus, describe_sizes
from npgen.errors import check_type, check_whole_tuple, invalid


@dataclass(frozen=True, eq=False)
class Pool:
    """The candidate pool of one pixel, nearest first; ties by (image, y, x).

    Attributes
    ----------
    image_id, y, x
        (M,) int32: image in the corpus, and the pixel there that would be copied.
    distance
        (M,) float64: normalised, Gaussian-weighted mean squared difference of the windows, in squared grey levels.
    """

    image_id: NDArray[np.int32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image_id)


def candidate_pool(
    corpus: Corpus,
    canvas: NDArray[np.uint8],
    known: NDArray[np.bool_],
    pixel: tuple[int, int],
    config: Config | None = None,
    shortlist: NDArray[np.integer] | None = None,
) -> Pool:
    """Open the white box: the pool that one pixel's value is drawn from, uniformly.

    ``d = Σ_δ G(δ)·mean_c(canvas(p+δ) − source_i(q+δ))² / Σ_δ G(δ)`` over known taps δ of the window inside the frame,
    for sources q with ‖q − p‖∞ ≤ R; the pool is ``{d ≤ (1+ε)·min d}`` with the k_min nearest (sections 2.2–2.4).

    Parameters
    ----------
    corpus
        N source images: of the canvas's size, unless `config.size` gives it another. Then, and where images are of
        several sizes, there is no same place: every q is looked at, as in the model "texture".
    canvas
        (H, W, C) uint8; unknown pixels may hold anything.
    known
        (H, W) bool mask of the pixels that count. The pixel itself never does.
    pixel
        (y, x) of the pixel.
    config
        Settings; None means the defaults.
    shortlist
        Ids of the candidate images, (K,) integer, in any order; None means every image.

    Returns
    -------
    Pool
        All members, in order.

    Raises
    ------
    TypeError, ValueError
        If types, shapes, ids or the pixel do not fit.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> known = np.zeros((28, 28), bool)
    >>> known[:14] = True  # the upper half of a digit
    >>> pool = npgen.candidate_pool(corpus, corpus.images[7], known, (14, 14))
    >>> int(pool.image_id[0]), float(pool.distance[0])  # the image itself is nearest
    (7, 0.0)
    """
    check_corpus(corpus)
    check_type("config", config, Config, type(None))
    config = config or Config()
    frame = canvas_shape(corpus, config)
    radius = config.locality if is_framed_as(corpus, frame) else max(*frame, *corpus.images.shape[1:3])
    return Pool(
        *make_filler(corpus.images, config, radius, None, frame, sizes=corpus.sizes).candidate_pool(
            _typed("canvas", canvas, np.uint8, 3),
            _typed("known", known, np.bool_, 2),
            _pixel(pixel),
            None if shortlist is None else _image_ids(shortlist),
            np.empty(0, np.int32),  # none barred
        )
    )


def canvas_shape(corpus: Corpus, config: Config) -> tuple[int, int]:
    """Return height and width of the canvases; raise ValueError if they are not given or too small."""
    if config.size is None and corpus.sizes is not None:
        raise invalid(
            "size", f"(height, width) where images are of several sizes, {describe_sizes(corpus.sizes)}", None
        )
    height, width = corpus.images.shape[1:3] if config.size is None else config.size
    config.check_shape(height, width)
    return height, width


def is_framed_as(corpus: Corpus, frame: tuple[int, int]) -> bool:
    """Return True if all images of a corpus have the size of the frame: then a place in it is a place in each image."""
    return corpus.sizes is None and corpus.images.shape[1:3] == frame


def make_filler(
    images: NDArray[np.uint8],
    config: Config,
    radius: int,
    threads: int | None,
    frame: tuple[int, int] | None = None,
    low_level: bool = True,
    elsewhere: int = 0,
    sizes: NDArray[np.int32] | None = None,
    copy_quota: int | None = None,
    usable: NDArray[np.bool_] | None = None,
) -> _core.Filler:
    """Make the core's filler for images (N, H, W, C) and canvases of a frame (height, width).

    `elsewhere` is the number of images that other processes scan; `sizes` (N, 2) are the sizes of images that do not
    fill H×W; `copy_quota` is the number of pixels that may come from one image by one shift; `usable` (H, W)
    are the pixels of the last image that may serve.
    """
    height, width = frame or images.shape[1:3]
    quota, frame_quota = config.quota if low_level else None, config.frame_quota((height, width))
    if elsewhere:
        # A process that holds a part of the images can't tell whether a canvas's barred image is among the others, so
        # which quotas are in effect is decided here for all of them.
        candidates = len(images) + elsewhere - config.exclude_seed_image
        quota, frame_quota = config.quotas((height, width), candidates, low_level)
    settings = _core.PixelSettings(
        frame=(height, width),
        window=config.window,
        sigma=config.gaussian_sigma,
        radius=radius,
        epsilon=config.epsilon,
        k_min=config.k_min,
        # Where nothing is compared, no position of an image is better than another.
        best_only=config.candidates == "best" and low_level,
        quota=quota,
        frame_quota=frame_quota,
        copy_quota=copy_quota,
        corpus_tolerance=config.tolerance == "corpus",
        low_level=low_level,
        threads=threads or 0,
    )
    return _core.Filler(images, settings, sizes=sizes, elsewhere=elsewhere, usable=usable)


def _pixel(pixel: Any) -> tuple[int, int]:
    y, x = check_whole_tuple("pixel", pixel, "y, x", -(2**31), 2**31 - 1)
    return y, x


def _typed(name: str, array: NDArray[Any], dtype: type[Any], ndim: int) -> NDArray[Any]:
    array = np.asarray(array)
    if array.dtype != dtype or array.ndim != ndim:
        allowed = f"a {ndim}-dimensional array of {np.dtype(dtype)}"
        raise TypeError(f"{name} must be {allowed}, got {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array)


def _image_ids(shortlist: NDArray[Any]) -> NDArray[np.int32]:
    ids = np.asarray(shortlist)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TypeError(f"shortlist must be a list of image ids, got {ids.dtype} of shape {ids.shape}")
    # Ids beyond 32 bits stay what they are, out of range.
    return np.asarray(np.clip(ids, -1, 2**31 - 1), np.int32)
