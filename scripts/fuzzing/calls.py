"""Functions under attack: valid arguments for each, and what may stand in their place."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from PIL import Image

import npgen
from fuzzing.arguments import odd
from fuzzing.mutations import NUMBERS, TEXTS
from fuzzing.stores import CONFIG, MODELS, NETWORK, command, make_autoencoder, make_encoder
from npgen import _core
from npgen.architecture import Architecture
from npgen.autoencoder import TokenArchitecture
from npgen.autoencoder_training import AutoencoderRecipe
from npgen.recipe import Recipe
from npgen.twins import TwinRecipe

# What is asked for is done: these numbers decide how long it takes, and how many threads wait for it.
WORK = {"n": 6, "repeats": 6, "sweeps": 6, "count": 6, "threads": 2}


@functools.cache
def _corpus() -> npgen.Corpus:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 8, 8, 1), np.uint8)
    labels = np.arange(12) % 3
    heldout = npgen.Corpus.from_arrays(images[::2] ^ 1, labels[::2], name="apart")
    return npgen.Corpus.from_arrays(images, labels, heldout=heldout)


@functools.cache
def _tokens() -> npgen.Tokens:
    return npgen.encode_tokens(_corpus(), make_autoencoder(), progress=False)


@functools.cache
def _samples(model: str) -> npgen.Samples:
    return npgen.generate(
        _corpus(), 4, model, MODELS[model], encoder=make_encoder(), device="cpu", threads=1, progress=False
    )


def _filler_arguments(**changes: Any) -> dict[str, Any]:
    return {
        "images": _corpus().images.copy(),
        "frame": (8, 8),
        "window": 3,
        "sigma": 0.5,
        "radius": 1,
        "epsilon": 0.1,
        "k_min": 1,
        "best_only": True,
        "quota": 4,
        "literal": False,
        "compare": True,
        "threads": 1,
    } | changes


def _filler(random: Random) -> _core.Filler:
    return _core.Filler(
        **_filler_arguments(
            best_only=random.random() < 0.5,
            literal=random.random() < 0.2,
            radius=random.choice((1, 0, 8, 100)),
            quota=random.choice((None, 1, 4)),
            compare=random.random() < 0.8,
        )
    )


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
    }


def _pools_arguments() -> dict[str, Any]:
    arguments = _fill_arguments()
    kept = {name: arguments[name] for name in ("canvases", "trace", "known", "sweep", "barred")}
    return {**kept, "pixel": np.array([[2, 2]], np.int32)}


def _token_filler_arguments() -> dict[str, Any]:
    planes = _tokens().planes.copy()
    return {"planes": planes, "bits": 5, "gamma": 2, "disc": False, "radius": 0, "threads": 1}


def _token_filler(random: Random) -> _core.TokenFiller:
    gamma, radius = random.choice((None, 1, 3)), random.choice((0, 0, 1, 9))
    return _core.TokenFiller(_tokens().planes, bits=5, gamma=gamma, disc=False, radius=radius, threads=1)


def _token_fill_arguments() -> dict[str, Any]:
    trace = tuple(np.zeros((2, 4, 4), dtype) for dtype in (np.int32, np.int32, np.int32, np.float32, np.int32))
    return {
        "codes": _tokens().codes([0, 3]),
        "trace": trace,
        "cells": np.array([[2, 2], [2, 3]], np.int32),
        "known": np.arange(16).reshape(4, 4) < 10,
        "seed": 1,
        "sweep": 0,
        "samples": np.arange(2, dtype=np.uint64),
        "barred": np.array([1, -1], np.int32),
        "epsilon": 0.1,
        "k_min": 1,
        "flip": None,
    }


def _token_cell_arguments(**others: Any) -> dict[str, Any]:
    arguments = {name: _token_fill_arguments()[name] for name in ("codes", "known")}
    return {**arguments, "cell": np.array([[2, 2]], np.int32), **others}


def _denoise_arguments() -> dict[str, Any]:
    return {
        "images": np.arange(5 * 8 * 8, dtype=np.uint8).reshape(5, 8, 8, 1),
        "ids": np.array([0, 2, 3], np.int32),
        "canvases": np.zeros((2, 8, 8, 1), np.float32),
        "machine": "equivariant-borders",
        "window": 3,
        "signal": 0.6,
        "noise": 0.8,
        "tolerance": 1e-6,
        "sampling": 0.0,
        "rotation": 0,
        "sources": 2,
        "threads": 1,
    }


def _canvas_arguments() -> dict[str, Any]:
    return {
        "canvas": np.zeros((8, 8, 1), np.uint8),
        "known": np.eye(8, dtype=np.bool_),
        "pixel": np.array([[2, 3]], np.int32),
        "shortlist": np.array([0, 3, 5], np.int32),
    }


def _study_arguments(**others: Any) -> dict[str, Any]:
    common = {"corpus": _corpus(), "out": "study", "n": 4, "config": CONFIG, "seed": 0, "network": "corners"}
    return common | {"heldout": None, "encoder": make_encoder(), "threads": 1, "quiet": True} | others


def _generate_arguments() -> dict[str, Any]:
    return {
        "corpus": _corpus(),
        "n": 2,
        "model": "full",
        "config": CONFIG,
        "seed": 0,
        "first": 0,
        "encoder": make_encoder(),
        "batch_size": 64,
        "device": "cpu",
        "threads": 1,
        "memory": None,
        "progress": False,
        "out": None,
    }


def _encode_arguments() -> dict[str, Any]:
    return {"images": _corpus().images[:3].copy(), "known": np.eye(8, dtype=np.bool_), "threads": 1}


def _run_arguments(**others: Any) -> dict[str, Any]:
    return {"samples": _samples("full"), "corpus": _corpus()} | others


def _from_arrays_arguments() -> dict[str, Any]:
    corpus = _corpus()
    return {
        "images": corpus.images.copy(),
        "labels": corpus.labels,
        "classes": ["a", "b", "c"],
        "name": "some",
        "heldout": None,
        "source": {"kind": "test"},
    }


def _encoder_arguments() -> dict[str, Any]:
    encoder = make_encoder()
    return {"architecture": encoder.architecture, "tensors": dict(encoder.tensors), "metadata": {}, "device": "cpu"}


def _autoencoder_arguments() -> dict[str, Any]:
    model = make_autoencoder()
    return {"architecture": model.architecture, "tensors": dict(model.tensors), "metadata": {}, "device": "cpu"}


def _tokens_arguments(**others: Any) -> dict[str, Any]:
    return {"bits": 5, "autoencoder": make_autoencoder(), "corpus_hash": _corpus().hash, **others}


Items = list[tuple[Any, Any]]


def _dataset() -> Items:
    return [(Image.new("L", (4, 4), shade), shade % 2) for shade in (0, 9, 90)]


def _saved(path: Any) -> None:
    """Save samples and read them back."""
    _samples("full").save(path)
    npgen.load_samples(path).replay(_corpus())


# Weight, function, and valid arguments of it, both given a stream of random numbers.
Function = tuple[int, Callable[[Random], Callable[..., Any]], Callable[[Random], dict[str, Any]]]

_FIELDS = ("images", "anchor", "fallbacks", "queries", "config", "seed", "first", "model", *npgen.trace.TRACE_DTYPES)
_USES: tuple[Callable[..., Any], ...] = (npgen.entropy, npgen.part_whole, npgen.Samples.replay, npgen.Explainer)


def _altered(field: str) -> Function:
    """Use samples of which one part is another."""

    def use(function: Callable[..., Any], value: Any) -> None:
        samples = _samples("full")
        if field in npgen.trace.TRACE_DTYPES:
            value, name = dataclasses.replace(samples.trace, **{field: value}), "trace"
        else:
            name = field
        function(dataclasses.replace(samples, **{name: value}), _corpus())

    def valid() -> Any:
        samples = _samples("full")
        value = getattr(samples.trace if field in npgen.trace.TRACE_DTYPES else samples, field)
        return value.copy() if isinstance(value, np.ndarray) else value

    return 2, lambda random: functools.partial(use, random.choice(_USES)), lambda random: {"value": valid()}


def _plain(weight: int, function: Callable[..., Any], arguments: Callable[[], dict[str, Any]]) -> Function:
    return weight, lambda random: function, lambda random: arguments()


def _core_functions() -> dict[str, Function]:
    keys = functools.partial(np.eye, 6, 4, dtype=np.float32)
    ids = functools.partial(np.arange, 3, dtype=np.uint64)
    known = functools.partial(np.eye, 8, dtype=np.bool_)
    no_ids = functools.partial(np.zeros, 0, np.int32)
    return {
        "_core.fill_order": _plain(8, _core.fill_order, lambda: {"known": known(), "window": 3}),
        "_core.shortlist": _plain(
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
        "_core.sliding_entropy": _plain(
            8, _core.sliding_entropy, lambda: {"labels": np.eye(8, dtype=np.int64), "window": 3}
        ),
        "_core.instruction_sets": _plain(1, _core.instruction_sets, dict),
        "_core.sweep_order": _plain(
            6, _core.sweep_order, lambda: {"pixels": np.zeros((5, 2), np.int32), "seed": 0, "sweep": 1}
        ),
        "_core.draw_members": _plain(
            6,
            _core.draw_members,
            lambda: {"seed": 0, "sweep": 0, "samples": ids(), "pixel": 3, "sizes": np.array([1, 5, 2])},
        ),
        "_core.draw_seed_images": _plain(6, _core.draw_seed_images, lambda: {"seed": 0, "samples": ids(), "count": 5}),
        "_core.draw_seed_places": _plain(
            6, _core.draw_seed_places, lambda: {"seed": 0, "samples": ids(), "height": 2, "width": 3}
        ),
        "_core.score_machines": _plain(1, _core.score_machines, dict),
        "_core.denoise": _plain(20, _core.denoise, _denoise_arguments),
        "_core.Filler": _plain(14, _core.Filler, _filler_arguments),
        "_core.Filler.fill": (40, lambda random: _filler(random).fill, lambda random: _fill_arguments()),
        "_core.Filler.candidate_pool": (
            25,
            lambda random: _filler(random).candidate_pool,
            lambda random: {**_canvas_arguments(), "barred": no_ids()},
        ),
        "_core.Filler.time_scan": (
            12,
            lambda random: _filler(random).time_scan,
            lambda random: {**_canvas_arguments(), "repeats": 2, "prune": True},
        ),
        "_core.Filler.pools": (15, lambda random: _filler(random).pools, lambda random: _pools_arguments()),
        "_core.Pools.members": (
            5,
            lambda random: _filler(random).pools(**_pools_arguments()).members,
            lambda random: {"canvases": np.array([0, 1, 0]), "places": np.array([0, 0, 1])},
        ),
        "_core.Pools.runs": (1, lambda random: _filler(random).pools(**_pools_arguments()).runs, lambda random: {}),
        "_core.TokenFiller": _plain(10, _core.TokenFiller, _token_filler_arguments),
        "_core.TokenFiller.fill": (
            25,
            lambda random: _token_filler(random).fill,
            lambda random: {**_token_fill_arguments(), "flip": random.choice((None, 0.002))},
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


def _public_functions() -> dict[str, Function]:
    encoder, model = make_encoder(), make_autoencoder()
    return {
        "Architecture": _plain(
            4, Architecture, lambda: {"channels": 1, "layers": ((2, 3, 2), (2, 3, 1, 2)), "pool": 1, "dim": 4}
        ),
        "Autoencoder": _plain(6, npgen.Autoencoder, _autoencoder_arguments),
        "Autoencoder.decode": _plain(6, model.decode, lambda: {"codes": _tokens().codes([0, 3]), "threads": 1}),
        "Autoencoder.encode": _plain(6, model.encode, lambda: {"images": _corpus().images[:3].copy(), "threads": 1}),
        "AutoencoderRecipe": _plain(4, AutoencoderRecipe, lambda: vars(AutoencoderRecipe()).copy()),
        "BuildOptions": _plain(4, npgen.BuildOptions, lambda: vars(npgen.BuildOptions()).copy()),
        "Config": _plain(12, npgen.Config, CONFIG.to_json),
        "Config.from_json": _plain(4, npgen.Config.from_json, lambda: {"values": CONFIG.to_json()}),
        "Corpus.from_arrays": _plain(14, npgen.Corpus.from_arrays, _from_arrays_arguments),
        "Encoder": _plain(6, npgen.Encoder, _encoder_arguments),
        "Encoder.encode": _plain(6, encoder.encode, _encode_arguments),
        "Explainer.explain": _plain(
            8, lambda k, pixel: npgen.explain(_samples("class"), _corpus(), k, pixel), lambda: {"k": 1, "pixel": (0, 1)}
        ),
        "Network": _plain(2, npgen.Network, lambda: vars(NETWORK).copy()),
        "PixelEncoder": _plain(4, npgen.PixelEncoder, lambda: {"height": 8, "width": 8, "channels": 1, "grid": 7}),
        "PixelEncoder.encode": _plain(6, npgen.PixelEncoder(8, 8, 1).encode, _encode_arguments),
        "Recipe": _plain(4, Recipe, lambda: vars(Recipe()).copy()),
        **{f"Samples({field})": _altered(field) for field in _FIELDS},
        "Samples.save": _plain(2, _saved, lambda: {"path": "run"}),
        "Samples[]": _plain(
            2, lambda start, stop, step: _samples("full")[start:stop:step], lambda: {"start": 0, "stop": 2, "step": 1}
        ),
        "TokenArchitecture": _plain(4, TokenArchitecture, lambda: vars(TokenArchitecture(1)).copy()),
        "Tokens": _plain(4, npgen.Tokens, lambda: _tokens_arguments(planes=_tokens().planes.copy())),
        "Tokens.from_codes": _plain(
            8, npgen.Tokens.from_codes, lambda: _tokens_arguments(codes=_tokens().codes(range(12)))
        ),
        "TwinRecipe": _plain(4, TwinRecipe, lambda: vars(TwinRecipe()).copy()),
        "ablate": _plain(1, npgen.ablate, lambda: _study_arguments(models=["local"], counts=None)),
        "build_corpus": _plain(
            4, npgen.build_corpus, lambda: {"source": _dataset(), "out": "built", "options": None, "heldout": None}
        ),
        "candidate_pool": _plain(
            14,
            npgen.candidate_pool,
            lambda: {**_canvas_arguments(), "corpus": _corpus(), "pixel": (2, 3), "config": CONFIG},
        ),
        "embed": _plain(
            3, npgen.embed, lambda: {"corpus": _corpus(), "encoder": make_encoder(), "threads": 1, "progress": False}
        ),
        "encode_tokens": _plain(
            4,
            npgen.encode_tokens,
            lambda: {
                "corpus": _corpus(),
                "autoencoder": make_autoencoder(),
                "out": "tokens",
                "device": "cpu",
                "threads": 1,
                "progress": False,
            },
        ),
        "denoise": _plain(
            8,
            npgen.denoise,
            lambda: {
                **{name: value for name, value in _denoise_arguments().items() if name not in ("images", "ids")},
                "corpus": _corpus(),
                "label": None,
                "canvases": np.zeros((1, *_corpus().images.shape[1:]), np.float32),
            },
        ),
        "entropy": _plain(4, npgen.entropy, lambda: _run_arguments(window=3)),
        "entropy_map": _plain(6, npgen.entropy_map, lambda: {"labels": np.eye(8, dtype=np.int32), "window": 3}),
        "evaluate": _plain(
            2,
            npgen.evaluate,
            lambda: _run_arguments(network=NETWORK, heldout=None, weights=None, seed=0, device="cpu", quiet=True),
        ),
        "explain": _plain(4, npgen.explain, lambda: _run_arguments(k=0, pixel=(0, 0))),
        "fill_order": _plain(
            8, npgen.fill_order, lambda: {"height": 8, "width": 8, "seed_rect": (3, 3, 2, 2), "window": 3}
        ),
        "gamma_study": _plain(
            1,
            npgen.gamma_study,
            lambda: {
                "corpus": _corpus(),
                "out": "gammas",
                "gammas": (1, None),
                "n": 4,
                "kinds": ("tokens",),
                "images": 9,
                "tokens": _tokens(),
                "config": npgen.Config(),
                "seed": 0,
                "network": "corners",
                "threads": 1,
                "device": "cpu",
                "quiet": True,
            },
        ),
        "generate": _plain(14, npgen.generate, _generate_arguments),
        "load_autoencoder": _plain(
            2, npgen.load_autoencoder, lambda: {"spec": make_autoencoder(), "corpus": _corpus(), "device": "cpu"}
        ),
        "load_corpus": _plain(2, npgen.load_corpus, lambda: {"name_or_path": "missing"}),
        "load_encoder": _plain(2, npgen.load_encoder, lambda: {"spec": "pixels", "corpus": _corpus(), "device": "cpu"}),
        "load_samples": _plain(1, npgen.load_samples, lambda: {"path": "missing"}),
        "load_score_samples": _plain(1, npgen.load_score_samples, lambda: {"path": "missing"}),
        "load_tokens": _plain(
            4, npgen.load_tokens, lambda: {"spec": _tokens(), "corpus": _corpus(), "device": "cpu", "threads": 1}
        ),
        "part_whole": _plain(3, npgen.part_whole, lambda: _run_arguments(window=3)),
        "score_generate": _plain(
            8,
            npgen.score_generate,
            lambda: {
                "corpus": _corpus(),
                "n": 1,
                "machine": "local",
                "windows": [3, 3, 5],
                "steps": 3,
                "seed": 0,
                "first": 0,
                "size": None,
                "batch_size": 1,
                "threads": 1,
                "progress": False,
            },
        ),
        "read_provenance": _plain(1, npgen.read_provenance, lambda: {"path": "missing.png"}),
        "register_network": _plain(
            2, npgen.register_network, lambda: {"name": "corners", "factory": lambda request: NETWORK}
        ),
        "report": _plain(
            2,
            npgen.report,
            lambda: _run_arguments(out="report.html", count=2, pools=None, megabytes=10.0, progress=False),
        ),
        "sweep": _plain(
            1, npgen.sweep, lambda: _study_arguments(grid={"k_min": [1]}, model="local", product=False, keep=False)
        ),
        "verify_run": _plain(1, npgen.verify_run, lambda: {"path": "missing", "corpus": _corpus(), "progress": False}),
    }


@functools.cache
def functions() -> dict[str, Function]:
    """List what is called: all of `npgen._core`, and all of npgen's that takes arguments."""
    npgen.register_network("corners", lambda request: NETWORK)
    return _core_functions() | _public_functions() | {"command line": (3, lambda random: _command, _command_arguments)}


def call(random: Random, name: str) -> None:
    """Call a function with some of its arguments malformed."""
    _, function, valid = functions()[name]
    arguments = valid(random)
    things = (_corpus(), _samples("full"), CONFIG, make_encoder(), NETWORK)
    for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3))):
        if not arguments:
            break
        chosen = random.choice(list(arguments))
        others = [value for value in arguments.values() if isinstance(value, np.ndarray)]
        arguments[chosen] = odd(random, arguments[chosen], others, things)
    if random.random() < 0.02:
        arguments[random.choice(TEXTS[:30])] = 1
    if arguments and random.random() < 0.02:
        del arguments[random.choice(list(arguments))]
    for argument, least in WORK.items():
        asked = arguments.get(argument)
        if isinstance(asked, int | float | np.number) and (
            1000 < asked < 2**62 or (argument == "threads" and asked > 8)
        ):
            arguments[argument] = type(asked)(least)
    function(random)(**arguments)


_VERBS = "generate corpus encoder tokens gamma-study embed evaluate explain figures merge partwhole report verify x"
_OPTIONS = """-n --window --seed --first --locality --epsilon --shortlist --seed-size --sweeps --memory --shard --model
    --encoder --out --threads --config --nothing"""


def _command_arguments(random: Random) -> dict[str, Any]:
    words = [random.choice(_VERBS.split())]
    words += [random.choice(("missing", "pixels", "build", "info", "1", *TEXTS)) for _ in range(random.randrange(4))]
    for _ in range(random.randrange(3)):
        words += [random.choice(_OPTIONS.split()), str(random.choice((*NUMBERS[:12], 0.5, "0/2", "x")))]
    return {"arguments": words}


def _command(arguments: Any) -> None:
    if not isinstance(arguments, list) or not all(isinstance(word, str) for word in arguments):
        return
    command([word for word in arguments if "\0" not in word])
