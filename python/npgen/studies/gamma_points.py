"""The points of a γ study: one sampler at one range each. They are run, measured, and stored as rows."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import check_whole, invalid
from npgen.evaluation import (
    COPY,
    WINDOW,
    FrechetReference,
    Moments,
    Network,
    NetworkRequest,
    corpus_outputs,
    entropy,
    load_network,
    outputs_of,
)
from npgen.output import Row
from npgen.runs import Samples
from npgen.sampling import generate
from npgen.storage import read_json
from npgen.studies.gamma_measures import nearness, quality
from npgen.studies.measures import mean_cells
from npgen.studies.rows import check_row, row_file, write_row
from npgen.studies.workbench import Workbench
from npgen.tokens import Tokens, TwinRecipe, load_tokens

# Version of the rows and of the study's folder.
VERSION = 1
KINDS = ("pixels", "tokens", "twin")
# Images that are decoded from tokens at a time.
DECODE = 4096


@dataclass(frozen=True)
class Point:
    """One sampler at one range.

    Attributes
    ----------
    kind
        One of `KINDS`.
    gamma
        The range, in pixels or cells; None is global.
    """

    kind: str
    gamma: int | None

    @property
    def name(self) -> str:
        """The range as text."""
        return "global" if self.gamma is None else str(self.gamma)


def points_of(kinds: Sequence[str], gammas: Sequence[int | None]) -> list[Point]:
    """Return one point per sampler and range, in the order of samplers, then ranges; check both."""
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise invalid("kinds", f"one or more of {', '.join(KINDS)}, each once", kinds)
    if isinstance(gammas, str) or not gammas or len(set(gammas)) < len(gammas):
        raise invalid("gammas", "one or more ranges, each once", gammas)
    for gamma in gammas:
        if gamma is not None:
            check_whole("gammas", gamma, 1)
    ordered = sorted(gammas, key=lambda gamma: math.inf if gamma is None else gamma)
    return [Point(kind, gamma) for kind in kinds for gamma in ordered]


@dataclass(frozen=True, eq=False)
class PointRunner:
    """Runs and measures the points of a study.

    Attributes
    ----------
    bench
        Corpus, seed and other arguments common to all points.
    points
        The points of the study; `distinct` are those that are run.
    n
        Number of samples per point.
    images
        Number of source images.
    token_store
        The corpus's tokens, as for `load_tokens`.
    config
        Settings that tokens are drawn with.
    twin_steps
        Number of steps that each twin is trained for.
    quiet
        Show no progress bar.
    """

    bench: Workbench
    points: list[Point]
    n: int
    images: int
    token_store: str | os.PathLike[str] | Tokens
    config: Config
    twin_steps: int
    quiet: bool

    @property
    def source(self) -> Corpus:
        """The source images as a corpus."""
        return self.bench.source(self.images)[0]

    @property
    def has_tokens(self) -> bool:
        """Whether any sampler works on tokens."""
        return any(point.kind != "pixels" for point in self.points)

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens of the source images."""
        tokens = load_tokens(self.token_store, self.bench.corpus, device=self.bench.device, progress=not self.quiet)
        if tokens.autoencoder is None:
            raise ValueError(f"tokens must have an autoencoder, as samples are measured in pixels, got {tokens!r}")
        _, ids = self.bench.source(self.images)
        return tokens if len(ids) == len(tokens) else tokens.part(ids, self.source.hash)

    def distinct(self) -> list[Point]:
        """Return the points of different contexts; a range beyond the image would repeat the global one.

        Raises
        ------
        ValueError
            If there are none.
        """
        distinct = []
        for point in self.points:
            largest = self._largest_gamma(point.kind)
            has_global = Point(point.kind, None) in self.points
            if point.gamma is None or point.gamma < largest or (point.gamma == largest and not has_global):
                distinct.append(point)
        if not distinct:
            raise invalid(
                "gammas",
                f"within the images, {self._largest_gamma(self.points[0].kind)} at most, or global",
                [point.gamma for point in self.points],
            )
        return distinct

    def _largest_gamma(self, kind: str) -> int:
        """Return the smallest range that is as good as the global one."""
        if kind == "pixels":
            return int(min(self.source.images.shape[1:3]) - 1) // 2
        return max(self.tokens.grid) - 1

    def row(self, point: Point, folder: Path) -> Row:
        """Return the stored row of a point, or run and measure the point."""
        facts = self._facts_of(point)
        file = row_file(folder, facts)
        if file.exists():
            return check_row(file, read_json(file).get("row"), {"kind", "gamma", "psnr_50", "copies"})
        row = self.measured(point)
        write_row(file, {"facts": facts, "row": row})
        return row

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All facts that decide the study's rows, JSON-able."""
        return {
            **self.bench.identity,
            "corpus_name": self.bench.corpus.name,
            "images": self.images,
            "n": self.n,
            "config": self.config.to_json(),
            "twin_steps": self.twin_steps,
        }

    def _facts_of(self, point: Point) -> dict[str, Any]:
        """Return all facts that decide a point's row: no settings of other samplers."""
        shared = {key: value for key, value in self.facts.items() if key not in ("config", "twin_steps")}
        facts = {**shared, "version": VERSION, "kind": point.kind, "gamma": point.gamma}
        if point.kind == "pixels":
            return facts
        facts["tokens"] = self.tokens.id
        facts |= {"config": self.facts["config"]} if point.kind == "tokens" else {"twin_steps": self.twin_steps}
        return facts

    def measured(self, point: Point) -> Row:
        """Run a point and return its row."""
        stride = 1 if point.kind == "pixels" else self.tokens.stride
        gamma = self._largest_gamma(point.kind) if point.gamma is None else point.gamma
        row: Row = {"kind": point.kind, "gamma": point.name, "range": gamma * stride, "n": self.n}
        start = time.perf_counter()
        if point.kind == "twin":
            from npgen.tokens import twins

            recipe = TwinRecipe(gamma=point.gamma, steps=self.twin_steps, seed=self.bench.seed)
            twin = twins.train_twin(self.tokens, recipe, self.bench.device, quiet=True)
            row |= {"loss": twin.facts["loss"], "training_seconds": twin.facts["seconds"]}
            start = time.perf_counter()  # without training
            images = self.tokens.decode(twin.sample(self.n, self.bench.seed), threads=self.bench.threads)
        else:
            samples = self._samples(point)
            images = samples.images
        row["seconds_per_sample"] = (time.perf_counter() - start) / self.n
        if point.kind != "twin":
            window = min(WINDOW, *map(int, self.source.images.shape[1:3]))
            row |= mean_cells("image_id_entropy", entropy(samples, self.source, window).image_id)
        return row | self._distances(images, decoded=point.kind != "pixels") | self._quality(images)

    def _samples(self, point: Point) -> Samples:
        shared: dict[str, Any] = {
            "seed": self.bench.seed,
            "batch_size": self.bench.batch_size,
            "device": self.bench.device,
            "threads": self.bench.threads,
            "progress": False,
        }
        if point.kind == "tokens":
            config = dataclasses.replace(self.config, gamma=point.gamma)
            return generate(self.source, self.n, "local", config, tokens=self.tokens, **shared)
        gamma = self._largest_gamma("pixels") if point.gamma is None else point.gamma
        # Locality 0 and no limit per image, as with tokens: only the range limits the size of verbatim copies.
        window = 2 * gamma + 1
        pixels = Config(window=window, sigma=window / 6.4, locality=0, max_share=None)
        return generate(self.source, self.n, "local", pixels, **shared)

    def _distances(self, images: NDArray[np.uint8], decoded: bool) -> Row:
        """Measure distances to the nearest source image, and on request to the nearest decoded source image."""
        row = nearness("", images, self.source.images)
        return row | (nearness("decoded_", images, self._decoded) if decoded else {})

    @cached_property
    def _decoded(self) -> NDArray[np.uint8]:
        """The source images (N, H, W, C) decoded from their tokens: the best that a sampler of tokens can copy."""
        decoded = np.empty(self.source.images.shape, np.uint8)
        for start in range(0, len(decoded), DECODE):
            ids = np.arange(start, min(start + DECODE, len(decoded)))
            decoded[ids] = self.tokens.decode(self.tokens.codes(ids), threads=self.bench.threads)
        return decoded

    @cached_property
    def _reference(self) -> tuple[Network, FrechetReference] | None:
        """The network of the quality scores, and the Gaussian of all training images' features; None without them."""
        bench = self.bench
        if bench.corpus.labels is None and bench.network == "corpus":
            return None
        weights = None if bench.weights is None else Path(bench.weights)
        network = load_network(bench.network, NetworkRequest(bench.corpus, weights, bench.device, self.quiet))
        features = corpus_outputs(network, bench.corpus, quiet=self.quiet).features
        return network, FrechetReference(Moments.of(features).gaussian())

    def _quality(self, images: NDArray[np.uint8]) -> Row:
        if self._reference is None:
            return {}
        network, reference = self._reference
        return quality(outputs_of(network, images), reference, self.bench.seed)

    @cached_property
    def real(self) -> list[Row]:
        """The row of n real held-out images; empty if there are fewer."""
        heldout = self.bench.heldout or self.bench.corpus.heldout
        if heldout is None or len(heldout) < self.n:
            return []
        ids = np.sort(np.random.default_rng([self.bench.seed, 4]).choice(len(heldout), self.n, replace=False))
        images = np.asarray(heldout.images[ids])
        row: Row = {"kind": "real held-out", "gamma": None, "n": self.n}
        return [row | self._distances(images, decoded=self.has_tokens) | self._quality(images)]

    def notes(self) -> list[str]:
        """Return sentences that explain the table."""
        corpus = self.bench.corpus
        notes = [
            f"Corpus {corpus.name}, {self.images} of {len(corpus)} images as sources, {self.n} samples per row, seed "
            f"{self.bench.seed}. A copy has a PSNR of at least {COPY:g} dB to a source image.",
        ]
        if self.has_tokens:
            tokens = self.tokens
            changed = {
                key: value for key, value in self.config.to_json().items() if value != Config().to_json().get(key)
            }
            notes.append(
                f"Tokens of {tokens.bits} bits for {tokens.stride}×{tokens.stride} pixels, "
                f"{tokens.bits_per_image} bits per image, settings "
                f"{json.dumps(changed)}. A copied grid of tokens decodes to the autoencoder's reconstruction of the "
                "image, not to the image itself: “as decoded” compares with the reconstructions."
            )
        notes.append(
            "Pixels: model `local`, window 2γ + 1, σ = w / 6.4, locality 0, no limit per image, rings around an 8×8 "
            "seed patch."
        )
        if self._reference is None:
            notes.append("No quality scores: the corpus has no labels to train a classifier on.")
        else:
            notes.append(f"IS and Fréchet distance to all training images in network {self.bench.network}.")
        return [*notes, "Brackets are 95 % intervals."]
