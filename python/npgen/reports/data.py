"""The data of a report: samples, statistics, sources and pools, as one JSON-able value."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import find_model
from npgen.corpus import Corpus
from npgen.errors import check_number, check_whole, invalid
from npgen.evaluation import WINDOW, entropy, largest_shares, longest_runs
from npgen.output import colours_of_classes
from npgen.reports.packing import Sheets, pack_images, packed
from npgen.reports.pools import StoredPools, compute_pools
from npgen.runs import (
    Samples,
    at_level,
    before_seams,
    check_samples,
    class_name,
    coloured_by_image,
    recut_pixels,
)
from npgen.sampling import drawn_order, filled_order
from npgen.storage import npy

MEGABYTE = 10**6
# By default, pools of the first `POOLS` samples are stored, if a pixel's pool comes from at most `POOL_IMAGES` images:
# more take too long.
POOLS = 4
POOL_IMAGES = 2000
# Largest work of all pools that are computed unasked, some ten seconds: pixels compared, and pixels of canvases rebuilt
# before a draw, each of which takes as long as so many.
POOL_WORK = 1 << 30
REBUILT = 8
# Source images of a coarser level that are named.
LEVEL_SOURCES = 3
# All classes of a corpus are named if they are at most this many.
CLASSES = 1000
# Bytes of the rectangle of a source on its sheet, and of all smaller parts together.
RECT = 24
SLACK = 10_000


@dataclass(frozen=True)
class Options:
    """Options of a report.

    Attributes
    ----------
    count
        Number of samples that are shown, at most all.
    pools
        Indices of the samples whose pools are stored, ascending; None lets the report choose.
    megabytes
        Largest size of the file, in 10⁶ bytes.
    """

    count: int
    pools: tuple[int, ...] | None
    megabytes: float

    @classmethod
    def checked(cls, samples: Samples, count: int, pools: Sequence[int] | None, megabytes: float) -> Options:
        """Return checked options; raise TypeError or ValueError if one is out of range."""
        check_whole("count", count, 1)
        if len(samples) == 0:
            raise invalid("samples", "at least 1", 0)
        check_number("megabytes", megabytes, above=0)
        count = min(count, len(samples))
        for k in pools or ():
            check_whole("each of pools", k, 0, count - 1, allowed=f"the index of a sample shown, in 0…{count - 1}")
        return cls(count, None if pools is None else tuple(sorted({int(k) for k in pools})), float(megabytes))


def build_payload(samples: Samples, corpus: Corpus, options: Options, room: int, progress: bool) -> dict[str, Any]:
    """Collect all data of the page, in at most `room` bytes of JSON.

    Parameters
    ----------
    samples, corpus
        As for `npgen.report`.
    options
        Options of the report.
    room
        Largest size in bytes.
    progress
        Show a progress bar while pools are computed.

    Returns
    -------
    dict
        JSON-able; `notes` lists what was left out.

    Raises
    ------
    ValueError
        If the samples were made from another corpus, or the traces alone take more room.
    """
    # 1. Check the samples, and collect all data but the source images.
    shown = samples[: options.count]
    _check_trace(shown, corpus)
    notes = []
    if len(shown) < len(samples):
        notes.append(f"The first {len(shown):,} of {len(samples):,} samples are shown.")
    if corpus.labels is None:
        notes.append("The corpus has no labels, so there is no class map.")
    drawn = drawn_order(shown)
    order, stages = drawn.pixels, drawn.stages
    pools, note = _chosen_pools(shown, corpus, options.pools, order, progress)
    notes += note
    sources = _Sources(shown, corpus, pools)
    classes = _Classes(corpus, sources.ids)
    payload = _run_facts(shown, corpus) | {
        **classes.facts(),
        "order": packed(order[:, 0] * shown.images.shape[2] + order[:, 1]),
        "stages": stages.tolist(),
        "columns": _columns(shown, corpus, classes),
        "trace": _trace(shown, sources),
        "anchor": packed(sources.index(shown.anchor)),
        "sources": sources.facts(classes),
        "pools": {str(k): pool.packed(sources.index) for k, pool in pools.items()},
    }
    if shown.coarse is not None:
        payload["levels"] = [_level(at_level(shown, level)) for level in range(1, shown.config.levels)]
    if shown.grown is not None:
        payload["grown"] = _grown(shown, corpus, sources)
    # 2. Fill the room that is left with source images.
    length = len(json.dumps(payload)) + RECT * len(sources.ids) + SLACK
    if length > room:
        needed = math.ceil(10 * (options.megabytes + (length - room) / MEGABYTE)) / 10
        fewer = int(len(shown) * room / length)
        allowed = f"at least {needed:g} for {len(shown)} samples" + (f", or count at most {fewer}" if fewer > 0 else "")
        raise invalid("megabytes", allowed, options.megabytes)
    sheets = pack_images(npy.read_rows(corpus.images, sources.ids), sources.windows, room - length, sources.frames)
    notes += _left_out(sheets, sources, options.megabytes)
    payload["sheets"] = {
        "uris": sheets.uris,
        "columns": sheets.columns,
        "cells": sheets.cells,
        "rects": packed(sheets.rects),
    }
    return payload | {"notes": notes}


def _check_trace(samples: Samples, corpus: Corpus) -> None:
    """Raise ValueError unless every pixel is a copy of its source: the page shows them as copies."""
    check_samples(samples, corpus)
    if samples.codes is None and not np.array_equal(samples.replay(corpus), samples.images):
        raise invalid("samples", "what corpus and trace give back (see npgen verify)", samples)


def _run_facts(samples: Samples, corpus: Corpus) -> dict[str, Any]:
    return {
        "provenance": samples.provenance(),
        "shown": len(samples),
        "shape": list(samples.images.shape[1:]),
        "source_shape": list(corpus.images.shape[1:]),
        "corpus_size": len(corpus),
        "window": samples.config.window,
        "compared": find_model(samples.model).low_level and samples.codes is None,
        "distance_unit": "squared grey levels" if samples.codes is None else "shares of the bits compared",
        "sweeps": samples.config.sweeps,
        "entropy_window": min(WINDOW, *samples.images.shape[1:3]),
    }


def _columns(samples: Samples, corpus: Corpus, classes: _Classes) -> list[dict[str, Any]]:
    """Return the columns of the table of statistics, one number per sample."""
    trace = samples.trace
    drawn = trace.pool_size > 0  # (n, H, W)
    count = np.maximum(drawn.sum((1, 2)), 1)  # (n,) drawn pixels
    entropies = entropy(samples, corpus, min(WINDOW, *samples.images.shape[1:3]))
    order = None if samples.codes is None else filled_order(samples).pixels
    columns: list[tuple[str, str, str, int, NDArray[Any] | None]] = [
        ("seed_class", "seed's class", "", 0, classes.of(samples.anchor)),
        ("image_id_entropy", "image-ID entropy", "nats", 2, entropies.image_id),
        ("class_entropy", "class entropy", "nats", 2, entropies.class_map),
        ("sources", "source images", "", 0, np.array([len(np.unique(ids)) for ids in trace.image_id])),
        ("largest_share", "largest share", "%", 1, 100 * largest_shares(trace)),
        ("longest_run", "longest verbatim run", "px", 0, longest_runs(trace, samples.config.window, order)),
        ("distance", "mean distance", "", 0, (trace.distance * drawn).sum((1, 2), dtype=np.float64) / count),
        ("pool", "mean pool size", "", 1, (trace.pool_size * drawn).sum((1, 2)) / count),
    ]
    if samples.seam_energy is not None:
        before, after = samples.seam_energy.T
        changed = 100 * recut_pixels(samples).mean((1, 2))
        columns += [
            ("seams_before", "seams before the cuts", "grey levels", 0, before),
            ("seams_after", "seams after the cuts", "grey levels", 0, after),
            ("recut", "pixels that the cuts changed", "%", 1, changed),
        ]
    return [
        {"key": key, "name": name, "unit": unit, "digits": digits, "values": values.tolist()}
        for key, name, unit, digits, values in columns
        if values is not None
    ]


def _trace(samples: Samples, sources: _Sources) -> dict[str, dict[str, str]]:
    trace = samples.trace
    arrays: dict[str, NDArray[Any]] = {
        "image": samples.images,
        "source": sources.index(trace.image_id),
        "y": trace.y,
        "x": trace.x,
        "distance": trace.distance,
        "pool": trace.pool_size,
    }
    return {name: packed(array) for name, array in arrays.items()}


def _level(samples: Samples) -> dict[str, Any]:
    """Return a coarser level: canvases, their image-ID maps in colour, and in words which images they come from."""
    ids = samples.trace.image_id.reshape(len(samples), -1)  # (n, h·w)
    facts = []
    for row in ids:
        images, counts = np.unique(row, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:LEVEL_SOURCES]
        named = ", ".join(f"{images[at]} ({counts[at] / len(row):.0%})" for at in most)
        facts.append(f"{len(images)} source images, most of image {named}")
    return {
        "shape": list(samples.images.shape[1:]),
        "image": packed(samples.images),
        "colour": packed(coloured_by_image(samples)),
        "facts": facts,
    }


def _grown(samples: Samples, corpus: Corpus, sources: _Sources) -> dict[str, dict[str, str]]:
    """Return values and sources of all pixels before the borders between sources were cut anew."""
    before = before_seams(samples, corpus)
    trace = before.trace
    index = sources.index(trace.image_id)
    arrays: dict[str, NDArray[Any]] = {"image": before.images, "source": index, "y": trace.y, "x": trace.x}
    return {name: packed(array) for name, array in arrays.items()}


def _chosen_pools(
    samples: Samples, corpus: Corpus, asked: tuple[int, ...] | None, order: NDArray[np.int32], progress: bool
) -> tuple[dict[int, StoredPools], list[str]]:
    """Compute the pools of the samples asked for; by default those of the first ones, if that is possible and fast."""
    if asked is not None:
        return compute_pools(samples, corpus, asked, order, progress), []
    if samples.codes is not None:
        return {}, ["Tokens have no candidate pools."]
    images = _candidate_images(samples, corpus)
    if images > POOL_IMAGES:
        reason = f"the pool of every pixel comes from about {images:,} images, which takes long"
        return {}, [f"No pools are stored: {reason}. Name the samples whose pools you want (--pools)."]
    chosen = range(min(POOLS, len(samples)))
    if len(chosen) * len(order) * _pool_work(samples, corpus, images) > POOL_WORK:
        reason = f"{len(order):,} pools for each sample, from sources of this size, take long"
        return {}, [f"No pools are stored: {reason}. Name the samples whose pools you want (--pools)."]
    try:
        return compute_pools(samples, corpus, chosen, order, progress), []
    except (ValueError, OSError) as error:
        return {}, [f"No pools are stored: {error}."]


def _candidate_images(samples: Samples, corpus: Corpus) -> int:
    """Return the approximate number of images that a pixel's candidates come from."""
    model = find_model(samples.model)
    if model.embedding:
        return samples.config.shortlist
    if model.label and corpus.labels is not None:
        return int(np.bincount(corpus.labels).max())
    return len(corpus)


def _pool_work(samples: Samples, corpus: Corpus, images: int) -> int:
    """Return the work of one pool: source pixels to compare, and pixels of the canvas to rebuild."""
    height, width = int(corpus.images.shape[1]), int(corpus.images.shape[2])
    config, frame = samples.config, int(np.prod(samples.images.shape[1:3]))
    of_image = (2 * config.locality + 1) ** 2 if find_model(samples.model).locality else height * width
    if config.tolerance == "corpus":
        of_image, images = height * width, len(corpus)
    return images * min(of_image, height * width) + REBUILT * frame


def _left_out(sheets: Sheets, sources: _Sources, megabytes: float) -> list[str]:
    """Return notes on source images that are cut or left out, with the share of pixels that come from them."""
    whole = (sheets.rects[:, 2:] == sources.frames).all(1)
    absent = sheets.rects[:, 2] == 0
    notes = []
    for part, what in (
        (~whole & ~absent, "only the surroundings of their pixels are stored"),
        (absent, "only ids and coordinates are stored"),
    ):
        if part.any():
            share = sources.uses[part].sum() / sources.uses.sum()
            notes.append(
                f"To keep the file within {megabytes:g} MB, of {int(part.sum()):,} of the {len(part):,} source images, "
                f"from which {share:.1%} of all pixels come, {what}."
            )
    return notes


class _Classes:
    """The classes that the page names: all, or of many or of labels with gaps those of the sources.

    Parameters
    ----------
    corpus
        The corpus.
    sources
        Ids of the images that the page refers to.
    """

    def __init__(self, corpus: Corpus, sources: NDArray[np.int32]) -> None:
        self._corpus = corpus
        self._labels: NDArray[np.int64] | None = None  # of the classes, ascending
        if corpus.labels is not None:
            occurring, count = np.unique(corpus.labels), int(corpus.labels.max()) + 1
            few = count <= CLASSES and (corpus.classes is not None or len(occurring) == count)
            names = count if corpus.classes is None else len(corpus.classes)
            self._labels = np.arange(names) if few else np.unique(corpus.labels[sources])

    def of(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.int64] | None:
        """Return the place of the class of each image, in the order of `facts`; None without labels."""
        if self._labels is None or self._corpus.labels is None:
            return None
        places: NDArray[np.int64] = np.searchsorted(self._labels, self._corpus.labels[ids])
        return places

    def facts(self) -> dict[str, Any]:
        """Return names and colours of the classes, None without labels."""
        if self._labels is None or self._corpus.labels is None:
            return {"classes": None, "class_colours": None}
        count = int(self._corpus.labels.max()) + 1
        colours = colours_of_classes(self._labels.clip(max=count - 1), count)  # names may go on beyond the labels
        names = [class_name(self._corpus, int(label)) for label in self._labels]
        return {"classes": names, "class_colours": colours.tolist()}


class _Sources:
    """The images that pixels and pools come from, the most used first.

    Attributes
    ----------
    ids
        (S,) int32, ids in the corpus.
    uses
        (S,) int64, number of pixels of the samples from each image; 0 for images that occur only in pools, or before
        seams were cut.
    windows
        (S, 4) int64, y, x, height and width of the part of each image that holds all compared windows.
    frames
        (S, 2) int64, height and width of each image.
    """

    def __init__(self, samples: Samples, corpus: Corpus, pools: dict[int, StoredPools]) -> None:
        trace = samples.trace
        members = [pool.addresses for pool in pools.values()]
        if samples.grown is not None:
            members.append(samples.grown.reshape(-1, 3))
        used = np.stack([trace.image_id, trace.y, trace.x], axis=-1).reshape(-1, 3)
        ids, first, counts = np.unique(used[:, 0], return_index=True, return_counts=True)
        every = np.unique(np.concatenate([ids, *(part[:, 0] for part in members)]))
        uses = np.zeros(len(every), np.int64)
        uses[np.searchsorted(every, ids)] = counts
        by_use = np.argsort(-uses, kind="stable")
        self.ids, self.uses = every[by_use], uses[by_use]
        self._places = np.argsort(by_use)
        self._sorted = every
        self._of_one_size = corpus.sizes is None
        frames = (
            np.tile(corpus.images.shape[1:3], (len(self.ids), 1)) if corpus.sizes is None else corpus.sizes[self.ids]
        )
        self.frames = frames.astype(np.int64)
        self.windows = self._bounds(np.concatenate([used, *members]), samples.config.window // 2)
        self._colours = np.zeros((len(every), 3), np.uint8)
        self._colours[self.index(ids)] = coloured_by_image(samples).reshape(-1, 3)[first]

    def index(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the positions in this list of ids of the corpus."""
        return self._places[np.searchsorted(self._sorted, ids)]

    def facts(self, classes: _Classes) -> dict[str, Any]:
        """Return ids, classes, colours of the image-ID map, and sizes if they differ, packed."""
        labels = classes.of(self.ids)
        label = None if labels is None else packed(labels)
        size = None if self._of_one_size else packed(self.frames)
        return {"id": packed(self.ids), "label": label, "colour": packed(self._colours), "size": size}

    def _bounds(self, used: NDArray[np.int32], half: int) -> NDArray[np.int64]:
        """Return the bounding box (S, 4) of all windows of each image, inside its frame."""
        place = self.index(used[:, 0])
        low, high = self.frames.copy(), np.zeros((len(self.ids), 2), np.int64)
        np.minimum.at(low, place, np.maximum(used[:, 1:] - half, 0))
        np.maximum.at(high, place, np.minimum(used[:, 1:] + half + 1, self.frames[place]))
        return np.concatenate([low, np.maximum(high - low, 0)], axis=1)
