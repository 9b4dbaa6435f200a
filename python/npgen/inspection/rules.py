"""The rules that every pixel of a run must keep: it is a copy of its source, and the run's model allows that source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config, Model, find_model
from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.inspection.cuts import CutSeams
from npgen.inspection.violations import Place, Violation, inside_corpus, outside_corpus
from npgen.runs import Samples, level_shape
from npgen.sampling import (
    Seeds,
    bars_seed_shift,
    canvas_shape,
    copy_quota,
    fill_order,
    known_rect,
    seed_shifts,
    shifts_of,
    shrink,
)
from npgen.storage import npy


class TraceRules:
    """The rules of a model and its settings, which the trace of a run is checked against.

    Every pixel has the value of its source. The seed patch is a patch of the anchor and was not drawn: its pool sizes
    and distances are 0. Every other pixel was drawn from at least one candidate, and its source keeps the model's
    constraints: within the locality radius, not of the barred image, of the anchor's label, not of an image whose quota
    or share is used up. Where the borders between sources were cut anew, the sources before keep these rules, too, and
    the cuts, made again, give the sources after; the quota of windows holds before them.

    Parameters
    ----------
    corpus
        The corpus of the run.
    model, config, seed
        Model, settings and seed of the run.
    level
        Level of the pyramid (`Config.levels`) that the samples are of, see `npgen.runs.at_level`; its pixels are copies
        of means over squares of the images' pixels.

    Raises
    ------
    ValueError
        If the model needs labels and the corpus has none, or settings and corpus don't fit.
    """

    def __init__(self, corpus: Corpus, model: str, config: Config, seed: int, level: int = 0) -> None:
        self.corpus, self.config, self.seed, self.level = corpus, config, seed, level
        self.model: Model = find_model(model)
        self.source: tuple[int, int] = (corpus.images.shape[1], corpus.images.shape[2])
        self.shape = canvas_shape(corpus, config)
        self.seeds = Seeds(corpus, config, self.shape, seed)
        if self.model.label and corpus.labels is None:
            raise invalid("corpus", f"one with labels, for the model {model!r}", corpus.name)
        if level:
            self.shape = self.source = level_shape(self.shape, level)
            self.config = config = config.at_level(level, self.shape)
        self.rect = config.seed_rect(*self.shape)
        self.drawn = ~known_rect(self.shape, self.rect)  # (H, W)

    def violations(self, samples: Samples) -> Iterator[Violation]:
        """List the violations of each rule. Nothing is assumed of the samples but the shapes of their arrays."""
        inside = self._inside(samples)
        yield Violation(~inside, outside_corpus(samples, self.corpus).reason)
        yield self._copies(samples, inside)
        yield self._seed_patch(samples)
        yield self._pool_sizes(samples)
        yield self._distances(samples)
        quota, frame_quota = self.config.quotas(self.shape, self._fewest_candidates(), self.model.low_level)
        yield from self._sources(samples, inside, frame_quota)
        grown = samples
        if samples.grown is not None:
            cuts = CutSeams(samples, self.corpus, self.rect, self.config)
            yield from cuts.violations()
            grown = cuts.grown
            for violation in (self._seed_patch(grown), *self._sources(grown, cuts.inside, frame_quota)):
                yield Violation(violation.where, lambda at, of=violation: f"before the cuts: {of.reason(at)}")  # type: ignore[misc]
        if quota is not None and self.config.sweeps == 0:  # after sweeps, the canvases of earlier ones are not known
            yield self._quota(grown, quota)

    def _sources(self, samples: Samples, inside: NDArray[np.bool_], frame_quota: int | None) -> Iterator[Violation]:
        """List the violations of the rules for sources, whether they were drawn or cut."""
        if self.model.locality:
            yield self._near(samples)
        if bars_seed_shift(self.corpus, self.config):
            yield self._seed_shift(samples)
        elif self.config.exclude_seed_image:
            own = samples.trace.image_id == samples.anchor[:, None, None]
            yield Violation(own & self.drawn, lambda at: "its image is barred: the seed patch comes from it")
        if self.model.label:
            yield self._same_label(samples, inside)
        if frame_quota is not None:
            yield self._share(samples, frame_quota)
        most = copy_quota(self.corpus, self.config, self.shape, self.model.locality)
        if most is not None:
            yield self._copied(samples, most)

    def _inside(self, samples: Samples) -> NDArray[np.bool_]:
        """Return (n, H, W) bool: True for pixels whose addresses exist at the level."""
        inside = inside_corpus(samples, self.corpus)
        return inside & (samples.trace.y < self.source[0]) & (samples.trace.x < self.source[1])

    def _copies(self, samples: Samples, inside: NDArray[np.bool_]) -> Violation:
        ids, y, x = (np.where(inside, part, 0) for part in samples.trace.arrays()[:3])
        if self.level:
            used, places = np.unique(ids, return_inverse=True)
            images = shrink(npy.read_rows(self.corpus.images, used), self.level)
            values = images[places.reshape(ids.shape), y, x]
        else:
            values = self.corpus.images[ids, y, x]
        differs = (values != samples.images).any(axis=-1)  # (n, H, W)
        return Violation(inside & differs, lambda at: "the values differ")

    def _seed_patch(self, samples: Samples) -> Violation:
        trace, (y, x, height, width) = samples.trace, self.rect
        indices = np.arange(samples.first, samples.first + len(samples), dtype=np.uint64)
        corners = None if self.level else self.seeds.corners(indices, samples.anchor)
        if corners is None:
            corners = np.tile(np.array([y, x], np.int32), (len(samples), 1))
        rows = corners[:, 0, None, None] + np.arange(height)[:, None]
        columns = corners[:, 1, None, None] + np.arange(width)
        patch = (slice(None), slice(y, y + height), slice(x, x + width))
        wrong = trace.image_id[patch] != samples.anchor[:, None, None]
        wrong = wrong | (trace.y[patch] != rows) | (trace.x[patch] != columns)
        where = np.zeros(trace.image_id.shape, np.bool_)
        where[patch] = wrong

        def reason(at: Place) -> str:
            k, dy, dx = at[0], at[1] - y, at[2] - x
            address = samples.anchor[k], corners[k, 0] + dy, corners[k, 1] + dx
            return "the seed patch has image {}, y {}, x {} there".format(*address)

        return Violation(where, reason)

    def _pool_sizes(self, samples: Samples) -> Violation:
        sizes = samples.trace.pool_size
        most = self._most_candidates()
        wrong = np.where(self.drawn, (sizes < 1) | (sizes > most), sizes != 0)

        def reason(at: Place) -> str:
            allowed = f"in 1…{most}" if self.drawn[at[1:]] else "0 in the seed patch"
            return f"its pool size must be {allowed}, got {sizes[at]}"

        return Violation(wrong, reason)

    def _most_candidates(self) -> int:
        """Return the largest pool size that the settings allow."""
        images = len(self.corpus)
        if self.model.embedding and self.config.semantic == "topk":
            images = min(images, self.config.shortlist)
        if self.config.candidates == "best" and self.model.low_level:
            return images
        if self.corpus.sizes is not None:
            return int(self.corpus.sizes.prod(1, dtype=np.int64).sum())
        side = 2 * self.config.locality + 1
        reach = [min(side, extent) if self.model.locality else extent for extent in self.source]
        return images * reach[0] * reach[1]

    def _distances(self, samples: Samples) -> Violation:
        distances = samples.trace.distance
        with np.errstate(invalid="ignore"):  # the file may hold NaN
            valid = np.isfinite(distances) & (distances >= 0)
        wrong = ~np.where(self.drawn & self.model.low_level, valid, distances == 0)

        def reason(at: Place) -> str:
            allowed = "at least 0" if self.drawn[at[1:]] and self.model.low_level else "0"
            return f"its distance must be {allowed}, got {distances[at]}"

        return Violation(wrong, reason)

    def _near(self, samples: Samples) -> Violation:
        limit = self.config.locality
        y, x = np.indices(self.shape)
        shift = np.maximum(np.abs(samples.trace.y - y), np.abs(samples.trace.x - x))  # int64: no overflow
        return Violation(
            (shift > limit) & self.drawn, lambda at: f"it must be within {limit} pixels of its source, got {shift[at]}"
        )

    def _same_label(self, samples: Samples, inside: NDArray[np.bool_]) -> Violation:
        assert self.corpus.labels is not None
        labels = self.corpus.labels[np.where(inside, samples.trace.image_id, 0)]  # (n, H, W)
        known = (samples.anchor >= 0) & (samples.anchor < len(self.corpus))
        own = self.corpus.labels[np.where(known, samples.anchor, 0)][:, None, None]
        wrong = (labels != own) & inside & known[:, None, None] & self.drawn
        return Violation(
            wrong, lambda at: f"its source must be of the seed's label, {own[at[0], 0, 0]}, got {labels[at]}"
        )

    def _fewest_candidates(self) -> int:
        """Return the least number of images that may serve a sample: a quota that it suffices for holds for all."""
        fewest = len(self.corpus) - self.config.exclude_seed_image
        if self.model.label:
            assert self.corpus.labels is not None
            _, counts = np.unique(self.corpus.labels, return_counts=True)
            fewest = int(counts.min()) - self.config.exclude_seed_image
        if self.model.embedding:
            halves = self.config.halves
            fewest = -(-min(halves * self.config.shortlist, fewest) // halves)
        return fewest

    def _quota(self, samples: Samples, quota: int) -> Violation:
        order = fill_order(*self.shape, self.rect, self.config.window).pixels
        ids = np.ascontiguousarray(samples.trace.image_id)
        # Known pixels in each pixel's window that come from the pixel's own source image, (n, H, W).
        used = _core.served_counts(ids, ~self.drawn, order, self.config.window)
        return Violation(
            used >= quota,
            lambda at: f"its image gave {used[at]} pixels of its window already; the quota is {quota}",
        )

    def _share(self, samples: Samples, frame_quota: int) -> Violation:
        ids = samples.trace.image_id.reshape(len(samples), -1)  # (n, H·W)
        # Pixels of the sample that come from the image of each pixel, (n, H, W).
        given = np.zeros(samples.trace.image_id.shape, np.int64)
        for row, image_ids in zip(given, ids, strict=True):
            _, places, counts = np.unique(image_ids, return_inverse=True, return_counts=True)
            row[:] = counts[places].reshape(row.shape)
        return Violation(
            (given > frame_quota) & self.drawn,
            lambda at: f"its image gave {given[at]} pixels of the frame; the quota of max_share is {frame_quota}",
        )

    def _copied(self, samples: Samples, most: int) -> Violation:
        # Pixels of the sample that come from the image of each pixel by its shift, (n, H, W).
        given = np.zeros(samples.trace.image_id.shape, np.int64)
        for row, shifts in zip(given, shifts_of(samples.trace.arrays()[:3]), strict=True):
            _, places, counts = np.unique(shifts.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
            row[:] = counts[places.ravel()].reshape(row.shape)
        return Violation(
            (given > most) & self.drawn,
            lambda at: f"its image gave {given[at]} pixels by the same shift; the quota of max_copy is {most}",
        )

    def _seed_shift(self, samples: Samples) -> Violation:
        sources = samples.trace.arrays()[:3]
        seed = seed_shifts(sources, self.rect)[:, None, None]
        same = (shifts_of(sources) == seed).all(axis=-1)
        return Violation(same & self.drawn, lambda at: "its shift is barred: it is the seed patch's")
