"""The scan of one pixel: npgen and its rivals on the same candidates, held to the same pools, timed in turns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen import _core
from npgen.bench_rivals import FORMS, Aim, Form, extended, margin, pool, take_aim, use_threads
from npgen.bench_task import LEAST_ROUNDS, NPGEN, SEED, VISIT, Row, Task, in_turns, not_installed, timed
from npgen.config import Config, find_model, known_rect
from npgen.corpus import Corpus, load_corpus
from npgen.embed import embed
from npgen.encoder import AnyEncoder, load_encoder
from npgen.filling import candidate_pool, fill_order
from npgen.generate import generate
from npgen.stages import Run

# The scan's setting: 300 images × 25 positions, and pixels that know 40 taps × 3 channels.
SETTING = Config(window=9, locality=2, epsilon=0.1, k_min=1, shortlist=300, anchor_weight=1)
SOURCES, TERMS = 25, 120
PIXELS = 4
KERNEL = "npgen: kernel alone, nothing skipped"
# Largest error of a rival's distance, in squared grey levels: of differences and of products in single precision.
TOLERANCE = {True: 0.01, False: 0.1}


@dataclass(frozen=True, eq=False)
class Scene:
    """Generation, stopped in the middle: a canvas, its shortlist, and pixels about to be filled.

    Attributes
    ----------
    corpus
        N images (H, W, C).
    canvas
        (H, W, C) uint8.
    shortlist
        (K,) int32, ascending.
    pixels
        Pixels (y, x), each with the mask (H, W) of what is known when its turn comes.
    """

    corpus: Corpus
    canvas: NDArray[np.uint8]
    shortlist: NDArray[np.int32]
    pixels: list[tuple[tuple[int, int], NDArray[np.bool_]]]


def synthetic_corpus(count: int = 1000, side: int = 32) -> Corpus:
    """Make smooth random RGB images: coarse noise, interpolated."""
    random = np.random.default_rng(SEED)
    cells = 6
    coarse = random.integers(0, 256, (count, cells, cells, 3))
    at = np.linspace(0, cells - 1, side)
    up = np.stack([np.interp(at, np.arange(cells), row) for row in np.eye(cells)], 1)  # (side, cells)
    images = np.einsum("yi,nijc,xj->nyxc", up, coarse, up, optimize=True)
    return Corpus.from_arrays(np.round(images).astype(np.uint8), name="synthetic")


def find_scene(corpus: Corpus, encoder: AnyEncoder, threads: int) -> Scene | None:
    """Grow one sample and stop at pixels that fit `SETTING`; None if the corpus has none, or too few images."""
    height, width, channels = corpus.images.shape[1:]
    if channels != 3 or len(corpus) <= SETTING.shortlist or min(height, width) < SETTING.window:
        return None
    rect = SETTING.seed_rect(height, width)
    known = known_rect((height, width), rect)
    fitting = []
    for y, x in fill_order(height, width, rect, SETTING.window).pixels.tolist():
        aim = take_aim(known, (y, x), channels, SETTING)
        if len(aim.sources) == SOURCES and len(aim.context) == TERMS:
            fitting.append(((y, x), known.copy()))
        known[y, x] = True
    if not fitting:
        return None
    chosen = [fitting[at] for at in np.linspace(0, len(fitting) - 1, PIXELS).astype(int)]
    options: dict[str, Any] = {"encoder": encoder, "threads": threads, "progress": False}
    sample = generate(corpus, 1, "full", SETTING, SEED, **options)
    anchor = np.asarray(corpus.images[sample.anchor])  # (1, H, W, C)
    query = encoder.encode(anchor, np.ones((height, width), np.bool_), threads=threads)
    keys = embed(corpus, encoder, threads=threads, progress=False)
    ids, _ = _core.shortlist(keys, query, SETTING.shortlist, sample.anchor, threads)
    return Scene(corpus, sample.images[0], np.sort(ids[0]), chosen)


def agrees(reference: NDArray[np.float64], near: NDArray[np.intp], sources: NDArray[np.intp], tolerance: float) -> bool:
    """Tell whether a pool is the one that distances (S, K) call for, up to an error of `tolerance` in them.

    Parameters
    ----------
    reference
        True distances.
    near, sources
        The pool: positions in the shortlist, and each one's source.
    tolerance
        In squared grey levels.
    """
    best = reference.min(0)
    limit = (1 + SETTING.epsilon) * best.min()
    found = reference[sources, near]
    due = np.flatnonzero(best < limit - tolerance)
    members = set(near.tolist())
    return bool(
        len(members) == len(near) > 0
        and members.issuperset(due.tolist())
        and (found <= limit + (1 + SETTING.epsilon) * tolerance).all()
        and (found <= best[near] + tolerance).all()
    )


def _reference(scene: Scene, aim: Aim) -> NDArray[np.float64]:
    """All distances (S, K) in double precision, straight from the definition."""
    images = extended(scene.corpus.images[scene.shortlist], margin(SETTING)).astype(np.float64)
    context = scene.canvas.reshape(-1)[aim.context].reshape(-1, 3)
    windows = images[:, aim.corners[..., 0], aim.corners[..., 1]]  # (K, S, T, C)
    weights = aim.weights.astype(np.float64).reshape(-1, 3)
    distances: NDArray[np.float64] = np.einsum("kstc,tc->sk", (windows - context) ** 2, weights)
    return distances


def _run_form(form: Form, context: NDArray[np.float32], ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], ...]:
    return pool(form.distances(context), SETTING.epsilon, ids)


class _Scan:
    """All contenders for one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.aims = [take_aim(known, pixel, 3, SETTING) for pixel, known in scene.pixels]
        flat = scene.canvas.reshape(-1)
        self.contexts = [flat[aim.context].astype(np.float32) for aim in self.aims]
        self.references = [_reference(scene, aim) for aim in self.aims]
        self.filler = Run(scene.corpus, find_model("full"), SETTING, SEED, threads=1).filler
        self.sizes = [self._check_own(k) for k in range(len(self.aims))]

    def _check_own(self, k: int) -> int:
        """Hold npgen's pool to the reference and return its size."""
        pixel, known = self.scene.pixels[k]
        members = candidate_pool(self.scene.corpus, self.scene.canvas, known, pixel, SETTING, self.scene.shortlist)
        near = np.searchsorted(self.scene.shortlist, members.image_id)
        found = np.stack([members.y, members.x], 1)
        sources = (found[:, None] == self.aims[k].sources).all(2).argmax(1)
        # The reference's weights are those of the rivals, in single precision.
        tolerance = 1e-5 * (1 + float(self.references[k].min()))
        if not agrees(self.references[k], near, sources, tolerance):
            raise RuntimeError(f"npgen's pool of pixel {pixel} is not the definition's")
        return len(members)

    def prepared(self, form: type[Form]) -> Form:
        """Set a rival up, and hold its pools to the reference."""
        made = form()
        by = margin(SETTING)
        made.prepare(extended(self.scene.corpus.images[self.scene.shortlist], by))
        for aim, context, reference in zip(self.aims, self.contexts, self.references, strict=True):
            made.aim(aim)
            near, sources = _run_form(made, context, self.scene.shortlist)
            if not agrees(reference, near, sources, TOLERANCE[form.exact]):
                raise RuntimeError(f"the pool of {form.library} ({form.name}) is not npgen's")
        return made

    def time_own(self, k: int, prune: bool) -> list[float]:
        pixel, known = self.scene.pixels[k]
        seconds, size = self.filler.time_scan(self.scene.canvas, known, pixel, self.scene.shortlist, VISIT + 1, prune)
        if prune and size != self.sizes[k]:
            raise RuntimeError(f"npgen's timed pool must have {self.sizes[k]} members, got {size}")
        return list(seconds[1:].tolist())

    def time_form(self, form: Form, k: int) -> list[float]:
        form.aim(self.aims[k])
        context, ids = self.contexts[k], self.scene.shortlist
        return timed(lambda: _run_form(form, context, ids), VISIT + 1)[1:]

    def time_cold(self, form: type[Form] | None) -> float:
        """Time all it takes to one pool from images as they lie in the corpus; None stands for npgen."""
        (pixel, known), corpus, ids = self.scene.pixels[0], self.scene.corpus, self.scene.shortlist
        start = time.perf_counter()
        if form is None:
            candidate_pool(corpus, self.scene.canvas, known, pixel, SETTING, ids)
        else:
            aim = take_aim(known, pixel, 3, SETTING)
            by = margin(SETTING)
            reach = [
                np.clip(np.arange(at - by, at + by + 1), 0, corpus.images.shape[1 + d] - 1)
                for d, at in enumerate(pixel)
            ]
            made = form()
            made.prepare(corpus.images[ids[:, None, None], reach[0][:, None], reach[1]])
            made.aim(dataclasses.replace(aim, corners=aim.corners - pixel, shape=(len(reach[0]), len(reach[1]), 3)))
            _run_form(made, self.scene.canvas.reshape(-1)[aim.context].astype(np.float32), ids)
        return time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class _Contender:
    """A row, what times it at one of the pixels, and the rival's form; None for npgen."""

    row: Row
    visit: Callable[[int], list[float]]
    form: type[Form] | None


def measure_scan(task: Task) -> list[Row]:
    """Time one pixel's scan, npgen's and everybody else's, in turns."""
    corpus = load_corpus(task.corpus)
    scene = find_scene(corpus, load_encoder(task.encoder, corpus), task.threads)
    if scene is None:
        images = synthetic_corpus()
        scene = find_scene(images, load_encoder("pixels", images), task.threads)
        assert scene is not None
    scan = _Scan(scene)
    what = f"scan of one pixel ({scene.corpus.name})"
    contenders, absent = [], []
    if task.takes(NPGEN):
        for who, prune in ((NPGEN, True), (KERNEL, False)):
            row = Row(what, who, 1, "scan", None)
            contenders.append(_Contender(row, partial(scan.time_own, prune=prune), None))
    for form in FORMS:
        if not task.takes(form.library) or (task.threads > 1 and not form.threaded):
            continue
        row = Row(what, f"{form.library}: {form.name}", task.threads, "scan", None, exact=form.exact)
        try:
            use_threads(form.library, task.threads)
            contenders.append(_Contender(row, partial(scan.time_form, scan.prepared(form)), form))
        except ModuleNotFoundError as error:
            row.remark = not_installed(error)
            absent.append(row)
    visits = [partial(contender.visit, k) for contender in contenders for k in range(PIXELS)]
    times = in_turns(visits, task.seconds)
    for place, contender in enumerate(contenders):
        _sum_up(contender, times[place * PIXELS : (place + 1) * PIXELS], scan)
    return [contender.row for contender in contenders] + absent


def _sum_up(contender: _Contender, times: list[list[float]], scan: _Scan) -> None:
    """Complete a contender's row from its times at each pixel."""
    row = contender.row
    row.seconds = float(np.mean([np.median(mine) for mine in times]))
    row.details = {"repeats": sum(map(len, times)), "pool": scan.sizes}
    if row.who != NPGEN:  # which does not compute all of them
        row.terms = SETTING.shortlist * SOURCES * TERMS / row.seconds / row.threads
    if row.who != KERNEL:
        cold = float(np.median([scan.time_cold(contender.form) for _ in range(LEAST_ROUNDS + 2)][2:]))
        row.details["cold_seconds"] = cold
        row.remark = f"{cold * 1e3:.2f} ms with nothing prepared"
