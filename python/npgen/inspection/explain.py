"""The candidate pool of a pixel, recomputed as it was when the pixel was drawn."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.corpus import Corpus
from npgen.encoders import AnyEncoder, cached_keys, encoder_of_run
from npgen.errors import check_whole, check_whole_tuple, invalid
from npgen.runs import Samples, before_seams, check_samples
from npgen.sampling import (
    UNITS,
    Library,
    PixelPlan,
    PixelRun,
    Pool,
    barred_sources,
    known_rect,
    seed_shifts,
)


def run_places(samples: Samples, corpus: Corpus, encoder: str | os.PathLike[str] | AnyEncoder) -> AnyEncoder | None:
    """Load the encoder of a run that adds semantic distances of places; None where it adds none."""
    if samples.config.semantic_weight == 0 or samples.encoder_id is None:
        return None
    return encoder_of_run(encoder, corpus, samples.encoder_id)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The pool of one drawn pixel, and the canvas just before the draw.

    Attributes
    ----------
    pixel
        (y, x).
    step
        Index of the pixel in the fill order, from 0; after sweeps, in the order of the last sweep.
    canvas
        (H, W, C) uint8, the canvas just before the draw; unknown pixels are 0.
    known
        (H, W) bool, known pixels; the pixel itself is not among them.
    shortlist
        (K,) int32, ids of the shortlisted images, ascending; None means all images of the corpus.
    barred
        (B,) int32, ids of images that were not allowed, ascending: the seed's own, and those that a quota had used up.
    barred_pixels
        (P, 3) int32, image, y and x of single source pixels that were not allowed, ascending: those of shifts that
        `max_copy` had used up, and in a corpus of one image that of the seed's shift.
    pool
        The M candidates, nearest first.
    drawn
        Index in the pool of the candidate that was copied.
    added
        (M,) float64: the part of each candidate's distance that was added to its window's, by `Config.semantic_weight`
        or the coarser canvas of `Config.levels`; 0 without.
    recut
        Image, y and x that the pixel got afterwards, when the borders between sources were cut anew (`Config.seams`);
        None if it kept its source.
    """

    pixel: tuple[int, int]
    step: int
    canvas: NDArray[np.uint8]
    known: NDArray[np.bool_]
    shortlist: NDArray[np.int32] | None
    barred: NDArray[np.int32]
    barred_pixels: NDArray[np.int32]
    pool: Pool
    drawn: int
    added: NDArray[np.float64]
    recut: tuple[int, int, int] | None = None

    @property
    def probability(self) -> NDArray[np.float64]:
        """(M,) float64, probability of each candidate: uniform (section 2.4 of the paper)."""
        return np.full(len(self.pool), 1 / len(self.pool))


def explain(
    samples: Samples,
    corpus: Corpus,
    k: int,
    pixel: tuple[int, int],
    *,
    encoder: str | os.PathLike[str] | AnyEncoder = "auto",
) -> Explanation:
    """Return the pool of a pixel as it was when the pixel was drawn.

    The canvas just before the draw is rebuilt from the trace, and the shortlist from the run's queries and the corpus's
    keys: no encoder is needed, but for `Config.semantic_weight`. To explain many pixels, make one `Explainer`.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    k
        Index of the sample, 0…n − 1.
    pixel
        (y, x), outside the seed patch, which was not drawn.
    encoder
        The encoder of the run, as for `load_encoder`, where semantic distances were added; "auto" looks for it. Else it
        is not used.

    Returns
    -------
    Explanation
        The pool, and the candidate that was drawn from it.

    Raises
    ------
    TypeError, ValueError
        If sample or pixel are out of range, the samples were made from another corpus, the corpus's keys are missing,
        or the pool does not hold the pixel's source.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 2, "class", npgen.Config(window=5), progress=False)
    >>> found = npgen.explain(samples, corpus, k=1, pixel=(5, 9))
    >>> assert len(found.pool) == samples.trace.pool_size[1, 5, 9]
    >>> assert found.pool.image_id[found.drawn] == samples.trace.image_id[1, 5, 9]
    """
    return Explainer(samples, corpus, encoder).explain(k, pixel)


@dataclass(frozen=True)
class _Stage:
    """What all pixels of a stage share: its first step, the shortlist, and what was added to distances (K, P, …)."""

    start: int
    shortlist: NDArray[np.int32] | None
    added: NDArray[np.uint32] | None


class Explainer:
    """Explains pixels of the same samples, one after another; see `npgen.explain`.

    Parameters
    ----------
    samples
        n samples of pixels, not of tokens.
    corpus
        The corpus that they were made from.
    encoder
        As for `npgen.explain`.

    Raises
    ------
    TypeError, ValueError
        If the samples are of tokens or lack their queries, were made from another corpus, the corpus's keys are
        missing, or the encoder is needed and not found.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 1, "local", npgen.Config(window=5), progress=False)
    >>> explainer = npgen.Explainer(samples, corpus)
    >>> [len(explainer.explain(0, (0, x)).pool) for x in range(3)] == samples.trace.pool_size[0, 0, :3].tolist()
    True
    """

    def __init__(self, samples: Samples, corpus: Corpus, encoder: str | os.PathLike[str] | AnyEncoder = "auto") -> None:
        check_samples(samples, corpus)
        if samples.codes is not None:
            raise invalid("samples", "of pixels, each with a pool of its own", samples)
        self.finished, self.corpus, self.config = samples, corpus, samples.config
        # As they were grown: draws know nothing of the borders cut afterwards.
        self.samples = before_seams(samples, corpus)
        self.plan = PixelPlan(corpus, samples.model, samples.config, samples.seed)
        keys = None
        if self.plan.model.embedding:
            if samples.queries is None or samples.encoder_id is None:
                raise invalid("samples", "with the queries of their run", None)
            keys = cached_keys(corpus, samples.encoder_id)
        self.places = run_places(samples, corpus, encoder)
        self.run = PixelRun(self.plan, Library(corpus, keys), places=self.places)
        self._before_last_sweep: tuple[int, Samples] | None = None
        # The latest shortlist and what was added to its candidates' distances, by sample and stage: all pixels of a
        # stage share them, and search takes most of the time.
        self._latest: tuple[tuple[int, int], _Stage] | None = None

    def explain(self, k: int, pixel: tuple[int, int]) -> Explanation:
        """Return the pool of a pixel of sample `k`; see `npgen.explain`."""
        k, (y, x) = self._checked(k, pixel)
        # 1. Rebuild the canvas before the draw.
        step = int(self._steps[y, x])
        canvas, sources, known = self._canvas(k, step)
        # 2. Find the shortlist of the pixel's stage, and the images that were not allowed.
        stage = int(np.searchsorted(self._ends, step, side="right"))
        latest = self._stage(k, stage)
        shortlist = latest.shortlist
        barred = self._barred(k)
        barred = barred[barred >= 0]
        candidates = len(self.corpus) - len(barred) if shortlist is None else len(shortlist)
        quota, frame_quota = self.config.quotas(self.plan.shape, candidates, self.plan.model.low_level)
        used_up = _core.used_up_images(
            np.ascontiguousarray(sources[0]),
            known,
            (y, x),
            window=self.config.window,
            quota=quota,
            frame_quota=frame_quota,
        )
        barred = np.union1d(barred, used_up)
        shift = None
        if self.plan.bars_seed_shift:
            shift = seed_shifts([part[None] for part in sources], self.plan.rect)[0]
        barred_pixels = barred_sources(sources, known, (y, x), self.corpus, self.plan.copy_quota, shift)
        # 3. Recompute the pool, and find the pixel's source in it.
        candidates_left = added = None
        if shortlist is not None:
            left = ~np.isin(shortlist, barred)
            candidates_left = shortlist[left]
            if latest.added is not None:
                added = np.ascontiguousarray(latest.added[left, step - latest.start])  # (K, 2R + 1, 2R + 1)
        pool = Pool(*self.run.scan.candidate_pool(canvas, known, (y, x), candidates_left, barred, added, barred_pixels))
        parts = np.zeros(len(pool))
        if added is not None and candidates_left is not None:
            place = pool.y - y + self.plan.radius, pool.x - x + self.plan.radius
            parts = added[np.searchsorted(candidates_left, pool.image_id), *place] / UNITS
        trace = self.samples.trace
        address = tuple(int(part[k, y, x]) for part in (trace.image_id, trace.y, trace.x))
        drawn = (pool.image_id == address[0]) & (pool.y == address[1]) & (pool.x == address[2])
        if not drawn.any():
            raise invalid(f"trace of pixel ({y}, {x}) of sample {k}", "one of its pool (see npgen verify)", address)
        after = tuple(int(part[k, y, x]) for part in self.finished.trace.arrays()[:3])
        recut = None if after == address else (after[0], after[1], after[2])
        drawn_at = int(drawn.argmax())
        return Explanation((y, x), step, canvas, known, shortlist, barred, barred_pixels, pool, drawn_at, parts, recut)

    def _checked(self, k: int, pixel: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        k = check_whole("sample", k, 0, len(self.samples) - 1)
        y, x = check_whole_tuple("pixel", pixel, "y, x")
        height, width = self.plan.shape
        if not (0 <= y < height and 0 <= x < width):
            raise invalid("pixel", f"inside the {height}×{width} frame", (y, x))
        if self._steps[y, x] < 0:
            raise invalid("pixel", "outside the seed patch, which was not drawn", (y, x))
        return int(k), (y, x)

    @cached_property
    def _order(self) -> NDArray[np.int32]:
        """(P, 2) int32, pixels in the order of their last draws."""
        sweeps = self.config.sweeps
        pixels = self.plan.order.pixels
        return _core.sweep_order(pixels, self.samples.seed, sweeps) if sweeps else pixels

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """(H, W) int64, index of each pixel in that order; −1 in the seed patch."""
        steps = np.full(self.plan.shape, -1)
        steps[tuple(self._order.T)] = np.arange(len(self._order))
        return steps

    @cached_property
    def _ends(self) -> list[int]:
        """Ends of the stages in that order."""
        return self.plan.cuts(self.config.sweeps)[1:]

    def _canvas(
        self, k: int, step: int, whole: bool = False
    ) -> tuple[NDArray[np.uint8], tuple[NDArray[np.int32], ...], NDArray[np.bool_]]:
        """Return canvas (H, W, C), ids, y and x of sources (H, W) each, and known mask (H, W) before a step.

        In a sweep the pixel of the step is not known, unless the mask is to be that of the whole stage.
        """
        final_images = self.samples.images[k]
        sources = tuple(part[k] for part in self.samples.trace.arrays()[:3])
        drawn = (self._steps >= 0) & (self._steps < step)
        seed = known_rect(self.plan.shape, self.plan.rect)
        if self.config.sweeps:
            earlier = self._earlier(k)
            known = np.ones_like(drawn)
            known[tuple(self._order[step])] = whole
            final = drawn | seed
            canvas = np.where(final[:, :, None], final_images, earlier.images[0])
            before = earlier.trace.arrays()[:3]
            return (
                canvas,
                tuple(np.where(final, now, then[0]) for now, then in zip(sources, before, strict=True)),
                known,
            )
        known = drawn | seed
        return np.where(known[:, :, None], final_images, 0).astype(np.uint8), sources, known

    def _earlier(self, k: int) -> Samples:
        """Return sample `k` before the last sweep: generated again with the queries of the run."""
        if self._before_last_sweep is None or self._before_last_sweep[0] != k:
            config = replace(self.config, sweeps=self.config.sweeps - 1, seams=False)
            plan = PixelPlan(self.corpus, self.samples.model, config, self.samples.seed)
            one = self.samples[k : k + 1]
            again = Samples.empty(replace(one.facts, config=config), one.images.shape[1:])
            again = replace(again, queries=one.queries, densities=one.densities)
            PixelRun(plan, self.run.library, places=self.places).fill(again, tqdm(disable=True))
            self._before_last_sweep = k, again
        return self._before_last_sweep[1]

    def _stage(self, k: int, stage: int) -> _Stage:
        if self._latest is None or self._latest[0] != (k, stage):
            shortlist, start = self._find_shortlist(k, stage), [0, *self._ends][stage]
            added = None
            if shortlist is not None and self.run.adds:
                canvas, _, known = self._canvas(k, start, whole=True)
                pixels = self._order[start : self._ends[stage]]
                lists = shortlist, np.array([len(shortlist)])
                guide = None
                if (coarse := self.samples[k : k + 1].coarse) is not None:
                    guide = self.run.guide(0, coarse.level(self.plan.shape, 1)[0])
                added = self.run.added(canvas[None], lists, known, pixels, guide)
            self._latest = (k, stage), _Stage(start, shortlist, added)
        return self._latest[1]

    def _find_shortlist(self, k: int, stage: int) -> NDArray[np.int32] | None:
        one = self.samples[k : k + 1]
        retrieve = self.run.shortlists(one, one.indices, self._barred(k), draw=int(one.kept[0]))
        earlier = sum(len(self.plan.cuts(sweep)) - 1 for sweep in range(self.config.sweeps))
        found = retrieve(earlier + stage, self._steps >= 0)
        return None if found is None else np.setdiff1d(found[0], self._barred(k))

    def _barred(self, k: int) -> NDArray[np.int32]:
        """Return the image (1,) that a sample may not copy from: its seed's, or −1 for none."""
        anchor = self.samples.anchor[k : k + 1]
        return anchor if self.plan.bars_seed_image else np.full_like(anchor, -1)
