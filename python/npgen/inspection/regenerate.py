"""Samples of a run generated again from its queries and the corpus's keys, without an encoder."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from npgen.corpus import Corpus
from npgen.encoders import AnyEncoder, cached_keys
from npgen.inspection.explain import run_places
from npgen.inspection.run_report import numbers_of, value_text
from npgen.inspection.violations import Place, Violation
from npgen.runs import TRACE_DTYPES, Samples, at_level
from npgen.sampling import Library, PixelPlan, PixelRun, TokenRun
from npgen.tokens import Tokens


class Regeneration:
    """Generates the samples of a shard again, and compares them.

    Parameters
    ----------
    samples
        The samples of the shard.
    corpus
        The corpus that they were made from.
    tokens
        The token store of a run of tokens, None for a run of pixels.
    encoder
        The encoder of a run that adds semantic distances, as for `npgen.explain`.

    Raises
    ------
    ValueError
        If the samples can't be generated again.
    """

    def __init__(
        self,
        samples: Samples,
        corpus: Corpus,
        tokens: Tokens | None,
        encoder: str | os.PathLike[str] | AnyEncoder,
    ) -> None:
        self.run: PixelRun | TokenRun
        self._latest: tuple[Samples, Samples] | None = None  # samples, and these generated again
        if tokens is not None:
            self.run = TokenRun(corpus, samples.model, samples.config, samples.seed, None, tokens)
            return
        plan = PixelPlan(corpus, samples.model, samples.config, samples.seed)
        y, x = plan.rect[:2]
        drawn = plan.seeds.images(samples.indices)
        if not ((drawn == samples.anchor) | (drawn == samples.trace.image_id[:, y, x])).all():
            raise ValueError("their seeds were drawn in another way, as from a part of the corpus")
        keys = None
        if plan.model.embedding:
            if samples.queries is None or samples.encoder_id is None:
                raise ValueError("the run has no queries")
            keys = cached_keys(corpus, samples.encoder_id)
        self.run = PixelRun(plan, Library(corpus, keys), places=run_places(samples, corpus, encoder))

    def violation(self, samples: Samples, level: int = 0) -> Violation:
        """List the pixels of samples of the shard, or of a level of them, that differ when they are generated again."""
        if self._latest is None or self._latest[0] is not samples:
            again = samples.mapped(lambda array: np.zeros(array.shape, array.dtype))
            again = replace(again, queries=samples.queries, densities=samples.densities)
            self.run.fill(again, tqdm(disable=True))
            self._latest = samples, again
        samples, again = (at_level(both, level) for both in self._latest)
        images, arrays = again.images, (samples.trace.arrays(), again.trace.arrays())
        pairs = dict(zip(TRACE_DTYPES, zip(*arrays, strict=True), strict=True))
        where = (images != samples.images).any(axis=-1)  # (n, H, W)
        if samples.grown is not None and again.grown is not None:
            for part, name in enumerate(("image_id", "y", "x")):
                pairs[f"grown {name}"] = samples.grown[..., part], again.grown[..., part]
        for before, after in pairs.values():
            where = where | (before != after)
        other_token = np.zeros_like(where)
        if samples.codes is not None and again.codes is not None:
            stride = where.shape[1] // samples.codes.shape[1]
            other_token = (samples.codes != again.codes).any(axis=-1).repeat(stride, axis=1).repeat(stride, axis=2)

        def reason(at: Place) -> str:
            parts = [f"{key} {after[at]}" for key, (before, after) in pairs.items() if before[at] != after[at]]
            if (images[at] != samples.images[at]).any():
                parts.append(f"value {value_text(numbers_of(images[at]))}")
            if other_token[at]:
                parts.append("another token")
            return f"generated again it has {', '.join(parts)}"

        return Violation(where | other_token, reason)
