"""The white box opened at one pixel: what could be copied to it, as things stood when it was drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen import _core
from npgen.config import find_model, known_rect
from npgen.corpus import Corpus
from npgen.embed import kept_keys
from npgen.errors import invalid
from npgen.filling import Pool
from npgen.stages import Run
from npgen.trace import Samples, check_samples


@dataclass(frozen=True, eq=False)
class Explanation:
    """The pool of one drawn pixel, and the canvas that it was made for.

    Attributes
    ----------
    pixel
        (y, x).
    step
        Its place in the fill order, from 0; after sweeps, in the order of the last one.
    canvas
        (H, W, C) uint8 just before the draw; 0 where nothing was known.
    known
        (H, W) bool: what was known. Never the pixel itself.
    shortlist
        (K,) int32 ids of the images that were looked at, ascending; None for all.
    barred
        Ids of images that were not: the seed's own, and those with a used up quota. (B,) int32, ascending.
    pool
        The M candidates, nearest first.
    drawn
        Place in the pool of the one that was copied.
    """

    pixel: tuple[int, int]
    step: int
    canvas: NDArray[np.uint8]
    known: NDArray[np.bool_]
    shortlist: NDArray[np.int32] | None
    barred: NDArray[np.int32]
    pool: Pool
    drawn: int

    @property
    def probability(self) -> NDArray[np.float64]:
        """(M,) probability of each candidate: uniform (section 2.4 of the paper)."""
        return np.full(len(self.pool), 1 / len(self.pool))


def explain(samples: Samples, corpus: Corpus, k: int, pixel: tuple[int, int]) -> Explanation:
    """Return the pool of a pixel as it was when the pixel was drawn.

    The canvas of that moment is rebuilt from the trace, and the shortlist from the run's queries and the corpus's keys:
    no encoder is needed. For many pixels make one `Explainer`.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they were made from.
    k
        Which of the samples, 0…n − 1.
    pixel
        (y, x), outside the seed patch, which was not drawn.

    Returns
    -------
    Explanation
        The pool, with what was drawn from it.

    Raises
    ------
    TypeError, ValueError
        If there is no such sample or pixel, it is another corpus, its keys are missing, or the trace is not what that
        pool would have given.
    """
    return Explainer(samples, corpus).explain(k, pixel)


class Explainer:
    """Explains pixel after pixel of the same samples, as `explain` does."""

    def __init__(self, samples: Samples, corpus: Corpus) -> None:
        check_samples(samples, corpus)
        if samples.codes is not None:
            raise invalid("samples", "of pixels, each with a pool of its own", samples)
        self.samples, self.corpus, self.config = samples, corpus, samples.config
        model = find_model(samples.model)
        self.run = Run(corpus, model, samples.config, samples.seed, threads=None)
        if model.semantics == "embedding":
            if samples.queries is None or samples.encoder_id is None:
                raise invalid("samples", "with the queries of their run", None)
            self.run.use_keys(kept_keys(corpus, samples.encoder_id))
        self._before_last_sweep: tuple[int, Samples] | None = None
        # All pixels of a stage share it, and finding it takes longer than the rest.
        self._latest: tuple[tuple[int, int], NDArray[np.int32] | None] | None = None

    def explain(self, k: int, pixel: tuple[int, int]) -> Explanation:
        """Return the pool of a pixel of sample `k`; see `npgen.explain`."""
        k, (y, x) = self._checked(k, pixel)
        step = int(self._steps[y, x])
        canvas, ids, known = self._canvas(k, step)
        stage = int(np.searchsorted(self._ends, step, side="right"))
        shortlist = self._shortlist(k, stage)
        barred = self._own(k)
        barred = barred[barred >= 0]
        choice = len(self.corpus) - len(barred) if shortlist is None else len(shortlist)
        if self.run.model.low_level and self.config.limited(choice):
            assert self.config.quota is not None
            used_up = _core.used_up_images(
                np.ascontiguousarray(ids), known, (y, x), self.config.quota, self.config.window
            )
            barred = np.union1d(barred, used_up)
        pool = Pool(
            *self.run.filler.candidate_pool(
                canvas,
                known,
                (y, x),
                None if shortlist is None else np.setdiff1d(shortlist, barred),
                barred,
            )
        )
        trace = self.samples.trace
        here = (pool.image_id == trace.image_id[k, y, x]) & (pool.y == trace.y[k, y, x]) & (pool.x == trace.x[k, y, x])
        if not here.any():
            address = tuple(int(part[k, y, x]) for part in (trace.image_id, trace.y, trace.x))
            raise invalid(f"trace of pixel ({y}, {x}) of sample {k}", "one of its pool (see npgen verify)", address)
        return Explanation((y, x), step, canvas, known, shortlist, barred, pool, int(here.argmax()))

    def _checked(self, k: int, pixel: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        numbers = (k, *pixel) if isinstance(pixel, tuple | list | np.ndarray) and len(pixel) == 2 else (pixel,)
        if len(numbers) != 3 or not all(isinstance(one, int | np.integer) for one in numbers):
            raise TypeError(f"sample and pixel must be a whole number and (y, x), got {k!r} and {pixel!r}")
        if not 0 <= k < len(self.samples):
            raise invalid("sample", f"in 0…{len(self.samples) - 1}", k)
        y, x = (int(part) for part in pixel)
        height, width = self.run.shape
        if not (0 <= y < height and 0 <= x < width):
            raise invalid("pixel", f"inside the {height}×{width} frame", (y, x))
        if self._steps[y, x] < 0:
            raise invalid("pixel", "outside the seed patch, which was not drawn", (y, x))
        return int(k), (y, x)

    @cached_property
    def _order(self) -> NDArray[np.int32]:
        """(P, 2) pixels in the order in which they were last drawn."""
        sweeps = self.config.sweeps
        pixels = self.run.order.pixels
        return _core.sweep_order(pixels, self.samples.seed, sweeps) if sweeps else pixels

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """(H, W) place of each pixel in that order; −1 in the seed patch."""
        steps = np.full(self.run.shape, -1)
        steps[tuple(self._order.T)] = np.arange(len(self._order))
        return steps

    @cached_property
    def _ends(self) -> list[int]:
        """Where the stages of that order end."""
        return self.run.cuts(self.config.sweeps)[1:]

    def _canvas(self, k: int, step: int) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
        """Canvas (H, W, C), source ids and mask (H, W) before a step."""
        final_images, final_ids = self.samples.images[k], self.samples.trace.image_id[k]
        drawn = (self._steps >= 0) & (self._steps < step)
        seed = known_rect(self.run.shape, self.run.rect)
        if self.config.sweeps:
            earlier = self._earlier(k)
            known = np.ones_like(drawn)
            known[tuple(self._order[step])] = False
            final = drawn | seed
            canvas = np.where(final[:, :, None], final_images, earlier.images[0])
            return canvas, np.where(final, final_ids, earlier.trace.image_id[0]), known
        known = drawn | seed
        return np.where(known[:, :, None], final_images, 0).astype(np.uint8), final_ids, known

    def _earlier(self, k: int) -> Samples:
        """Sample `k` as it was before the last sweep, filled again with the queries of the run."""
        if self._before_last_sweep is None or self._before_last_sweep[0] != k:
            samples, config = self.samples, replace(self.config, sweeps=self.config.sweeps - 1)
            run = Run(self.corpus, self.run.model, config, samples.seed, threads=None)
            if self.run.model.semantics == "embedding":
                run.use_keys(self.run.library.keys)
            one = samples[k : k + 1]
            again = Samples.empty(
                one.images.shape,
                model=one.model,
                config=config,
                seed=one.seed,
                first=one.first,
                corpus=self.corpus,
                encoder_id=one.encoder_id,
            )
            again = replace(again, queries=one.queries)
            run.fill(again, tqdm(disable=True))
            self._before_last_sweep = k, again
        return self._before_last_sweep[1]

    def _shortlist(self, k: int, stage: int) -> NDArray[np.int32] | None:
        if self._latest is None or self._latest[0] != (k, stage):
            self._latest = (k, stage), self._found(k, stage)
        return self._latest[1]

    def _found(self, k: int, stage: int) -> NDArray[np.int32] | None:
        retrieve = self.run.retrieval(self.samples[k : k + 1], self._own(k))
        earlier = sum(len(self.run.cuts(sweep)) - 1 for sweep in range(self.config.sweeps))
        found = retrieve(earlier + stage, self._steps >= 0)
        return None if found is None else np.setdiff1d(found[0], self._own(k))

    def _own(self, k: int) -> NDArray[np.int32]:
        anchor = self.samples.anchor[k : k + 1]
        return anchor if self.config.exclude_seed_image else np.full_like(anchor, -1)
