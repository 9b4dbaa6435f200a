"""The γ study: how samples turn from new ones into copies as the sampler sees more of the canvas.

Three samplers, each over a series of ranges γ: of pixels (`local`, window 2γ + 1, same place), of tokens (same place,
raster order), and the tokens' parametric twin. All are measured alike: how near the nearest training image is, how many
samples are copies, how mixed the sources are, and how good the samples look.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.evaluation import (
    WINDOW,
    FrechetReference,
    Moments,
    NetworkRequest,
    corpus_outputs,
    entropy,
    load_network,
    outputs_of,
)
from npgen.output import Column, Row, csv_table, markdown_table, number
from npgen.runs import Samples
from npgen.sampling import generate
from npgen.storage import read_json, write_bytes, write_json
from npgen.studies.gamma_measures import COPY, QUANTILES, interval, nearness, quality
from npgen.studies.workbench import Workbench, claim_folder
from npgen.tokens import Tokens, load_tokens

FORMAT = "npgen-gamma-study"
VERSION = 1
KINDS = ("pixels", "tokens", "twin")
DECODE = 4096


@dataclass(frozen=True)
class GammaStudy:
    """What `gamma_study` found.

    Attributes
    ----------
    rows
        A row a sampler and range, then real held-out images; JSON-able values by name.
    notes
        What the table needs said below it.
    facts
        Corpus, settings, seed: what decides the rows.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def markdown(self) -> str:
        """Lay the rows out as a Markdown table with its notes."""
        columns = [
            Column("sampler", lambda row: row["kind"]),
            Column("γ", lambda row: row.get("gamma")),
            number("γ, pixels", "range", "d"),
            Column("PSNR to nearest training image, 5–50–95 %", lambda row: _quantiles(row, "psnr")),
            number("copies", "copies", ".1%"),
            Column("… to nearest as decoded", lambda row: _quantiles(row, "decoded_psnr")),
            number("copies as decoded", "decoded_copies", ".1%"),
            number("image-ID entropy", "image_id_entropy", ".3f"),
            number("IS", "inception_score", ".2f"),
            number("Fréchet", "frechet", ".2f"),
            number("nats / token", "loss", ".3f"),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]
        return "\n".join([markdown_table(columns, self.rows, 2), "", *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}


def gamma_study(
    corpus: Corpus,
    out: str | os.PathLike[str],
    gammas: Sequence[int | None] = (1, 2, 3, 5, 8, 12, None),
    n: int = 200,
    *,
    kinds: Sequence[str] = KINDS,
    images: int | None = None,
    tokens: str | os.PathLike[str] | Tokens = "auto",
    config: Config | None = None,
    twin_steps: int = 1000,
    seed: int = 0,
    heldout: Corpus | None = None,
    network: str = "corpus",
    weights: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> GammaStudy:
    """Run samplers over a series of ranges and measure the turn from generating to memorising.

    Each sampler and range is one row, written as soon as it is finished and never run again: an interrupted study goes
    on where it stopped. `results.csv`, `results.json`, `table.md` and a plot (PNG and SVG) are made of the rows; all
    but the timings are a function of the arguments.

    Parameters
    ----------
    corpus
        N source images. Quality scores need labels, or another network.
    out
        Folder to make, or that of an earlier study.
    gammas
        Ranges: of pixels in pixels, of tokens and their twin in cells. None is global: all cells before, or the largest
        window there is. A range that the images have no room for is left out where it would repeat the global one.
    n
        Samples of each, at least 4.
    kinds
        Some of "pixels", "tokens" and "twin".
    images
        Number of source images: the first ones in a random order of the corpus that the seed defines; None means all.
        Held-out images and quality scores stay those of the whole corpus.
    tokens
        The corpus's tokens, as in `load_tokens`.
    config
        Settings that tokens are drawn with: `epsilon`, `k_min`, `metric`, `draw`, `flip`; None means the defaults.
    twin_steps
        Steps that each twin is trained for.
    seed
        Seed of all draws.
    heldout
        Real images to measure beside the samples; None takes the corpus's own, if there are any.
    network, weights
        What the quality scores live in, as for `npgen.evaluate`.
    batch_size, device, threads
        As for `npgen.generate`.
    quiet
        Show no progress.

    Returns
    -------
    GammaStudy
        The rows.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `out` holds something else: before anything is run.
    ModuleNotFoundError
        If the extra `figures` is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plots need the extra `figures`: pip install "npgen[figures]"')
    bench = Workbench(corpus, seed, "pixels", heldout, network, weights, batch_size, device, threads)
    check_whole("n", n, 4)
    check_whole("images", len(corpus) if images is None else images, 2, len(corpus))
    check_whole("twin_steps", twin_steps, 1)
    check_type("config", config, Config, type(None))
    base = dataclasses.replace(config or Config(), order="raster", gamma=None)
    base.check_space(tokens=True)
    study = _Study(bench, _points(kinds, gammas), n, images or len(corpus), tokens, base, twin_steps, quiet)
    points = study.placed()
    folder = Path(out)
    claim_folder(folder, FORMAT, VERSION)
    rows: list[Row] = []
    with tqdm(points, unit="point", disable=quiet) as bar:
        for point in bar:
            bar.set_description(f"{point.kind} γ {point.name}")
            rows.append(study.row(point, folder))
            result = GammaStudy((*rows, *study.real), tuple(study.notes()), study.facts)
            _save(result, folder)
    from npgen.studies.gamma_plots import save_plot

    save_plot(result.rows, result.facts, folder)
    return result


def parse_gammas(text: str) -> list[int | None]:
    """Read ranges as the command line has them: whole numbers and `global`, with commas between them."""
    try:
        return [None if part.strip() == "global" else int(part) for part in text.split(",")]
    except ValueError as error:
        raise invalid("gammas", "whole numbers or global, with commas between them", text) from error


@dataclass(frozen=True)
class _Point:
    """One sampler at one range; None is global."""

    kind: str
    gamma: int | None

    @property
    def name(self) -> str:
        return "global" if self.gamma is None else str(self.gamma)


def _points(kinds: Sequence[str], gammas: Sequence[int | None]) -> list[_Point]:
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise invalid("kinds", f"one or more of {', '.join(KINDS)}, each once", kinds)
    if isinstance(gammas, str) or not gammas or len(set(gammas)) < len(gammas):
        raise invalid("gammas", "one or more ranges, each once", gammas)
    for gamma in gammas:
        if gamma is not None:
            check_whole("gammas", gamma, 1)
    ordered = sorted(gammas, key=lambda gamma: math.inf if gamma is None else gamma)
    return [_Point(kind, gamma) for kind in kinds for gamma in ordered]


class _Study:
    """What all points share."""

    def __init__(
        self,
        bench: Workbench,
        points: list[_Point],
        n: int,
        images: int,
        tokens: str | os.PathLike[str] | Tokens,
        config: Config,
        twin_steps: int,
        quiet: bool,
    ) -> None:
        self.bench, self.points, self.n, self.images, self.config = bench, points, n, images, config
        self.decodes = any(point.kind != "pixels" for point in points)
        self.twin_steps, self.quiet = twin_steps, quiet
        self.source, self.ids = bench.source(images)
        self._spec = tokens

    @cached_property
    def tokens(self) -> Tokens:
        """Those of the source images."""
        whole = load_tokens(self._spec, self.bench.corpus, device=self.bench.device, progress=not self.quiet)
        if whole.autoencoder is None:
            raise ValueError(f"tokens must have an autoencoder, as samples are measured in pixels, got {whole!r}")
        return whole if len(self.ids) == len(whole) else whole.part(self.ids, self.source.hash)

    def placed(self) -> list[_Point]:
        """Return the points, without those that see no more than the one before them, or than the global one."""
        kept = []
        for point in self.points:
            most = self._most(point.kind)
            has_global = _Point(point.kind, None) in self.points
            if point.gamma is None or point.gamma < most or (point.gamma == most and not has_global):
                kept.append(point)
        if not kept:
            raise invalid(
                "gammas",
                f"within the images, {self._most(self.points[0].kind)} at most, or global",
                [point.gamma for point in self.points],
            )
        return kept

    def _most(self, kind: str) -> int:
        """Return the largest range that sees more than those below it."""
        if kind == "pixels":
            return int(min(self.source.images.shape[1:3]) - 1) // 2
        return max(self.tokens.grid) - 1

    def row(self, point: _Point, folder: Path) -> Row:
        """Measure a point, unless its row is there already."""
        facts = self.facts_of(point)
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        file = folder / "rows" / f"{key}.json"
        if file.exists():
            row = read_json(file).get("row")
            if not isinstance(row, dict) or not {"kind", "gamma", "psnr_50", "copies"} <= set(row):
                raise invalid(f"row {str(file)!r}", "as it was written (delete it to have it made again)", row)
            return row
        row = self._measured(point)
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"facts": facts, "row": row})
        return row

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What all rows depend on."""
        return {
            **self.bench.identity,
            "corpus_name": self.bench.corpus.name,
            "images": self.images,
            "n": self.n,
            "config": self.config.to_json(),
            "twin_steps": self.twin_steps,
        }

    def facts_of(self, point: _Point) -> dict[str, Any]:
        """Return what a row depends on: nothing that other samplers alone have."""
        shared = {key: value for key, value in self.facts.items() if key not in ("config", "twin_steps")}
        facts = {**shared, "version": VERSION, "kind": point.kind, "gamma": point.gamma}
        if point.kind == "pixels":
            return facts
        facts["tokens"] = self.tokens.id
        facts |= {"config": self.facts["config"]} if point.kind == "tokens" else {"twin_steps": self.twin_steps}
        return facts

    def _measured(self, point: _Point) -> Row:
        stride = 1 if point.kind == "pixels" else self.tokens.stride
        gamma = self._most(point.kind) if point.gamma is None else point.gamma
        row: Row = {"kind": point.kind, "gamma": point.name, "range": gamma * stride, "n": self.n}
        began = time.perf_counter()
        if point.kind == "twin":
            from npgen.tokens import TwinRecipe, twins

            recipe = TwinRecipe(gamma=point.gamma, steps=self.twin_steps, seed=self.bench.seed)
            twin = twins.train_twin(self.tokens, recipe, self.bench.device, quiet=True)
            row |= {"loss": twin.facts["loss"], "training_seconds": twin.facts["seconds"]}
            began = time.perf_counter()
            images = self.tokens.decode(twin.sample(self.n, self.bench.seed), threads=self.bench.threads)
        else:
            samples = self._samples(point)
            images = samples.images
        row["seconds_per_sample"] = (time.perf_counter() - began) / self.n
        if point.kind != "twin":
            row |= interval("image_id_entropy", entropy(samples, self.source, self._window).image_id)
        return row | self._distances(images, decoded=point.kind != "pixels") | self._quality(images)

    def _samples(self, point: _Point) -> Samples:
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
        gamma = self._most("pixels") if point.gamma is None else point.gamma
        # Same place and no quota, as with tokens: what is copied in one piece is bounded by the range alone.
        pixels = Config(window=2 * gamma + 1, locality=0, quota=None)
        return generate(self.source, self.n, "local", pixels, **shared)

    @property
    def _window(self) -> int:
        return min(WINDOW, *map(int, self.source.images.shape[1:3]))

    def _distances(self, images: NDArray[np.uint8], decoded: bool) -> Row:
        """Measure how near the nearest source image is, as it is and as its tokens show it."""
        row = nearness("", images, self.source.images)
        return row | (nearness("decoded_", images, self._decoded) if decoded else {})

    @cached_property
    def _decoded(self) -> NDArray[np.uint8]:
        """The source images as their tokens show them: what a sampler of tokens can recall at best."""
        shown = np.empty(self.source.images.shape, np.uint8)
        for start in range(0, len(shown), DECODE):
            ids = np.arange(start, min(start + DECODE, len(shown)))
            shown[ids] = self.tokens.decode(self.tokens.codes(ids), threads=self.bench.threads)
        return shown

    @cached_property
    def _eyes(self) -> tuple[Any, FrechetReference] | None:
        """The network that quality scores live in, and the Gaussian of all training images there."""
        bench = self.bench
        if bench.corpus.labels is None and bench.network == "corpus":
            return None
        weights = None if bench.weights is None else Path(bench.weights)
        eyes = load_network(bench.network, NetworkRequest(bench.corpus, weights, bench.device, self.quiet))
        features = corpus_outputs(eyes, bench.corpus, quiet=self.quiet).features
        return eyes, FrechetReference(Moments.of(features).gaussian())

    def _quality(self, images: NDArray[np.uint8]) -> Row:
        if self._eyes is None:
            return {}
        eyes, reference = self._eyes
        return quality(outputs_of(eyes, images), reference, self.bench.seed)

    @cached_property
    def real(self) -> list[Row]:
        """The row of as many real held-out images, if there are so many."""
        apart = self.bench.heldout or self.bench.corpus.heldout
        if apart is None or len(apart) < self.n:
            return []
        ids = np.sort(np.random.default_rng([self.bench.seed, 4]).choice(len(apart), self.n, replace=False))
        images = np.asarray(apart.images[ids])
        row: Row = {"kind": "real held-out", "gamma": None, "n": self.n}
        return [row | self._distances(images, decoded=self.decodes) | self._quality(images)]

    def notes(self) -> list[str]:
        """Say what the numbers mean."""
        corpus = self.bench.corpus
        notes = [
            f"Corpus {corpus.name}, {self.images} of {len(corpus)} images as sources, {self.n} samples a row, seed "
            f"{self.bench.seed}. A copy is nearer than {COPY:g} dB to a source image.",
        ]
        if self.decodes:
            tokens = self.tokens
            changed = {key: value for key, value in self.config.to_json().items() if value != Config().to_json()[key]}
            notes.append(
                f"Tokens of {tokens.bits} bits for {tokens.stride}×{tokens.stride} pixels, "
                f"{tokens.bits_per_image} bits an image, settings "
                f"{json.dumps(changed)}. A recalled grid of tokens decodes to what the autoencoder makes of the image, "
                "not to the image itself: “as decoded” measures against the former."
            )
        notes.append("Pixels: model `local`, window 2γ + 1, locality 0, no quota, rings around an 8×8 seed patch.")
        if self._eyes is None:
            notes.append("No quality scores: the corpus has no labels to train a classifier on.")
        else:
            notes.append(f"IS and Fréchet distance to all training images in network {self.bench.network}.")
        return [*notes, "Brackets are 95 % intervals."]


def _quantiles(row: Row, key: str) -> str | None:
    values = [row.get(f"{key}_{q:02}") for q in QUANTILES]
    return None if None in values else "–".join(f"{value:.1f}" for value in values)


def _save(result: GammaStudy, folder: Path) -> None:
    write_json(folder / "results.json", result.to_json())
    write_bytes(folder / "results.csv", csv_table(result.rows))
    write_bytes(folder / "table.md", f"{result.markdown()}\n".encode())
