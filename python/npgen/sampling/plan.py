"""What a run of pixels does, checked and laid out before any work: frame, seed patches, fill order, stages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config, find_model
from npgen.corpus import Corpus, check_corpus
from npgen.errors import invalid
from npgen.runs import level_shape
from npgen.sampling.filler import canvas_shape
from npgen.sampling.order import fill_order
from npgen.sampling.seeds import Seeds, images_by_label
from npgen.sampling.shifts import bars_seed_shift, copy_quota, fewest_sources

# Without queries a stage may be cut anywhere. Least pixels between steps of the progress bar, and most steps.
SLICE = 16
SLICES = 64


class PixelPlan:
    """The plan of a run of pixels. It follows from the settings alone: no image and no key is read.

    Parameters
    ----------
    corpus
        N images.
    model
        A key of `npgen.config.MODELS`.
    config
        Settings; those of tokens alone must have their defaults.
    seed
        Seed of all draws.
    level
        Level of the pyramid (`Config.levels`) that the plan is for; 0 is the finest. Coarser ones have no `levels`.

    Attributes
    ----------
    config
        Settings at the level.
    levels
        The plans of all levels, from the coarsest to this one.
    shape
        Height and width of the canvases, (H, W).
    rect
        The seed patch on the canvas, (y, x, height, width).
    seeds
        Where the seed patches come from.
    order
        The order in which pixels are filled.
    radius
        Largest Chebyshev distance between a pixel and its source.
    members
        Ids of the images of each label, for a model with labels.
    copy_quota
        Pixels of a sample that may come from one image by one shift; None for no limit.
    bars_seed_image, bars_seed_shift
        Whether the image of a sample's seed patch may not serve it, and whether only that patch's shift may not.

    Raises
    ------
    ValueError
        If model or settings do not fit the corpus.
    """

    def __init__(self, corpus: Corpus, model: str, config: Config, seed: int, level: int = 0) -> None:
        self.corpus, self.model_name, self.model = corpus, model, find_model(model)
        self.config, self.seed, self.level = config, seed, level
        source = self._checked()
        self.shape = canvas_shape(corpus, config)
        self.seeds = Seeds(corpus, config, self.shape, seed)
        self.bars_seed_shift = bars_seed_shift(corpus, config)
        self.bars_seed_image = config.exclude_seed_image and not self.bars_seed_shift
        self._check_choice()
        self._check_levels()
        self.members = images_by_label(corpus, model) if self.model.label else {}
        if level:
            self.shape = level_shape(self.shape, level)
            self.config = config = config.at_level(level, self.shape)
            config.check_shape(*self.shape)
        coarser = range(config.levels - 1, 0, -1)  # none of a coarse level
        self.levels = [*(PixelPlan(corpus, model, config, seed, number) for number in coarser), self]
        # Without locality every position is a candidate: none is farther away than the longest side.
        self.radius = config.locality if self.model.locality else max(*self.shape, *source)
        self.copy_quota = copy_quota(corpus, config, self.shape, self.model.locality)
        self.rect = config.seed_rect(*self.shape)
        self.order = fill_order(*self.shape, self.rect, config.window)

    def _checked(self) -> tuple[int, int]:
        """Check the settings that the canvases' size depends on, and return the size of the source images."""
        self.config.check_ignored_settings(tokens=False)
        source: tuple[int, int] = (self.corpus.images.shape[1], self.corpus.images.shape[2])
        if self.model.locality:
            check_corpus(self.corpus, one_size="a model with locality (all but 'texture')")
            if self.config.size not in (None, source):
                allowed = f"{source} or None, the corpus's own, for a model with locality"
                raise invalid("size", allowed, self.config.size)
        return source

    def _check_choice(self) -> None:
        """Check that there are enough images to choose from."""
        config = self.config
        others = len(self.corpus) - self.bars_seed_image
        if self.bars_seed_shift and self.model.locality:
            raise invalid("corpus", "at least 2 images, as the seed's own is barred", len(self.corpus))
        if self.bars_seed_shift and fewest_sources(self.corpus, config, self.shape, self.model.locality) < 2:
            raise invalid("corpus", "at least 2 pixels, as the seed patch is not continued as it is", 1)
        if config.seams and (self.bars_seed_shift or config.max_copy is not None):
            raise invalid("seams", "False with max_copy, or with one image: cuts know no limit of shifts", config.seams)
        if config.select > 1 and not self.model.embedding:
            raise invalid("select", "1 for a model without embedding", config.select)
        if self.model.embedding and config.shortlist > others // config.halves:
            barred = ", the seed's own barred" if config.exclude_seed_image else ""
            half = "half of " if config.select > 1 else ""
            allowed = f"in 1..={others // config.halves} ({half}the corpus's images{barred})"
            raise invalid("shortlist", allowed, config.shortlist)
        if config.semantic_weight > 0:
            if not (self.model.embedding and self.model.low_level):
                raise invalid("semantic_weight", "0 for a model without embedding or windows", config.semantic_weight)
            if config.tolerance != "candidates":
                allowed = "0 where tolerance is relative to the corpus"
                raise invalid("semantic_weight", allowed, config.semantic_weight)
        if config.tolerance != "candidates" and not self.model.low_level:
            raise invalid("tolerance", "'candidates' for a model that looks at no window", config.tolerance)

    def _check_levels(self) -> None:
        """Check that the model can be generated coarse to fine, and that there are so many levels."""
        levels, (height, width) = self.config.levels, self.shape
        if levels == 1:
            return
        if not (self.model.embedding and self.model.low_level):
            raise invalid("levels", "1 for a model without embedding or windows", levels)
        if self.config.tolerance != "candidates":
            raise invalid("levels", "1 where tolerance is relative to the corpus", levels)
        if self.config.anchor_weight != 1:
            raise invalid("anchor_weight", "1 where there are levels", self.config.anchor_weight)
        side = 2 ** (levels - 1)
        if height % side or width % side or min(height, width) < 3 * side:
            allowed = f"such that {height}×{width} is a multiple of 2^(levels − 1), at least 3 times it"
            raise invalid("levels", allowed, levels)

    @property
    def drawn(self) -> int:
        """Pixels of a sample that are drawn, in each sweep."""
        return len(self.order.pixels)

    @property
    def query_count(self) -> int:
        """Queries per canvas, S: one per stage; with β = 1 one in all, as the anchor does not change."""
        return 1 if self.config.anchor_weight == 1 else sum(1 for _ in self.stages())

    @property
    def one_shortlist(self) -> bool:
        """Whether images come from a shortlist that is the same throughout."""
        return self.model.semantics and (not self.model.embedding or self.config.anchor_weight == 1)

    def stages(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Go through the stages of a run: the sweep, 0 for the first filling, and the pixels (P, 2) in order."""
        for sweep in range(1 + self.config.sweeps):
            pixels = self.order.pixels
            if sweep:
                pixels = _core.sweep_order(pixels, self.seed, sweep)
            for start, end in pairwise(self.cuts(sweep)):
                yield sweep, pixels[start:end]

    def cuts(self, sweep: int) -> list[int]:
        """Where stages begin and end in the order of a sweep: rings or the whole sweep, cut further where asked for."""
        whole = [0, len(self.order.pixels)]
        if self.one_shortlist and self.config.semantic_weight == 0:
            return whole
        rings: list[int] = self.order.stages.tolist() if sweep == 0 else whole
        longest = self.config.stage_pixels if self.model.semantics else max(SLICE, self.drawn // SLICES)
        if longest is None:
            return rings
        cuts = [range(start, end, longest) for start, end in pairwise(rings)]
        return [cut for ring in cuts for cut in ring] + rings[-1:]
