"""`npgen.fill`: the unknown pixels of a picture are drawn from a corpus, or from the picture itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.config import Config, Model, find_model
from npgen.corpus import Corpus, check_corpus
from npgen.encoders import AnyEncoder, embed, load_encoder
from npgen.errors import check_choice, check_seed, check_threads, check_type, check_whole, invalid
from npgen.runs import TRACE_DTYPES, Trace
from npgen.sampling.filler import make_filler
from npgen.sampling.library import Library
from npgen.sampling.shifts import fewest_sources
from npgen.sampling.shortlists import Shortlister, Shortlists, expanded

Sources = Literal["corpus", "picture", "both"]

# Models of `fill`. The others begin from a seed's image or label, which a picture doesn't have.
FILL_MODELS = ("full", "local", "texture")
# What a trace says of a pixel that was given.
GIVEN = -1
# Steps of the progress bar of each sweep, at least so many pixels long.
STEPS, STEP = 64, 16


@dataclass(frozen=True, eq=False)
class Filled:
    """A picture with its unknown pixels filled, n times, and where each pixel came from.

    Attributes
    ----------
    images
        (n, H, W, C) uint8.
    trace
        Sources of the pixels, as of `Samples`. Given pixels have image −1, y −1 and x −1, distance 0 and pool size 0.
    canvas, known
        (H, W, C) uint8 and (H, W) bool: the picture, and which of its pixels were given.
    picture
        The image id that stands for the picture itself; −1 where it was no source. Smaller ids are of the corpus.
    model, config, seed
        How it was filled.
    corpus_name, corpus_hash
        The corpus; None where the picture alone was the source.
    """

    images: NDArray[np.uint8]
    trace: Trace
    canvas: NDArray[np.uint8]
    known: NDArray[np.bool_]
    picture: int
    model: str
    config: Config
    seed: int
    corpus_name: str | None = None
    corpus_hash: str | None = None

    def __len__(self) -> int:
        return len(self.images)

    def provenance(self) -> dict[str, Any]:
        """Return, JSON-able, what the variants were made from."""
        return {
            "npgen": version("npgen"),
            "model": self.model,
            "config": self.config.to_json(),
            "seed": self.seed,
            "n": len(self),
            "picture": self.picture,
            "corpus": None if self.corpus_hash is None else {"name": self.corpus_name, "hash": self.corpus_hash},
        }

    def replay(self, corpus: Corpus | None = None) -> NDArray[np.uint8]:
        """Rebuild the images (n, H, W, C) from the picture, the corpus and the trace.

        Parameters
        ----------
        corpus
            The corpus that it was filled from; None where all pixels are the picture's.

        Raises
        ------
        ValueError
            If a source does not exist.
        """
        image_id, y, x = self.trace.arrays()[:3]
        images = np.tile(np.where(self.known[:, :, None], self.canvas, np.uint8(0)), (len(self), 1, 1, 1))
        own = (image_id == self.picture) & (self.picture >= 0)
        images[own] = self.canvas[y[own], x[own]]
        others = (image_id != GIVEN) & ~own
        at = image_id[others], y[others], x[others]
        if corpus is None or not corpus.holds(*at).all():
            if others.any():
                raise invalid("corpus", "the one that the picture was filled from", corpus and corpus.name)
            return images
        images[others] = corpus.images[at]
        return images


def fill(
    corpus: Corpus | None,
    canvas: NDArray[np.uint8],
    known: NDArray[np.bool_],
    n: int = 1,
    model: str = "texture",
    config: Config | None = None,
    seed: int = 0,
    *,
    sources: Sources | None = None,
    encoder: str | os.PathLike[str] | AnyEncoder = "auto",
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
) -> Filled:
    """Fill the unknown pixels of a picture: holes of any shape, or all around it.

    Pixels are drawn as by `generate`, from the known ones inward: in rings of equal distance to what is known, in a
    ring always the pixel whose window holds the most known pixels. There is no seed patch: settings of it have no
    effect.

    Parameters
    ----------
    corpus
        N source images; of the picture's size, unless the model is "texture". None: the picture alone is the source.
    canvas
        (H, W, C) uint8; unknown pixels may hold anything.
    known
        (H, W) bool, True for the pixels that are given. If all are, nothing is done.
    n
        Number of variants.
    model
        "texture": sources from anywhere. "local": from the same place, within `Config.locality`. "full": also only from
        the images whose embeddings are nearest to that of the known part.
    config
        Settings; None means those of the model, `Config.of_model`, without limit to what is copied in one piece.
    seed
        Seed of all draws, 0…2⁶⁴ − 1.
    sources
        "corpus", "picture": the whole windows that are known of the picture itself (Criminisi et al. 2004), or "both".
        None: the corpus, or without one the picture. "picture" and "both" are for the model "texture".
    encoder, device
        The encoder φ of the model "full", and its torch device, as for `generate`.
    threads
        CPU threads; None means one per core.
    progress
        Show a progress bar.

    Returns
    -------
    Filled
        Images and trace.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, nothing is known, or no source fits.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> known = np.ones((28, 28), bool)
    >>> known[10:18, 10:18] = False
    >>> filled = npgen.fill(corpus, corpus.images[7], known, n=2, model="local", progress=False)
    >>> filled.images.shape, bool((filled.replay(corpus) == filled.images).all())
    ((2, 28, 28, 1), True)
    >>> bool((filled.trace.image_id[:, known] == -1).all())  # these were given
    True
    """
    # 1. Check the arguments, before any work.
    canvas, known = _checked_picture(canvas, known)
    check_whole("n", n, 1)
    check_seed(seed)
    check_threads(threads)
    check_choice("model", model, FILL_MODELS)
    config = fill_defaults(model) if config is None else config
    check_type("config", config, Config)
    config.check_ignored_settings(tokens=False)
    frame = int(canvas.shape[0]), int(canvas.shape[1])
    if config.window > min(frame):
        raise invalid("window", f"odd, in 3..={min(frame)} (the picture is {frame[0]}×{frame[1]})", config.window)
    pool = _SourcePool.of(corpus, canvas, known, find_model(model), config, sources)
    # 2. Blank variants; given pixels have no source.
    images = np.tile(np.where(known[:, :, None], canvas, np.uint8(0)), (n, 1, 1, 1))
    trace = Trace(*(np.zeros((n, *frame), dtype) for dtype in TRACE_DTYPES.values()))
    for part in trace.arrays()[:3]:
        part[:] = GIVEN
    named = (None, None) if corpus is None else (corpus.name, corpus.hash)
    filled = Filled(images, trace, canvas, known, pool.picture, model, config, int(seed), *named)
    pixels = np.empty((0, 2), np.int32)
    if not known.all():
        pixels = _core.fill_order(known, config.window)[0]
    if len(pixels) == 0:
        return filled
    # 3. Semantics: images that mean what the known part shows.
    shortlists = None
    if find_model(model).embedding:
        assert corpus is not None
        shortlists = _shortlists(corpus, filled, load_encoder(encoder, corpus, device), threads, progress)
    # 4. Draw pixel after pixel, then in the sweeps.
    _draw(filled, pool.filler(frame, config, threads), pixels, shortlists, progress)
    return filled


def fill_defaults(model: str) -> Config:
    """Return the settings by which a model fills pictures: its own, without limit to what is copied in one piece."""
    check_choice("model", model, FILL_MODELS)
    return replace(Config.of_model(model), max_copy=None)


def _draw(
    filled: Filled,
    filler: _core.Filler,
    pixels: NDArray[np.int32],
    shortlists: Shortlists | None,
    progress: bool,
) -> None:
    now, config = filled.known.copy(), filled.config
    step = max(STEP, len(pixels) // STEPS)
    total = len(filled) * len(pixels) * (1 + config.sweeps)
    with tqdm(total=total, unit="px", unit_scale=True, disable=not progress) as bar:
        for sweep in range(1 + config.sweeps):
            order = _core.sweep_order(pixels, filled.seed, sweep) if sweep else pixels
            for start in range(0, len(order), step):
                part = np.ascontiguousarray(order[start : start + step])
                filler.fill(
                    filled.images,
                    filled.trace.arrays(),
                    pixels=part,
                    known=now,
                    seed=filled.seed,
                    sweep=sweep,
                    samples=np.arange(len(filled), dtype=np.uint64),
                    barred=np.full(len(filled), -1, np.int32),
                    shortlists=shortlists,
                )
                now[part[:, 0], part[:, 1]] = True
                bar.update(len(filled) * len(part))


@dataclass(frozen=True)
class _SourcePool:
    """The images that a picture is filled from: the corpus's, then the picture itself."""

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32] | None
    usable: NDArray[np.bool_] | None
    picture: int
    radius: int
    fewest: int

    @classmethod
    def of(
        cls,
        corpus: Corpus | None,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        model: Model,
        config: Config,
        sources: Sources | None,
    ) -> _SourcePool:
        """Check that corpus, picture and model fit, and collect the images."""
        check_type("corpus", corpus, Corpus, type(None))
        sources = sources or ("picture" if corpus is None else "corpus")
        check_choice("sources", sources, get_args(Sources))
        if sources != "corpus" and model.locality:
            raise invalid("sources", "'corpus' for a model with locality (all but 'texture')", sources)
        if sources != "picture" and corpus is None:
            raise invalid("corpus", f"a corpus for sources {sources!r}", None)
        frame = int(canvas.shape[0]), int(canvas.shape[1])
        parts, sizes = [], []
        if corpus is not None and sources != "picture":
            check_corpus(corpus, one_size="a model with locality (all but 'texture')" if model.locality else None)
            if corpus.images.shape[3] != canvas.shape[2]:
                raise invalid("canvas", f"of {corpus.images.shape[3]} channels, as the corpus", canvas.shape[2])
            if model.locality and corpus.images.shape[1:3] != frame:
                height, width = corpus.images.shape[1:3]
                raise invalid("canvas", f"{height}×{width}, the corpus's size", f"{frame[0]}×{frame[1]}")
            if model.embedding and config.shortlist > len(corpus):
                raise invalid("shortlist", f"in 1..={len(corpus)} (the corpus's images)", config.shortlist)
            parts.append(corpus.images)
            own = np.array([corpus.images.shape[1:3]] * len(corpus), np.int32)
            sizes.append(own if corpus.sizes is None else corpus.sizes)
        usable, picture = None, -1
        if sources != "corpus":
            usable = whole_windows(known, config.window)
            if not usable.any() and not known.all():
                allowed = f"a mask with a whole window of {config.window}×{config.window} known pixels"
                raise invalid("known", allowed, int(known.sum()))
            picture = sum(map(len, parts))
            parts.append(canvas[None])
            sizes.append(np.array([frame], np.int32))
        together, all_sizes = _in_one_frame(parts, np.concatenate(sizes))
        height, width = int(together.shape[1]), int(together.shape[2])
        radius = config.locality if model.locality else max(*frame, height, width)
        counts = [] if usable is None else [int(usable.sum())]
        if corpus is not None and sources != "picture":
            counts.append(fewest_sources(corpus, config, frame, model.locality))
        if usable is not None:
            usable = np.pad(usable, ((0, height - frame[0]), (0, width - frame[1])))
        return cls(together, all_sizes, usable, picture, radius, min(counts))

    def filler(self, frame: tuple[int, int], config: Config, threads: int | None) -> _core.Filler:
        """Make the core's filler for pictures of a frame (height, width)."""
        quota = config.copy_quota(frame)
        if quota is not None and self.fewest <= (frame[0] * frame[1] - 1) // quota:
            quota = None
        return make_filler(
            self.images,
            config,
            self.radius,
            threads,
            frame,
            sizes=self.sizes,
            copy_quota=quota,
            usable=self.usable,
        )


def whole_windows(known: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Return which pixels (H, W) have a window of which all that lies inside the picture is known."""
    half = window // 2
    whole: NDArray[np.bool_] = np.pad(known, half, constant_values=True)
    for axis in (0, 1):
        whole = np.asarray(np.lib.stride_tricks.sliding_window_view(whole, window, axis).all(-1))
    return np.ascontiguousarray(whole)


def _in_one_frame(
    parts: list[NDArray[np.uint8]], sizes: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """Put images of several frames into one, extended by edge replication; sizes (N, 2) are None where all fill it."""
    height, width = (int(side) for side in sizes.max(0))
    same = all(part.shape[1:3] == (height, width) for part in parts)
    if same and len(parts) == 1:
        return np.ascontiguousarray(parts[0]), None if (sizes == (height, width)).all() else sizes
    extended = [
        np.pad(part, ((0, 0), (0, height - part.shape[1]), (0, width - part.shape[2]), (0, 0)), mode="edge")
        for part in parts
    ]
    return np.concatenate(extended), None if (sizes == (height, width)).all() else np.ascontiguousarray(sizes)


def _shortlists(corpus: Corpus, filled: Filled, phi: AnyEncoder, threads: int | None, progress: bool) -> Shortlists:
    """List, once for all variants, the images whose embeddings are nearest to that of the known part."""
    library = Library(corpus, embed(corpus, phi, threads=threads, progress=progress), threads)
    config = replace(filled.config, exclude_seed_image=False)
    shortlister, barred = Shortlister(library, config), np.full(1, -1, np.int32)
    given = np.where(filled.known[:, :, None], filled.canvas, np.uint8(0))[None]
    queries = phi.encode(given, filled.known, threads=threads)  # (1, D)
    if config.query_expansion:
        queries = expanded(queries, partial(shortlister.nearest_keys, barred=barred))
    ids = shortlister.find(queries, barred)[0]
    return np.tile(ids, len(filled)), np.arange(1, len(filled) + 1, dtype=np.int64) * len(ids)


def _checked_picture(canvas: Any, known: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    for name, array, dtype, ndim in (("canvas", canvas, np.uint8, 3), ("known", known, np.bool_, 2)):
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
            got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name} must be a {ndim}-dimensional array of {np.dtype(dtype)}, got {got}")
    if known.shape != canvas.shape[:2] or 0 in canvas.shape:
        raise invalid("known", f"of shape {canvas.shape[:2]}, as the canvas", known.shape)
    if not known.any():
        raise invalid("known", "a mask with at least one known pixel", "none")
    return np.ascontiguousarray(canvas), np.ascontiguousarray(known)
