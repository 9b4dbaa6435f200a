"""Runs of pixels: query, shortlist, fill — from seed patch to full canvas."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.config import MOST_DRAWS
from npgen.encoders import AnyEncoder
from npgen.runs import RunFacts, Samples
from npgen.sampling.filler import make_filler
from npgen.sampling.library import Library
from npgen.sampling.meaning import MOST_ADDED, Meaning, places_of
from npgen.sampling.order import known_rect
from npgen.sampling.plan import PixelPlan
from npgen.sampling.pyramid import Guide, shrink
from npgen.sampling.seams import cut_seams
from npgen.sampling.selection import Densities
from npgen.sampling.shared_filler import SharedFiller
from npgen.sampling.shifts import seed_shifts
from npgen.sampling.shortlists import (
    CanvasQueries,
    RecordedQueries,
    Shortlister,
    Shortlists,
    ascending,
    embed_anchors,
    same_label,
)

# Measures how long a step takes, by its name: "query", "shortlist", "fill" or "seams".
Clock = Callable[[str], AbstractContextManager[None]]


def untimed(step: str) -> AbstractContextManager[None]:
    """Measure nothing."""
    return nullcontext()


class PixelRun:
    """A run of pixels, ready to fill batches of canvases.

    Parameters
    ----------
    plan
        What the run does.
    library
        The corpus as this process reads it, with its keys where the model has an embedding.
    encoder
        φ, which computes the queries. None: the batches hold the queries of an earlier run already.
    threads
        CPU threads; None means one per core.
    clock
        Called around each step; for benchmarks.
    places
        What embeds places, where `Config.semantic_weight` needs it. None: the encoder.

    Raises
    ------
    ValueError
        If that encoder embeds no places.
    """

    def __init__(
        self,
        plan: PixelPlan,
        library: Library,
        encoder: AnyEncoder | None = None,
        threads: int | None = None,
        clock: Clock = untimed,
        places: AnyEncoder | None = None,
    ) -> None:
        self.plan, self.library, self.encoder = plan, library, encoder
        self.threads, self.clock = threads, clock
        self.shortlister = Shortlister(library, plan.config)
        # Of the images that this process scans; with `SharedFiller` all ranks fill the same canvases together.
        self.scan = self._filler(plan, library.scanned, library.sizes, library.elsewhere)
        self.filler: _core.Filler | SharedFiller = self.scan
        if library.ranks is not None:
            self.filler = SharedFiller(self.scan, library.scanned, library.start, library.ranks)
        self.meaning = self._meaning(places or encoder)
        # A tolerance relative to the corpus needs all images, not a copy of the shortlisted ones.
        self._copies = library.from_file and plan.config.tolerance == "candidates"

    def _meaning(self, encoder: AnyEncoder | None) -> Meaning | None:
        config = self.plan.config
        places = places_of(encoder, config)
        if places is None:
            return None
        weight, radius = config.semantic_weight, self.plan.radius
        return Meaning(places, self.library, config.gaussian_sigma, weight, radius, self.threads)

    @property
    def drawn(self) -> int:
        """Pixels of a sample that are drawn, in each sweep."""
        return self.plan.drawn

    def facts(self, first: int, n: int) -> RunFacts:
        """Return what n samples of this run are, from index `first` on."""
        plan, corpus = self.plan, self.plan.corpus
        encoder_id = self.encoder.id if self.encoder else None
        return RunFacts(plan.model_name, plan.config, plan.seed, first, n, corpus.name, corpus.hash, encoder_id)

    def blank(self, facts: RunFacts) -> Samples:
        """Make canvases of which nothing is known yet, with room for the queries that the run records."""
        queries = None
        if self.plan.model.embedding:
            queries = self.plan.query_count, self.library.keys.shape[1]
        return Samples.empty(facts, (*self.plan.shape, self.plan.corpus.images.shape[3]), queries)

    def fill(self, batch: Samples, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of one batch, in place; with `Config.select`, keep the densest of several draws of each.

        Parameters
        ----------
        batch
            B blank canvases; image, trace, anchor, queries, densities and fallbacks are written. Without an encoder it
            holds the queries and densities of an earlier run: then only the draws that were kept are made again.
        bar
            Progress in pixels.
        """
        indices = batch.indices
        if batch.densities is None:
            self._draw(batch, indices, 0, bar)
            return
        kept = batch.kept
        if self.encoder is None:
            for draw in np.unique(kept):
                of_draw = kept == draw
                part = batch.mapped(lambda array, rows=of_draw: array[rows])  # type: ignore[misc]
                self._draw(part, indices[of_draw], int(draw), bar)
                batch.put(of_draw, part)
            return
        assert batch.queries is not None
        densities = None
        for draw in range(self.plan.config.select):
            drawn = batch.mapped(np.zeros_like)
            self._draw(drawn, indices, draw, bar)
            if densities is None:
                densities = Densities(self.library, self.encoder, drawn.anchor, self.threads)
            batch.densities[:, draw] = densities(drawn.images)
            denser = batch.densities[:, : draw + 1].argmax(1) == draw
            chosen = drawn.mapped(lambda array, rows=denser: array[rows])  # type: ignore[misc]
            batch.put(denser, chosen)
            batch.queries[denser] = chosen.queries

    def _draw(self, batch: Samples, indices: NDArray[np.uint64], draw: int, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of samples with these indices (B,), in place (section 2 of the paper)."""
        # 1. Seed. Each canvas starts from a patch of a random image: its anchor, which is barred as a source. All draws
        #    of a sample have the same one.
        seeds = self.plan.seeds
        batch.anchor[:] = seeds.images(indices)
        anchors = self.library.images(batch.anchor)  # (B, H, W, C)
        barred = batch.anchor if self.plan.bars_seed_image else np.full_like(batch.anchor, -1)
        shortlists_of = self.shortlists(batch, indices, barred, draw=draw)
        guide = None
        for plan in self.plan.levels:  # from coarse to fine; by default there is one
            canvases = batch if plan.level == 0 else self._coarse_canvases(plan, batch)
            corners = None if plan.level else seeds.corners(indices, batch.anchor)
            canvases.place_seed(shrink(anchors, plan.level), plan.rect, corners)
            shifts = seed_shifts(canvases.trace.arrays()[:3], plan.rect) if plan.bars_seed_shift else None
            known = known_rect(plan.shape, plan.rect)  # (H, W), the same for all canvases
            seed = _core.draw_seed(self.plan.seed, draw + MOST_DRAWS * plan.level)
            for number, (sweep, pixels) in enumerate(plan.stages()):
                # 2. Semantics (H). List the images that mean what the canvas shows so far.
                shortlists = shortlists_of(number, known)
                # 3. Locality (NS) and low level (L). For each pixel the core compares its window with those of the
                #    listed images around the same place, draws from the pool of the nearest, and copies that
                #    window's centre. Beside a window it sees meaning (`Meaning`) and the coarser canvas (`Guide`).
                stage: dict[str, Any] = {"pixels": pixels, "known": known, "seed": seed, "sweep": sweep}
                if shifts is not None:
                    stage["barred_shifts"] = shifts
                with self.clock("fill"):
                    self._fill(plan, canvases, shortlists, guide, samples=indices, barred=barred, **stage)
                # 4. From now on these pixels are known.
                known[pixels[:, 0], pixels[:, 1]] = True
                if plan.level == 0:
                    bar.update(len(batch) * len(pixels))
            if batch.coarse is not None and plan.level:
                batch.coarse.put(self.plan.shape, plan.level, canvases.images, canvases.trace)
                guide = self.guide(plan.level - 1, canvases.images)
        # 5. With `Config.seams`, the borders between sources are cut anew.
        if self.plan.config.seams:
            with self.clock("seams"):
                cut_seams(batch, self.library, rect=self.plan.rect, barred=barred, threads=self.threads)

    def guide(self, level: int, coarser: NDArray[np.uint8]) -> Guide:
        """Return what a level sees of the finished canvases (B, h, w, C) of the next coarser one."""
        plans = self.plan.levels[::-1]
        return Guide(plans[level], plans[level + 1], coarser, self.library)

    def _coarse_canvases(self, plan: PixelPlan, batch: Samples) -> Samples:
        """Make canvases of a coarser level for a batch's samples."""
        facts = replace(batch.facts, config=plan.config)
        return replace(Samples.empty(facts, (*plan.shape, batch.images.shape[3])), anchor=batch.anchor)

    def shortlists(
        self,
        batch: Samples,
        indices: NDArray[np.uint64],
        barred: NDArray[np.int32],
        *,
        draw: int,
    ) -> Callable[[int, NDArray[np.bool_]], Shortlists | None]:
        """Return what lists the images that may serve a batch's canvases.

        Parameters
        ----------
        batch
            B canvases.
        indices
            (B,): indices of the samples.
        barred
            (B,): image that may not serve each canvas, −1 for none.
        draw
            Which draw of the samples it is.

        Returns
        -------
        callable
            Takes the number of the stage and the mask (H, W) of known pixels. Its result is None where every image may
            serve.
        """
        plan, labels = self.plan, self.plan.corpus.labels
        if not plan.model.semantics:
            return lambda stage, known: None
        if not plan.model.embedding:
            assert labels is not None
            shared = same_label(plan.members, labels[batch.anchor], barred)
            return lambda stage, known: shared
        queries: CanvasQueries | RecordedQueries = RecordedQueries(batch)
        like = batch.anchor if plan.model.label else None
        if self.encoder is not None:
            nearest_keys = partial(self.shortlister.nearest_keys, barred=barred, same_label=like)
            with self.clock("query"):
                of_anchors = embed_anchors(self.encoder, self.library, batch.anchor, self.threads)
            queries = CanvasQueries(self.encoder, of_anchors, batch, self.threads, nearest_keys)

        same: list[Shortlists] = []

        def nearest(stage: int, known: NDArray[np.bool_]) -> Shortlists:
            if same:
                return same[0]
            with self.clock("query"):
                rows = queries(stage, known)  # (B, D)
            with self.clock("shortlist"):
                found = self.shortlister.find(rows, barred, like)
                if plan.config.select > 1:
                    found = _core.draw_halves(_core.draw_seed(plan.seed, draw), indices, *found)
                found = ascending(found) if self.adds else found
            if plan.one_shortlist:
                same.append(found)
            return found

        return nearest

    @property
    def adds(self) -> bool:
        """Whether something is added to the distances of windows, and shortlists ascend."""
        return self.meaning is not None or len(self.plan.levels) > 1

    def added(
        self,
        canvases: NDArray[np.uint8],
        shortlists: Shortlists,
        known: NDArray[np.bool_],
        pixels: NDArray[np.int32],
        guide: Guide | None,
        level: int = 0,
    ) -> NDArray[np.uint32] | None:
        """Return what is added to the windows' distances of a stage's candidates; None where nothing is.

        Parameters
        ----------
        canvases
            (B, H, W, C) at the beginning of the stage.
        shortlists
            Ids of the images that may serve each canvas, ascending.
        known
            Mask (H, W) of the pixels that are known then.
        pixels
            (P, 2): the pixels of the stage.
        guide
            What is seen of the coarser canvases, if there are any.
        level
            Level of the canvases.

        Returns
        -------
        ndarray or None
            (ids, P, 2R + 1, 2R + 1), as `Meaning.added` and `Guide.added` return it: their sum.
        """
        meaning = None
        if self.meaning is not None and level == 0:
            meaning = self.meaning.added(canvases, known, pixels, shortlists)
        if guide is None:
            return meaning
        coarse = guide.added(pixels, shortlists)
        if meaning is None:
            return coarse
        total: NDArray[np.uint32] = np.minimum(meaning.astype(np.uint64) + coarse, MOST_ADDED).astype(np.uint32)
        return total

    def _fill(
        self, plan: PixelPlan, batch: Samples, shortlists: Shortlists | None, guide: Guide | None, **stage: Any
    ) -> None:
        if shortlists is not None and self.adds:
            known, pixels = stage["known"], stage["pixels"]
            stage["added"] = self.added(batch.images, shortlists, known, pixels, guide, plan.level)
        if shortlists is not None and (self._copies or plan.level):
            self._fill_from_copy(plan, batch, shortlists, **stage)
            return
        batch.fallbacks[:] += self.filler.fill(batch.images, batch.trace.arrays(), shortlists=shortlists, **stage)

    def _fill_from_copy(self, plan: PixelPlan, batch: Samples, shortlists: Shortlists, **stage: Any) -> None:
        """Fill from a copy of the shortlisted images at the plan's level, which then is all that is in memory of it."""
        ids, local = np.unique(shortlists[0], return_inverse=True)  # ascending: ties keep their order
        images = shrink(self.library.images(ids), plan.level)
        if not len(batch):
            return  # this rank has no canvases left, but others needed its images

        def in_copy(wanted: NDArray[np.int32]) -> NDArray[np.int32]:
            """Find ids in the copy; −1 for images that are not in it."""
            found = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
            return np.where(ids[found] == wanted, found, -1).astype(np.int32)

        local_trace = in_copy(batch.trace.image_id)
        self._filler(plan, images).fill(
            batch.images,
            (local_trace, *batch.trace.arrays()[1:]),
            shortlists=(local.astype(np.int32), shortlists[1]),
            **(stage | {"barred": in_copy(stage["barred"])}),
        )
        y, x = stage["pixels"].T
        batch.trace.image_id[:, y, x] = ids[local_trace[:, y, x]]

    def _filler(
        self,
        plan: PixelPlan,
        images: NDArray[np.uint8],
        sizes: NDArray[np.int32] | None = None,
        elsewhere: int = 0,
    ) -> _core.Filler:
        return make_filler(
            images,
            plan.config,
            plan.radius,
            self.threads,
            frame=plan.shape,
            low_level=plan.model.low_level,
            elsewhere=elsewhere,
            sizes=sizes,
            copy_quota=plan.copy_quota,
        )
