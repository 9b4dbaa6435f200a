"""The stage loop: query, shortlist, fill — from seed patch to full canvas."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen import _core, npy
from npgen.config import Config, Model, find_model, known_rect
from npgen.corpus import Corpus
from npgen.embed import embed
from npgen.encoder import AnyEncoder, load_encoder
from npgen.errors import invalid
from npgen.memory import MemoryBudget
from npgen.trace import Samples

# Ids of the images that may serve each canvas of a batch, one canvas after another, and where each one's end.
Shortlists = tuple[NDArray[np.int32], NDArray[np.int64]]

# Without queries a stage may be cut anywhere: this many pixels between two steps of the progress bar.
SLICE = 16


@dataclass(frozen=True, eq=False)
class FillOrder:
    """The order in which the unknown pixels of a frame are filled.

    Attributes
    ----------
    pixels
        (P, 2) int32, (y, x) of each pixel in fill order; P = H·W − s² for a seed patch of side s.
    stages
        (S + 1,) int64; stage s is ``pixels[stages[s]:stages[s + 1]]``, one ring.
    """

    pixels: NDArray[np.int32]
    stages: NDArray[np.int64]


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


def fill_order(height: int, width: int, seed_rect: tuple[int, int, int, int], window: int) -> FillOrder:
    """Order the pixels of a frame as they are filled around a seed patch (section 2.3 of the paper).

    Rings of equal Chebyshev distance to the seed rectangle, from the inside out; in a ring always the pixel whose
    window holds the most known pixels, ties by (y, x).

    Parameters
    ----------
    height, width
        Size of the frame in pixels.
    seed_rect
        (y, x, height, width) of the seed patch in pixels.
    window
        Side w of the context window in pixels.

    Returns
    -------
    FillOrder
        Pixels in order, and where each ring ends.

    Raises
    ------
    ValueError
        If the rectangle is not inside the frame, or the window is even, below 3 or larger than the frame.
    """
    y, x, rect_height, rect_width = seed_rect
    inside = min(y, x) >= 0 and min(rect_height, rect_width) >= 1
    if not inside or y + rect_height > height or x + rect_width > width:
        raise invalid("seed rectangle", f"inside the {height}×{width} frame", tuple(seed_rect))
    return FillOrder(*_core.fill_order(known_rect((height, width), seed_rect), window))


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
        N source images of the canvas's size.
    canvas
        (H, W, C) uint8; unknown pixels may hold anything.
    known
        (H, W) bool mask of the pixels that count. The pixel itself never does.
    pixel
        (y, x) of the pixel.
    config
        Settings; None means the defaults.
    shortlist
        Ids of the images to look at, (K,) integer, in any order; None means every image.

    Returns
    -------
    Pool
        All members, in order.

    Raises
    ------
    TypeError, ValueError
        If types, shapes, ids or the pixel don't fit.
    """
    config = config or Config()
    config.check_shape(*corpus.images.shape[1:3])
    return Pool(
        *_filler(corpus.images, config, config.locality, threads=None).candidate_pool(
            _typed("canvas", canvas, np.uint8, 3),
            _typed("known", known, np.bool_, 2),
            np.array([pixel], np.int32),  # (1, 2)
            None if shortlist is None else _image_ids(shortlist),
        )
    )


def generate(
    corpus: Corpus,
    n: int = 16,
    model: str = "full",
    config: Config | None = None,
    seed: int = 0,
    *,
    first: int = 0,
    encoder: str | os.PathLike[str] | AnyEncoder = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    progress: bool = True,
) -> Samples:
    """Generate images, every pixel of which is a copy of a known pixel of a known image.

    A sample is a function of corpus, encoder, model, config, seed and its index alone: batch size, threads and the
    other samples of the call have no part in it.

    Parameters
    ----------
    corpus
        N source images of H×W pixels and C channels.
    n
        Number of samples.
    model
        "full": semantics, locality and low level; "local": no semantics; "texture": no locality either, the
        algorithm of Efros and Leung (1999) on a corpus; "semantic": no low level, a uniform draw from the shortlist;
        "class": as "full", with the label of the seed's image in place of its meaning.
    config
        Settings; None means the defaults.
    seed
        Seed of all draws, 0…2⁶⁴ − 1.
    first
        Index of the first sample: ``generate(..., n=1, first=17)`` is sample 17 of a larger run.
    encoder
        What images mean: "auto", "pixels", the name of a shipped encoder, a file, or an encoder. Used by "full" and
        "semantic" alone.
    batch_size
        Canvases grown side by side.
    device
        Torch device of the encoder; "auto" takes an accelerator if there is one.
    threads
        CPU threads; None means one a core.
    memory
        Resident memory in bytes that reading a memory-mapped corpus is kept within, as far as the rest of the process
        leaves room; None means no limit.
    progress
        Show a progress bar.

    Returns
    -------
    Samples
        Images (n, H, W, C) uint8 and the trace of every pixel.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the corpus has no encoder.
    """
    parts = find_model(model)
    config = config or Config()
    for name, value, least in (("n", n, 1), ("first", first, 0), ("batch_size", batch_size, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise invalid(name, f"at least {least}", value)
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise invalid("seed", "a whole number in 0…2⁶⁴ − 1", seed)
    if threads is not None and threads < 1:
        raise invalid("threads", "at least 1 or None", threads)
    run = _Run(corpus, parts, config, int(seed), threads, apart=memory is not None)
    with MemoryBudget(memory) as budget:
        budget.watch(corpus.images)
        if parts.semantics == "embedding":
            run.use_encoder(load_encoder(encoder, corpus, device), progress)
            budget.watch(run.keys)
        samples = Samples.empty(
            (n, *run.shape, corpus.images.shape[3]),
            model=model,
            config=config,
            seed=int(seed),
            first=int(first),
            corpus=corpus,
            encoder_id=run.encoder.id if run.encoder else None,
        )
        pixels = len(run.order.pixels) * (1 + config.sweeps)
        with tqdm(total=n * pixels, unit="px", unit_scale=True, disable=not progress) as bar:
            for start in range(0, n, batch_size):
                run.fill(samples[start : start + batch_size], bar)
    return samples


class _Run:
    """What all batches of a run share."""

    def __init__(
        self,
        corpus: Corpus,
        model: Model,
        config: Config,
        seed: int,
        threads: int | None,
        apart: bool = False,
    ) -> None:
        self.corpus, self.model, self.config = corpus, model, config
        self.seed, self.threads = seed, threads
        source: tuple[int, int] = (corpus.images.shape[1], corpus.images.shape[2])
        self.shape = source if config.size is None else config.size
        if self.shape != source and model.locality:
            allowed = f"{source} or None, the corpus's own, for a model with locality"
            raise invalid("size", allowed, config.size)
        config.check_shape(*self.shape)
        if config.seed_size > min(source):
            raise invalid("seed_size", f"in 1..={min(source)} (the corpus's images)", config.seed_size)
        others = len(corpus) - config.exclude_seed_image
        if others < 1:
            raise invalid("corpus", "at least 2 images, as the seed's own is barred", len(corpus))
        if model.semantics == "embedding" and config.shortlist > others:
            barred = ", the seed's own barred" if config.exclude_seed_image else ""
            raise invalid("shortlist", f"in 1..={others} (the corpus's images{barred})", config.shortlist)
        if config.quota is not None and not model.low_level:
            raise invalid("quota", "None for a model that looks at no window", config.quota)
        self.members = _members(corpus) if model.semantics == "label" else {}
        choice = config.shortlist if model.semantics == "embedding" else others
        if choice <= config.spent:
            allowed = f"at least {math.ceil(config.window**2 / choice)} for a choice of {choice} images"
            raise invalid("quota", allowed, config.quota)
        self.rect = config.seed_rect(*self.shape)
        self.order = fill_order(*self.shape, self.rect, config.window)
        # Nothing in either frame is farther than the longest side.
        radius = config.locality if model.locality else max(*self.shape, *source)
        self.make_filler = partial(
            _filler, config=config, radius=radius, threads=threads, frame=self.shape, low_level=model.low_level
        )
        # Patches stay where they come from, where there is such a place.
        self.seed_room = None if self.shape == source else tuple(side - config.seed_size + 1 for side in source)
        self.filler = self.make_filler(corpus.images)
        # Whether a stage's images are read apart, not through the memory map, whose pages come in large pieces.
        self.apart = apart and isinstance(corpus.images, np.memmap)
        self.encoder: AnyEncoder | None = None

    def use_encoder(self, encoder: AnyEncoder, progress: bool) -> None:
        self.encoder = encoder
        self.keys = embed(self.corpus, encoder, threads=self.threads, progress=progress)  # (N, D)

    def fill(self, batch: Samples, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of one batch, in place."""
        indices = np.arange(batch.first, batch.first + len(batch), dtype=np.uint64)
        batch.anchor[:] = _core.draw_seed_images(self.seed, indices, len(self.corpus))
        batch.place_seed(self.corpus, self.rect, self._seed_corners(indices))
        barred = batch.anchor if self.config.exclude_seed_image else np.full_like(batch.anchor, -1)
        retrieve = self._retrieval(batch, barred)
        known = known_rect(self.shape, self.rect)
        for sweep in range(1 + self.config.sweeps):
            order = self.order.pixels if sweep == 0 else _core.sweep_order(self.order.pixels, self.seed, sweep)
            for start, end in pairwise(self._cuts(sweep)):
                pixels = order[start:end]  # (P, 2)
                stage = {"pixels": pixels, "known": known, "sweep": sweep, "samples": indices, "barred": barred}
                shortlists = retrieve(known)
                if self.apart and shortlists is not None:
                    self._fill_apart(batch, shortlists, **stage)
                else:
                    self._fill(batch, shortlists, **stage)
                known[pixels[:, 0], pixels[:, 1]] = True
                bar.update(len(batch) * len(pixels))

    def _seed_corners(self, indices: NDArray[np.uint64]) -> NDArray[np.int32] | None:
        if self.seed_room is None:
            return None
        return _core.draw_seed_places(self.seed, indices, *self.seed_room)

    def _retrieval(self, batch: Samples, barred: NDArray[np.int32]) -> Callable[[NDArray[np.bool_]], Shortlists | None]:
        """How a batch's canvases, known so far as a mask says, come to the images that may serve them."""
        if self.encoder is not None:
            queries = _Queries(self, batch)
            return lambda known: self._shortlists(queries(known), barred)
        if self.model.semantics == "label":
            assert self.corpus.labels is not None
            like = [self.members[label] for label in self.corpus.labels[batch.anchor].tolist()]
            lists = [ids[ids != bar] for ids, bar in zip(like, barred, strict=True)]
            fewest = min(map(len, lists))
            if fewest <= self.config.spent:
                why = "the seed's own is barred" if self.config.quota is None else "others use up their quota"
                allowed = f"at least {self.config.spent + 2} images of each label, as {why}"
                raise invalid("corpus", allowed, f"{fewest + 1} of a label")
            shortlists = np.concatenate(lists), np.cumsum([len(ids) for ids in lists])
            return lambda known: shortlists
        return lambda known: None

    def _fill(self, batch: Samples, shortlists: Shortlists | None, **stage: Any) -> None:
        self.filler.fill(batch.images, batch.trace.arrays(), seed=self.seed, shortlists=shortlists, **stage)

    def _fill_apart(self, batch: Samples, shortlists: Shortlists, **stage: Any) -> None:
        """Fill from a copy of the shortlisted images, which is all of the corpus that is then in memory."""
        ids, local = np.unique(shortlists[0], return_inverse=True)  # ascending, so that ties fall as they would
        images = npy.read_rows(self.corpus.images, ids)
        # The trace in terms of the copy: −1 for images that are not in it.
        found = np.searchsorted(ids, batch.trace.image_id).clip(max=len(ids) - 1)
        local_trace = np.where(ids[found] == batch.trace.image_id, found, -1).astype(np.int32)
        self.make_filler(images).fill(
            batch.images,
            (local_trace, *batch.trace.arrays()[1:]),
            seed=self.seed,
            shortlists=(local.astype(np.int32), shortlists[1]),
            # No barred image is on its canvas's shortlist.
            **(stage | {"barred": np.full_like(stage["barred"], -1)}),
        )
        y, x = stage["pixels"].T
        batch.trace.image_id[:, y, x] = ids[local_trace[:, y, x]]

    def _cuts(self, sweep: int) -> list[int]:
        """Where calls of the core begin and end in the fill order: rings or a whole sweep, cut further where asked."""
        whole = [0, len(self.order.pixels)]
        if self.model.semantics == "label" or (self.model.semantics and self.config.anchor_weight == 1):
            return whole  # the anchor's like are the same throughout
        stages: list[int] = self.order.stages.tolist() if sweep == 0 else whole
        longest = self.config.stage_pixels if self.model.semantics else SLICE
        if longest is None:
            return stages
        cuts = [range(start, end, longest) for start, end in pairwise(stages)]
        return [cut for stage in cuts for cut in stage] + stages[-1:]

    def _shortlists(self, queries: NDArray[np.float32], barred: NDArray[np.int32]) -> Shortlists:
        ids, products = _core.shortlist(self.keys, queries, self.config.shortlist, barred, self.threads or 0)  # (B, K)
        if self.config.semantic == "topk":
            return ids.ravel(), np.arange(1, len(ids) + 1) * ids.shape[1]
        lists = [
            self._within(query, barred[b : b + 1], ids[b], products[b]) for b, query in enumerate(queries[:, None])
        ]
        return np.concatenate(lists), np.cumsum([len(ids) for ids in lists])

    def _within(
        self,
        query: NDArray[np.float32],
        barred: NDArray[np.int32],
        ids: NDArray[np.int32],
        products: NDArray[np.float32],
    ) -> NDArray[np.int32]:
        """All images within (1 + ε) of the nearest's distance, at least those given: more until one lies beyond."""
        # Embeddings have length 1: d² = 2 − 2·product.
        squared = np.maximum(2 - 2 * products.astype(np.float64), 0)
        limit = (1 + self.config.epsilon) ** 2 * squared[0]
        others = len(self.keys) - int(barred[0] >= 0)
        while squared[-1] <= limit and len(ids) < others:
            length = min(2 * len(ids), others)
            found, more = _core.shortlist(self.keys, query, length, barred, self.threads or 0)
            ids, squared = found[0], np.maximum(2 - 2 * more[0].astype(np.float64), 0)
        return ids[: max(self.config.shortlist, int(np.searchsorted(squared, limit, side="right")))]


class _Queries:
    """Where a batch's canvases look for their like: between what they are so far and what their anchors are.

    ``query = normalise((1 − β)·φ(canvas) + β·φ(anchor))``
    """

    def __init__(self, run: _Run, batch: Samples) -> None:
        assert run.encoder is not None
        self.encoder, self.threads = run.encoder, run.threads
        self.weight = np.float32(run.config.anchor_weight)
        self.images = batch.images
        if self.weight > 0:
            anchors = np.asarray(run.corpus.images[batch.anchor])
            everything = np.ones(run.shape, np.bool_)
            self.anchors = self.encoder.encode(anchors, everything, threads=self.threads)  # (B, D)

    def __call__(self, known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Embed the canvases as far as they are known, (B, D)."""
        if self.weight == 1:
            return self.anchors
        queries = self.encoder.encode(self.images, known, threads=self.threads)
        if self.weight == 0:
            return queries
        mixed = (1 - self.weight) * queries + self.weight * self.anchors
        # Row by row: a sum over an axis may be split differently for another batch.
        lengths = np.array([np.sqrt(np.dot(row, row)) for row in mixed.astype(np.float64)])
        return (mixed / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


def _members(corpus: Corpus) -> dict[int, NDArray[np.int32]]:
    """Ids of the images of each label, ascending."""
    if corpus.labels is None:
        raise invalid("corpus", "one with labels, for the model 'class'", corpus.name)
    return {int(label): np.flatnonzero(corpus.labels == label).astype(np.int32) for label in np.unique(corpus.labels)}


def _filler(
    images: NDArray[np.uint8],
    config: Config,
    radius: int,
    threads: int | None,
    frame: tuple[int, int] | None = None,
    low_level: bool = True,
) -> _core.Filler:
    return _core.Filler(
        images,
        frame=frame or images.shape[1:3],
        compare=low_level,
        window=config.window,
        sigma=config.gaussian_sigma,
        radius=radius,
        epsilon=config.epsilon,
        k_min=config.k_min,
        # Where nothing is compared, no position of an image is better than another.
        best_only=config.candidates == "best" and low_level,
        quota=config.quota,
        threads=threads or 0,
    )


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
