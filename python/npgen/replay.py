"""What must hold for every pixel of a run, whatever its bytes say: that it is a copy, and that its model allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npgen import _core
from npgen.config import Config, Model, find_model, known_rect
from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.filling import canvas_shape, fill_order
from npgen.seeding import Seeds
from npgen.trace import Samples

# Where a pixel lies: sample of the block, y, x.
Where = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Breach:
    """Pixels that break one rule.

    Attributes
    ----------
    where
        (n, H, W) bool.
    tell
        Says of one of them, by its sample, y and x, what is wrong.
    """

    where: NDArray[np.bool_]
    tell: Callable[[Where], str]


def inside_corpus(samples: Samples, corpus: Corpus) -> NDArray[np.bool_]:
    """Tell which addresses (n, H, W) exist in the corpus."""
    return corpus.holds(samples.trace.image_id, samples.trace.y, samples.trace.x)


def outside_corpus(samples: Samples, corpus: Corpus) -> Breach:
    """List the pixels whose addresses don't exist in the corpus."""
    return Breach(~inside_corpus(samples, corpus), lambda where: "there is no such pixel in the corpus")


class Rules:
    """The rules of a run's pixels.

    A pixel has the value of its source. The seed patch is a piece of the anchor, and was not drawn: pool size and
    distance are 0. Every other pixel was drawn from one candidate or more, and its source is one that the run's model
    and settings allow: near enough, not of the barred image, of the anchor's label, not of an image with a used up
    quota.
    """

    def __init__(self, corpus: Corpus, model: str, config: Config, seed: int) -> None:
        self.corpus, self.config, self.seed = corpus, config, seed
        self.model: Model = find_model(model)
        self.source: tuple[int, int] = (corpus.images.shape[1], corpus.images.shape[2])
        self.shape = canvas_shape(corpus, config)
        self.seeds = Seeds(corpus, config, self.shape, seed)
        if self.model.semantics == "label" and corpus.labels is None:
            raise invalid("corpus", "one with labels, for the model 'class'", corpus.name)
        self.rect = config.seed_rect(*self.shape)
        self.drawn = ~known_rect(self.shape, self.rect)  # (H, W)

    def breaches(self, samples: Samples) -> Iterator[Breach]:
        """List what is wrong with samples, nothing of which is taken for granted but the shapes."""
        outside = outside_corpus(samples, self.corpus)
        inside = ~outside.where
        yield outside
        yield self._copies(samples, inside)
        yield self._seed_patch(samples)
        yield self._pool_sizes(samples)
        yield self._distances(samples)
        if self.model.locality:
            yield self._near(samples)
        if self.config.exclude_seed_image:
            own = samples.trace.image_id == samples.anchor[:, None, None]
            yield Breach(own & self.drawn, lambda where: "its image is barred: the seed patch comes from it")
        if self.model.semantics == "label":
            yield self._same_label(samples, inside)
        if self._limited() and self.config.sweeps == 0:  # after sweeps, no canvas but the last is known
            assert self.config.quota is not None
            yield self._quota(samples, self.config.quota)

    def _copies(self, samples: Samples, inside: NDArray[np.bool_]) -> Breach:
        ids, y, x = (np.where(inside, part, 0) for part in samples.trace.arrays()[:3])
        differs = (self.corpus.images[ids, y, x] != samples.images).any(axis=-1)  # (n, H, W)
        return Breach(inside & differs, lambda where: "the values differ")

    def _seed_patch(self, samples: Samples) -> Breach:
        trace, (y, x, height, width) = samples.trace, self.rect
        indices = np.arange(samples.first, samples.first + len(samples), dtype=np.uint64)
        corners = self.seeds.corners(indices, samples.anchor)
        if corners is None:
            corners = np.tile(np.array([y, x], np.int32), (len(samples), 1))
        rows = corners[:, 0, None, None] + np.arange(height)[:, None]
        columns = corners[:, 1, None, None] + np.arange(width)
        patch = (slice(None), slice(y, y + height), slice(x, x + width))
        wrong = trace.image_id[patch] != samples.anchor[:, None, None]
        wrong = wrong | (trace.y[patch] != rows) | (trace.x[patch] != columns)
        where = np.zeros(trace.image_id.shape, np.bool_)
        where[patch] = wrong

        def tell(at: Where) -> str:
            k, dy, dx = at[0], at[1] - y, at[2] - x
            own = samples.anchor[k], corners[k, 0] + dy, corners[k, 1] + dx
            return "the seed patch has image {}, y {}, x {} there".format(*own)

        return Breach(where, tell)

    def _pool_sizes(self, samples: Samples) -> Breach:
        sizes = samples.trace.pool_size
        most = self._most_candidates()
        wrong = np.where(self.drawn, (sizes < 1) | (sizes > most), sizes != 0)

        def tell(at: Where) -> str:
            allowed = f"in 1…{most}" if self.drawn[at[1:]] else "0 in the seed patch"
            return f"its pool size must be {allowed}, got {sizes[at]}"

        return Breach(wrong, tell)

    def _most_candidates(self) -> int:
        images = len(self.corpus)
        if self.model.semantics == "embedding" and self.config.semantic == "topk":
            images = min(images, self.config.shortlist)
        if self.config.candidates == "best" and self.model.low_level:
            return images
        if self.corpus.sizes is not None:
            return int(self.corpus.sizes.prod(1, dtype=np.int64).sum())
        side = 2 * self.config.locality + 1
        reach = [min(side, extent) if self.model.locality else extent for extent in self.source]
        return images * reach[0] * reach[1]

    def _distances(self, samples: Samples) -> Breach:
        distances = samples.trace.distance
        with np.errstate(invalid="ignore"):  # not-a-number may be what the file holds
            sound = np.isfinite(distances) & (distances >= 0)
        wrong = ~np.where(self.drawn & self.model.low_level, sound, distances == 0)

        def tell(at: Where) -> str:
            allowed = "at least 0" if self.drawn[at[1:]] and self.model.low_level else "0"
            return f"its distance must be {allowed}, got {distances[at]}"

        return Breach(wrong, tell)

    def _near(self, samples: Samples) -> Breach:
        limit = self.config.locality
        y, x = np.indices(self.shape)
        apart = np.maximum(np.abs(samples.trace.y - y), np.abs(samples.trace.x - x))  # in 64 bits: no overflow
        return Breach(
            (apart > limit) & self.drawn, lambda at: f"it must be within {limit} pixels of its source, got {apart[at]}"
        )

    def _same_label(self, samples: Samples, inside: NDArray[np.bool_]) -> Breach:
        assert self.corpus.labels is not None
        labels = self.corpus.labels[np.where(inside, samples.trace.image_id, 0)]  # (n, H, W)
        known = (samples.anchor >= 0) & (samples.anchor < len(self.corpus))
        own = self.corpus.labels[np.where(known, samples.anchor, 0)][:, None, None]
        wrong = (labels != own) & inside & known[:, None, None] & self.drawn
        return Breach(wrong, lambda at: f"its source must be of the seed's label, {own[at[0], 0, 0]}, got {labels[at]}")

    def _limited(self) -> bool:
        """Whether the quota limits all samples: some may have too few images to choose from for that."""
        others = len(self.corpus) - self.config.exclude_seed_image
        choice = {"embedding": self.config.shortlist, None: others}
        if self.model.semantics == "label":
            assert self.corpus.labels is not None
            _, counts = np.unique(self.corpus.labels, return_counts=True)
            choice["label"] = int(counts.min()) - self.config.exclude_seed_image
        return self.model.low_level and self.config.limited(choice[self.model.semantics])

    def _quota(self, samples: Samples, quota: int) -> Breach:
        order = fill_order(*self.shape, self.rect, self.config.window).pixels
        ids = np.ascontiguousarray(samples.trace.image_id)
        served = _core.served_counts(ids, ~self.drawn, order, self.config.window)  # (n, H, W)
        return Breach(
            served >= quota,
            lambda at: f"its image served {served[at]} pixels of its window already; the quota is {quota}",
        )
