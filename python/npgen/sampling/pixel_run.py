"""The stage loop: query, shortlist, fill — from seed patch to full canvas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.config import Config, Model
from npgen.corpus import Corpus, check_corpus
from npgen.encoders import AnyEncoder
from npgen.errors import invalid
from npgen.runs import Samples
from npgen.sampling.filler import canvas_shape, make_filler
from npgen.sampling.library import Library
from npgen.sampling.order import fill_order, known_rect
from npgen.sampling.seeds import Seeds, members
from npgen.sampling.shortlists import Queries, Shortlister, Shortlists, joined

# Without queries a stage may be cut anywhere: this many pixels between two steps of the progress bar.
SLICE = 16


class Run:
    """What all batches of a run share."""

    def __init__(
        self,
        corpus: Corpus,
        model: Model,
        config: Config,
        seed: int,
        threads: int | None,
        library: Library | None = None,
    ) -> None:
        config.check_ignored_settings(tokens=False)
        self.corpus, self.model, self.config = corpus, model, config
        self.seed, self.threads = seed, threads
        self.library = library or Library(corpus, threads)
        source: tuple[int, int] = (corpus.images.shape[1], corpus.images.shape[2])
        if model.locality:
            check_corpus(corpus, one_size="a model with locality (all but 'texture')")
            if config.size not in (None, source):
                allowed = f"{source} or None, the corpus's own, for a model with locality"
                raise invalid("size", allowed, config.size)
        self.shape = canvas_shape(corpus, config)
        self.seeds = Seeds(corpus, config, self.shape, seed)
        others = len(corpus) - config.exclude_seed_image
        if others < 1:
            raise invalid("corpus", "at least 2 images, as the seed's own is barred", len(corpus))
        if model.semantics == "embedding" and config.shortlist > others:
            barred = ", the seed's own barred" if config.exclude_seed_image else ""
            raise invalid("shortlist", f"in 1..={others} (the corpus's images{barred})", config.shortlist)
        if config.tolerance != "candidates" and not model.low_level:
            raise invalid("tolerance", "'candidates' for a model that looks at no window", config.tolerance)
        self.members = members(corpus) if model.semantics == "label" else {}
        self.rect = config.seed_rect(*self.shape)
        self.order = fill_order(*self.shape, self.rect, config.window)
        # Nothing in either frame is farther than the longest side.
        radius = config.locality if model.locality else max(*self.shape, *source)
        self.make_filler = partial(
            make_filler, config=config, radius=radius, threads=threads, frame=self.shape, low_level=model.low_level
        )
        self.filler = self.library.filler(self.make_filler, config)
        # What the nearest window of all images is, those that are read apart don't tell.
        self.apart = self.library.apart and config.tolerance == "candidates"
        self.encoder: AnyEncoder | None = None

    def use_encoder(self, encoder: AnyEncoder, keys: NDArray[np.float32]) -> None:
        """Let canvases ask for their like by themselves: what the encoder says of them, among its keys (N, D)."""
        self.encoder = encoder
        self.use_keys(keys)

    def use_keys(self, keys: NDArray[np.float32]) -> None:
        """Find images by their keys (N, D); without an encoder, for the queries that a batch already holds."""
        self.library.keys = keys
        self.shortlister = Shortlister(self.library, self.config)

    @property
    def drawn(self) -> int:
        """Pixels of a sample that are drawn, in each sweep."""
        return len(self.order.pixels)

    @property
    def facts(self) -> dict[str, Any]:
        """What samples say of the run, beside its arguments."""
        return {"encoder_id": self.encoder.id if self.encoder else None, "queries": self.queries}

    @property
    def queries(self) -> tuple[int, int] | None:
        """How many queries a canvas makes, and their width D; None where meaning plays no part."""
        if self.model.semantics != "embedding":
            return None
        count = sum(len(self.cuts(sweep)) - 1 for sweep in range(1 + self.config.sweeps))
        return 1 if self.config.anchor_weight == 1 else count, self.library.keys.shape[1]

    def fill(self, batch: Samples, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of one batch, in place."""
        indices = np.arange(batch.first, batch.first + len(batch), dtype=np.uint64)
        batch.anchor[:] = self.seeds.images(indices)
        anchors = self.library.images(batch.anchor)
        batch.place_seed(anchors, self.rect, self.seeds.corners(indices, batch.anchor))
        barred = batch.anchor if self.config.exclude_seed_image else np.full_like(batch.anchor, -1)
        retrieve = self.retrieval(batch, barred, anchors)
        known = known_rect(self.shape, self.rect)
        stages = 0
        for sweep in range(1 + self.config.sweeps):
            order = self.order.pixels if sweep == 0 else _core.sweep_order(self.order.pixels, self.seed, sweep)
            for start, end in pairwise(self.cuts(sweep)):
                pixels = order[start:end]  # (P, 2)
                stage = {"pixels": pixels, "known": known, "sweep": sweep, "samples": indices, "barred": barred}
                shortlists = retrieve(stages, known)
                if self.apart and shortlists is not None:
                    self._fill_apart(batch, shortlists, **stage)
                else:
                    self._fill(batch, shortlists, **stage)
                known[pixels[:, 0], pixels[:, 1]] = True
                stages += 1
                bar.update(len(batch) * len(pixels))

    def retrieval(
        self, batch: Samples, barred: NDArray[np.int32], anchors: NDArray[np.uint8] | None = None
    ) -> Callable[[int, NDArray[np.bool_]], Shortlists | None]:
        """How a batch's canvases, known so far as a mask says, come to the images that may serve a stage.

        An encoder needs their anchors (B, H, W, C).
        """
        if self.model.semantics == "embedding":
            assert batch.queries is not None
            rows = batch.queries  # (B, S, D)
            ask = None
            if self.encoder is not None and anchors is not None:
                ask = Queries(self.encoder, anchors, batch, self.threads)

            def retrieve(stage: int, known: NDArray[np.bool_]) -> Shortlists:
                at = min(stage, rows.shape[1] - 1)
                if ask is not None and stage == at:
                    rows[:, at] = ask(known)
                return self.shortlister.find(np.ascontiguousarray(rows[:, at]), barred)

            return retrieve
        if self.model.semantics == "label":
            shortlists = self._same_label(batch.anchor, barred)
            return lambda stage, known: shortlists
        return lambda stage, known: None

    def _same_label(self, anchors: NDArray[np.int32], barred: NDArray[np.int32]) -> Shortlists:
        assert self.corpus.labels is not None
        lists = [self.members[label] for label in self.corpus.labels[anchors].tolist()]
        if any(np.array_equal(ids, [bar]) for ids, bar in zip(lists, barred, strict=True)):
            raise invalid("corpus", "at least 2 images of each label, as the seed's own is barred", "1 of a label")
        return joined(lists)  # with the barred ones, so that canvases of a label look at the same

    def _fill(self, batch: Samples, shortlists: Shortlists | None, **stage: Any) -> None:
        batch.fallbacks[:] += self.filler.fill(
            batch.images, batch.trace.arrays(), seed=self.seed, shortlists=shortlists, **stage
        )

    def _fill_apart(self, batch: Samples, shortlists: Shortlists, **stage: Any) -> None:
        """Fill from a copy of the shortlisted images, which is all of the corpus that is then in memory."""
        ids, local = np.unique(shortlists[0], return_inverse=True)  # ascending, so that ties fall as they would
        images = self.library.images(ids)
        if not len(batch):
            return  # this rank was only needed for what others asked it

        def in_copy(wanted: NDArray[np.int32]) -> NDArray[np.int32]:
            """Find ids in the copy; −1 for images that are not in it."""
            found = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
            return np.where(ids[found] == wanted, found, -1).astype(np.int32)

        local_trace = in_copy(batch.trace.image_id)
        self.make_filler(images).fill(
            batch.images,
            (local_trace, *batch.trace.arrays()[1:]),
            seed=self.seed,
            shortlists=(local.astype(np.int32), shortlists[1]),
            **(stage | {"barred": in_copy(stage["barred"])}),
        )
        y, x = stage["pixels"].T
        batch.trace.image_id[:, y, x] = ids[local_trace[:, y, x]]

    def cuts(self, sweep: int) -> list[int]:
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
