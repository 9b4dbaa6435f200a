"""Functions of the core under test: valid arguments of each."""

from __future__ import annotations

import functools
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzzing.valid import Function, canvas_arguments, denoise_arguments, make_corpus, make_tokens, plain
from npgen import _core


def _settings_arguments(**changes: Any) -> dict[str, Any]:
    return {
        "frame": (8, 8),
        "window": 3,
        "sigma": 0.5,
        "radius": 1,
        "epsilon": 0.1,
        "k_min": 1,
        "best_only": True,
        "quota": 4,
        "frame_quota": 20,
        "copy_quota": 30,
        "corpus_tolerance": False,
        "low_level": True,
        "threads": 1,
    } | changes


def _filler(random: Random) -> _core.Filler:
    settings = _settings_arguments(
        best_only=random.random() < 0.5,
        corpus_tolerance=random.random() < 0.2,
        radius=random.choice((1, 0, 8, 100)),
        quota=random.choice((None, 1, 4)),
        frame_quota=random.choice((None, 1, 20)),
        copy_quota=random.choice((None, 1, 30)),
        low_level=random.random() < 0.8,
    )
    usable = random.choice((None, np.eye(8, dtype=np.bool_), np.zeros((8, 8), np.bool_)))
    return _core.Filler(make_corpus().images.copy(), _core.PixelSettings(**settings), usable=usable)


def _filler_arguments() -> dict[str, Any]:
    settings = _core.PixelSettings(**_settings_arguments())
    return {
        "images": make_corpus().images.copy(),
        "settings": settings,
        "sizes": None,
        "elsewhere": 0,
        "usable": np.eye(8, dtype=np.bool_),
    }


def _fill_arguments() -> dict[str, Any]:
    known = np.zeros((8, 8), np.bool_)
    known[3:5, 3:5] = True
    trace = tuple(np.zeros((2, 8, 8), dtype) for dtype in (np.int32, np.int32, np.int32, np.float32, np.int32))
    return {
        "canvases": np.zeros((2, 8, 8, 1), np.uint8),
        "trace": trace,
        "pixels": np.array([[2, 2], [2, 3]], np.int32),
        "known": known,
        "seed": 1,
        "sweep": 0,
        "samples": np.arange(2, dtype=np.uint64),
        "barred": np.array([1, -1], np.int32),
        "shortlists": (np.array([0, 1, 2, 3, 4], np.int32), np.array([3, 5])),
        "added": None,
        "barred_shifts": np.array([[0, 1, 1], [-1, 0, 0]], np.int32),
    }


def _barred_pixels() -> NDArray[np.int32]:
    return np.array([[0, 1, 1], [4, 7, 0]], np.int32)


def _pools_arguments() -> dict[str, Any]:
    arguments = _fill_arguments()
    kept = {name: arguments[name] for name in ("canvases", "trace", "known", "barred")}
    return {**kept, "pixel": (2, 2)}


def _token_settings_arguments(**changes: Any) -> dict[str, Any]:
    settings = {"gamma": 2, "disc": False, "radius": 0, "epsilon": 0.1, "k_min": 1, "flip": None, "threads": 1}
    return settings | changes


def _token_filler_arguments() -> dict[str, Any]:
    settings = _core.TokenSettings(**_token_settings_arguments())
    return {"planes": make_tokens().planes.copy(), "bits": 5, "settings": settings}


def _token_filler(random: Random) -> _core.TokenFiller:
    settings = _token_settings_arguments(
        gamma=random.choice((None, 1, 3)),
        radius=random.choice((0, 0, 1, 9)),
        flip=random.choice((None, 0.002)),
    )
    return _core.TokenFiller(make_tokens().planes, 5, _core.TokenSettings(**settings))


def _token_fill_arguments() -> dict[str, Any]:
    trace = tuple(np.zeros((2, 4, 4), dtype) for dtype in (np.int32, np.int32, np.int32, np.float32, np.int32))
    return {
        "codes": make_tokens().codes([0, 3]),
        "trace": trace,
        "cells": np.array([[2, 2], [2, 3]], np.int32),
        "known": np.arange(16).reshape(4, 4) < 10,
        "seed": 1,
        "sweep": 0,
        "samples": np.arange(2, dtype=np.uint64),
        "barred": np.array([1, -1], np.int32),
    }


def _token_cell_arguments(**others: Any) -> dict[str, Any]:
    arguments = {name: _token_fill_arguments()[name] for name in ("codes", "known")}
    return {**arguments, "cell": (2, 2), **others}


def _cut_arguments() -> dict[str, Any]:
    images = make_corpus().images
    shape = (2, *images.shape[1:3])
    image_id = np.broadcast_to(np.arange(shape[2], dtype=np.int32) // 3, shape).copy()
    y, x = (np.broadcast_to(part, shape).astype(np.int32, order="C") for part in np.indices(shape[1:]))
    return {
        "images": images.copy(),
        "canvases": images[image_id, y, x],
        "sources": (image_id, y, x),
        "seed": np.zeros(shape[1:], np.bool_),
        "barred": np.array([-1, 3], np.int32),
        "most": 40,
        "threads": 1,
    }


def core_functions() -> dict[str, Function]:
    """Return the entries of all functions of `npgen._core`, by name."""
    keys = functools.partial(np.eye, 6, 4, dtype=np.float32)
    ids = functools.partial(np.arange, 3, dtype=np.uint64)
    known = functools.partial(np.eye, 8, dtype=np.bool_)
    no_ids = functools.partial(np.zeros, 0, np.int32)
    return {
        "_core.fill_order": plain(8, _core.fill_order, lambda: {"known": known(), "window": 3}),
        "_core.shortlist": plain(
            12,
            _core.shortlist,
            lambda: {
                "keys": keys(),
                "queries": keys()[:2].copy(),
                "k": 2,
                "barred": np.array([-1, 3], np.int32),
                "threads": 1,
            },
        ),
        "_core.sliding_entropy": plain(
            8, _core.sliding_entropy, lambda: {"labels": np.eye(8, dtype=np.int64), "window": 3}
        ),
        "_core.instruction_sets": plain(1, _core.instruction_sets, dict),
        "_core.sweep_order": plain(
            6, _core.sweep_order, lambda: {"pixels": np.zeros((5, 2), np.int32), "seed": 0, "sweep": 1}
        ),
        "_core.draw_members": plain(
            6,
            _core.draw_members,
            lambda: {"seed": 0, "sweep": 0, "samples": ids(), "pixel": 3, "sizes": np.array([1, 5, 2])},
        ),
        "_core.draw_seed_images": plain(6, _core.draw_seed_images, lambda: {"seed": 0, "samples": ids(), "count": 5}),
        "_core.draw_seed_places": plain(
            6, _core.draw_seed_places, lambda: {"seed": 0, "samples": ids(), "height": 2, "width": 3}
        ),
        "_core.draw_seed": plain(4, _core.draw_seed, lambda: {"seed": 0, "draw": 1}),
        "_core.draw_halves": plain(
            8,
            _core.draw_halves,
            lambda: {
                "seed": 0,
                "samples": ids(),
                "ids": np.arange(6, dtype=np.int32),
                "ends": np.array([2, 3, 6], np.int64),
            },
        ),
        "_core.quotas_in_effect": plain(
            6,
            _core.quotas_in_effect,
            lambda: {"candidates": 5, "window": 3, "quota": 2, "frame": (4, 4), "frame_quota": 6},
        ),
        "_core.max_flow": plain(
            8,
            _core.max_flow,
            lambda: {
                "arcs": np.ones((4, 5, 4), np.int32),
                "terminals": np.arange(40, dtype=np.int32).reshape(4, 5, 2),
            },
        ),
        "_core.cut_seams": plain(12, _core.cut_seams, _cut_arguments),
        "_core.used_up_images": plain(
            8,
            _core.used_up_images,
            lambda: {
                "image_id": np.eye(8, dtype=np.int32),
                "known": known(),
                "pixel": (2, 3),
                "window": 3,
                "quota": 2,
                "frame_quota": 9,
            },
        ),
        "_core.served_counts": plain(
            8,
            _core.served_counts,
            lambda: {
                "image_id": np.zeros((2, 8, 8), np.int32),
                "known": known(),
                "pixels": np.array([[2, 3], [0, 1]], np.int32),
                "window": 3,
            },
        ),
        "_core.score_machines": plain(1, _core.score_machines, dict),
        "_core.tile_size": plain(1, _core.tile_size, dict),
        "_core.denoise": plain(20, _core.denoise, denoise_arguments),
        "_core.PixelSettings": plain(14, _core.PixelSettings, _settings_arguments),
        "_core.Filler": plain(10, _core.Filler, _filler_arguments),
        "_core.Filler.merge_runs": (
            6,
            lambda random: _filler(random).merge_runs,
            lambda random: {
                "canvases": np.array([0, 1, 0]),
                "distances": np.array([1.0, 2.0, 0.5]),
                "counts": np.array([2, 1, 3]),
            },
        ),
        "_core.Filler.fill": (40, lambda random: _filler(random).fill, lambda random: _fill_arguments()),
        "_core.Filler.candidate_pool": (
            25,
            lambda random: _filler(random).candidate_pool,
            lambda random: {**canvas_arguments(), "barred": no_ids(), "added": None, "barred_pixels": _barred_pixels()},
        ),
        "_core.Filler.time_scan": (
            12,
            lambda random: _filler(random).time_scan,
            lambda random: {**canvas_arguments(), "repeats": 2, "prune": True},
        ),
        "_core.Filler.pools": (15, lambda random: _filler(random).pools, lambda random: _pools_arguments()),
        "_core.Pools.members": (
            5,
            lambda random: _filler(random).pools(**_pools_arguments()).members,
            lambda random: {"canvases": np.array([0, 1, 0]), "places": np.array([0, 0, 1])},
        ),
        "_core.Pools.runs": (1, lambda random: _filler(random).pools(**_pools_arguments()).runs, lambda random: {}),
        "_core.TokenSettings": plain(10, _core.TokenSettings, _token_settings_arguments),
        "_core.TokenFiller": plain(10, _core.TokenFiller, _token_filler_arguments),
        "_core.TokenFiller.fill": (
            25,
            lambda random: _token_filler(random).fill,
            lambda random: _token_fill_arguments(),
        ),
        "_core.TokenFiller.distances": (
            8,
            lambda random: _token_filler(random).distances,
            lambda random: _token_cell_arguments(),
        ),
        "_core.TokenFiller.time_scan": (
            5,
            lambda random: _token_filler(random).time_scan,
            lambda random: _token_cell_arguments(repeats=2),
        ),
        "_core.TokenFiller.distributions": (
            8,
            lambda random: _token_filler(random).distributions,
            lambda random: _token_cell_arguments(flip=0.002, barred=np.array([1, -1], np.int32)),
        ),
        "_core.Filler.terms": (1, lambda random: _filler(random).terms, lambda random: {}),
    }
