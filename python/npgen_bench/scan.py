"""The scan of one pixel: npgen and its rivals on the same candidates, checked for the same pools, timed in turns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config
from npgen.corpus import Corpus, load_corpus
from npgen.encoders import AnyEncoder, embed, load_encoder
from npgen.sampling import Library, PixelPlan, PixelRun, candidate_pool, fill_order, generate, known_rect
from npgen_bench.libraries import not_installed, use_threads
from npgen_bench.rivals import FORMS, Form, ScanLayout, extend, lay_out_scan, margin, pool
from npgen_bench.task import MIN_ROUNDS, NPGEN, RUNS_PER_TURN, SEED, Row, Task, in_turns, timed

# The scan that is measured: 300 images × 25 positions, at pixels with 40 known taps × 3 channels.
SETTING = Config(window=9, sigma=9 / 6.4, locality=2, max_share=None, shortlist=300, query_expansion=0)
SOURCES, TERMS = 25, 120
PIXELS = 4
KERNEL = "npgen: kernel alone, nothing skipped"
# Largest error of a rival's distance in single precision, in squared grey levels, by `Form.exact`.
TOLERANCE = {True: 0.01, False: 0.1}


@dataclass(frozen=True, eq=False)
class Scene:
    """A run stopped half-way: a canvas, its shortlist, and pixels that can be scanned.

    Attributes
    ----------
    corpus
        N images (H, W, C).
    canvas
        (H, W, C) uint8.
    shortlist
        (K,) int32 ids, ascending.
    pixels
        Pixels (y, x), each with the mask (H, W) of the pixels that are known before it is filled.
    """

    corpus: Corpus
    canvas: NDArray[np.uint8]
    shortlist: NDArray[np.int32]
    pixels: list[tuple[tuple[int, int], NDArray[np.bool_]]]


def synthetic_corpus(count: int = 1000, side: int = 32) -> Corpus:
    """Make smooth random RGB images: coarse noise, interpolated linearly."""
    random = np.random.default_rng(SEED)
    cells = 6
    coarse = random.integers(0, 256, (count, cells, cells, 3))
    at = np.linspace(0, cells - 1, side)
    up = np.stack([np.interp(at, np.arange(cells), row) for row in np.eye(cells)], 1)  # (side, cells)
    images = np.einsum("yi,nijc,xj->nyxc", up, coarse, up, optimize=True)
    return Corpus.from_arrays(np.round(images).astype(np.uint8), name="synthetic")


def find_scene(corpus: Corpus, encoder: AnyEncoder, threads: int) -> Scene | None:
    """Generate one sample and choose pixels with `SOURCES` candidates per image and `TERMS` terms each.

    Return None if there are none, or if the corpus has too few images.
    """
    height, width, channels = corpus.images.shape[1:]
    if channels != 3 or len(corpus) <= SETTING.shortlist or min(height, width) < SETTING.window:
        return None
    rect = SETTING.seed_rect(height, width)
    known = known_rect((height, width), rect)
    fitting = []
    for y, x in fill_order(height, width, rect, SETTING.window).pixels.tolist():
        layout = lay_out_scan(known, (y, x), channels, SETTING)
        if len(layout.sources) == SOURCES and len(layout.context) == TERMS:
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
    """Return whether a pool is the one that the true distances define, up to an error of `tolerance` in them.

    Parameters
    ----------
    reference
        True distances (S, K).
    near, sources
        The pool: of each member, the position in the shortlist and the number of its source.
    tolerance
        Error in squared grey levels.
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


def _reference(scene: Scene, layout: ScanLayout) -> NDArray[np.float64]:
    """Compute all distances (S, K) by the definition, in double precision."""
    images = extend(scene.corpus.images[scene.shortlist], margin(SETTING)).astype(np.float64)
    context = scene.canvas.reshape(-1)[layout.context].reshape(-1, 3)
    windows = images[:, layout.taps[..., 0], layout.taps[..., 1]]  # (K, S, T, C)
    weights = layout.weights.astype(np.float64).reshape(-1, 3)
    distances: NDArray[np.float64] = np.einsum("kstc,tc->sk", (windows - context) ** 2, weights)
    return distances


def _run_form(form: Form, context: NDArray[np.float32], ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], ...]:
    return pool(form.distances(context), SETTING.epsilon, ids)


class _Scan:
    """The scene, the true distances, and the contenders' runs on it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.layouts = [lay_out_scan(known, pixel, 3, SETTING) for pixel, known in scene.pixels]
        flat = scene.canvas.reshape(-1)
        self.contexts = [flat[layout.context].astype(np.float32) for layout in self.layouts]
        self.references = [_reference(scene, layout) for layout in self.layouts]
        plan = PixelPlan(scene.corpus, "full", SETTING, SEED)
        self.filler = PixelRun(plan, Library(scene.corpus), threads=1).scan
        self.sizes = [self._check_own(k) for k in range(len(self.layouts))]

    def _check_own(self, k: int) -> int:
        """Check npgen's pool of one pixel against the true distances, and return its size."""
        pixel, known = self.scene.pixels[k]
        members = candidate_pool(self.scene.corpus, self.scene.canvas, known, pixel, SETTING, self.scene.shortlist)
        near = np.searchsorted(self.scene.shortlist, members.image_id)
        found = np.stack([members.y, members.x], 1)
        sources = (found[:, None] == self.layouts[k].sources).all(2).argmax(1)
        # The reference takes its weights from the rivals, in single precision.
        tolerance = 1e-5 * (1 + float(self.references[k].min()))
        if not agrees(self.references[k], near, sources, tolerance):
            raise RuntimeError(f"npgen's pool of pixel {pixel} is not the definition's")
        return len(members)

    def prepared(self, form: type[Form]) -> Form:
        """Prepare a rival's form, and check its pools against the true distances."""
        made = form()
        by = margin(SETTING)
        made.prepare(extend(self.scene.corpus.images[self.scene.shortlist], by))
        for layout, context, reference in zip(self.layouts, self.contexts, self.references, strict=True):
            made.set_pixel(layout)
            near, sources = _run_form(made, context, self.scene.shortlist)
            if not agrees(reference, near, sources, TOLERANCE[form.exact]):
                raise RuntimeError(f"the pool of {form.library} ({form.name}) is not npgen's")
        return made

    def time_own(self, k: int, prune: bool) -> list[float]:
        pixel, known = self.scene.pixels[k]
        seconds, size = self.filler.time_scan(
            self.scene.canvas, known, pixel, self.scene.shortlist, RUNS_PER_TURN + 1, prune
        )
        if prune and size != self.sizes[k]:
            raise RuntimeError(f"npgen's timed pool must have {self.sizes[k]} members, got {size}")
        return list(seconds[1:].tolist())

    def time_form(self, form: Form, k: int) -> list[float]:
        form.set_pixel(self.layouts[k])
        context, ids = self.contexts[k], self.scene.shortlist
        return timed(lambda: _run_form(form, context, ids), RUNS_PER_TURN + 1)[1:]

    def time_cold(self, form: type[Form] | None) -> float:
        """Time one pool with nothing prepared, from the images of the corpus; None means npgen."""
        (pixel, known), corpus, ids = self.scene.pixels[0], self.scene.corpus, self.scene.shortlist
        start = time.perf_counter()
        if form is None:
            candidate_pool(corpus, self.scene.canvas, known, pixel, SETTING, ids)
        else:
            layout = lay_out_scan(known, pixel, 3, SETTING)
            by = margin(SETTING)
            reach = [
                np.clip(np.arange(at - by, at + by + 1), 0, corpus.images.shape[1 + d] - 1)
                for d, at in enumerate(pixel)
            ]
            made = form()
            made.prepare(corpus.images[ids[:, None, None], reach[0][:, None], reach[1]])
            shape = len(reach[0]), len(reach[1]), 3
            made.set_pixel(dataclasses.replace(layout, taps=layout.taps - pixel, shape=shape))
            _run_form(made, self.scene.canvas.reshape(-1)[layout.context].astype(np.float32), ids)
        return time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class _Contender:
    """A row, the function that times one turn at one of the pixels, and the rival's form; None for npgen."""

    row: Row
    turn: Callable[[int], list[float]]
    form: type[Form] | None


def measure_scan(task: Task) -> list[Row]:
    """Time the scan of one pixel, npgen's and that of all rivals, in turns."""
    corpus = load_corpus(task.corpus)
    scene = find_scene(corpus, load_encoder(task.encoder, corpus), task.threads)
    if scene is None:
        images = synthetic_corpus()
        scene = find_scene(images, load_encoder("pixels", images), task.threads)
        assert scene is not None
    scan = _Scan(scene)
    what = f"scan of one pixel ({scene.corpus.name})"
    contenders, missing = [], []
    if task.includes(NPGEN):
        for who, prune in ((NPGEN, True), (KERNEL, False)):
            row = Row(what, who, 1, "scan", None)
            contenders.append(_Contender(row, partial(scan.time_own, prune=prune), None))
    for form in FORMS:
        if not task.includes(form.library) or (task.threads > 1 and not form.threaded):
            continue
        row = Row(what, f"{form.library}: {form.name}", task.threads, "scan", None, exact=form.exact)
        try:
            use_threads(form.library, task.threads)
            contenders.append(_Contender(row, partial(scan.time_form, scan.prepared(form)), form))
        except ModuleNotFoundError as error:
            row.remark = not_installed(error)
            missing.append(row)
    turns = [partial(contender.turn, k) for contender in contenders for k in range(PIXELS)]
    times = in_turns(turns, task.seconds)
    for place, contender in enumerate(contenders):
        _sum_up(contender, times[place * PIXELS : (place + 1) * PIXELS], scan)
    return [contender.row for contender in contenders] + missing


def _sum_up(contender: _Contender, times: list[list[float]], scan: _Scan) -> None:
    """Complete a contender's row from its times at each pixel."""
    row = contender.row
    row.seconds = float(np.mean([np.median(seconds) for seconds in times]))
    row.details = {"repeats": sum(map(len, times)), "pool": scan.sizes}
    if row.who != NPGEN:  # npgen skips some terms
        row.terms = SETTING.shortlist * SOURCES * TERMS / row.seconds / row.threads
    if row.who != KERNEL:
        cold = float(np.median([scan.time_cold(contender.form) for _ in range(MIN_ROUNDS + 2)][2:]))
        row.details["cold_seconds"] = cold
        row.remark = f"{cold * 1e3:.2f} ms with nothing prepared"
