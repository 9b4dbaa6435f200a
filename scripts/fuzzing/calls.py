"""Functions under test: valid arguments of each, and calls with some of them malformed."""

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
from fuzzing.core_calls import core_functions
from fuzzing.mutations import NUMBERS, TEXTS
from fuzzing.stores import CONFIG, MODELS, NETWORK, command, make_autoencoder, make_encoder
from fuzzing.valid import Function, canvas_arguments, denoise_arguments, make_corpus, make_tokens, plain
from npgen.encoders.recipe import Recipe
from npgen.nn.architecture import Architecture
from npgen.runs import TRACE_DTYPES
from npgen.tokens.autoencoder import TokenArchitecture
from npgen.tokens.autoencoder_training import AutoencoderRecipe
from npgen.tokens.twin_recipe import TwinRecipe

# Large values of these are valid and take long: they are replaced by small ones.
WORK = {"n": 6, "repeats": 6, "sweeps": 6, "count": 6, "threads": 2}


@functools.cache
def _samples(model: str) -> npgen.Samples:
    return npgen.generate(
        make_corpus(), 4, model, MODELS[model], encoder=make_encoder(), device="cpu", threads=1, progress=False
    )


def _study_arguments(**others: Any) -> dict[str, Any]:
    common = {"corpus": make_corpus(), "out": "study", "n": 4, "config": CONFIG, "seed": 0, "network": "corners"}
    return common | {"heldout": None, "encoder": make_encoder(), "threads": 1, "quiet": True} | others


def _fill_arguments() -> dict[str, Any]:
    canvas = make_corpus().images[5].copy()
    known = np.ones(canvas.shape[:2], np.bool_)
    known[2:5, 3:6] = False
    return {
        "corpus": make_corpus(),
        "canvas": canvas,
        "known": known,
        "n": 1,
        "model": "texture",
        "config": npgen.Config(window=3, seed_size=3),
        "seed": 0,
        "sources": None,
        "threads": 1,
        "progress": False,
    }


def _generate_arguments() -> dict[str, Any]:
    return {
        "corpus": make_corpus(),
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
    return {"images": make_corpus().images[:3].copy(), "known": np.eye(8, dtype=np.bool_), "threads": 1}


def _run_arguments(**others: Any) -> dict[str, Any]:
    return {"samples": _samples("full"), "corpus": make_corpus()} | others


def _from_arrays_arguments() -> dict[str, Any]:
    corpus = make_corpus()
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
    return {"bits": 5, "autoencoder": make_autoencoder(), "corpus_hash": make_corpus().hash, **others}


Items = list[tuple[Any, Any]]


def _dataset() -> Items:
    return [(Image.new("L", (4, 4), shade), shade % 2) for shade in (0, 9, 90)]


def _saved(path: Any) -> None:
    """Save samples and read them back."""
    _samples("full").save(path)
    npgen.load_samples(path).replay(make_corpus())


_FACTS = ("config", "seed", "first", "model")
_FIELDS = ("images", "anchor", "fallbacks", "queries", *_FACTS, *TRACE_DTYPES)
_USES: tuple[Callable[..., Any], ...] = (npgen.entropy, npgen.part_whole, npgen.Samples.replay, npgen.Explainer)


def _altered(field: str) -> Function:
    """Return the entry of calls that use samples with one field replaced."""

    def use(function: Callable[..., Any], value: Any) -> None:
        samples = _samples("full")
        if field in TRACE_DTYPES:
            value, name = dataclasses.replace(samples.trace, **{field: value}), "trace"
        elif field in _FACTS:
            value, name = dataclasses.replace(samples.facts, **{field: value}), "facts"
        else:
            name = field
        function(dataclasses.replace(samples, **{name: value}), make_corpus())

    def valid() -> Any:
        samples = _samples("full")
        value = getattr(samples.trace if field in TRACE_DTYPES else samples, field)
        return value.copy() if isinstance(value, np.ndarray) else value

    return 2, lambda random: functools.partial(use, random.choice(_USES)), lambda random: {"value": valid()}


def _public_functions() -> dict[str, Function]:
    encoder, model = make_encoder(), make_autoencoder()
    return {
        "Architecture": plain(
            4, Architecture, lambda: {"channels": 1, "layers": ((2, 3, 2), (2, 3, 1, 2)), "pool": 1, "dim": 4}
        ),
        "Autoencoder": plain(6, npgen.Autoencoder, _autoencoder_arguments),
        "Autoencoder.decode": plain(6, model.decode, lambda: {"codes": make_tokens().codes([0, 3]), "threads": 1}),
        "Autoencoder.encode": plain(6, model.encode, lambda: {"images": make_corpus().images[:3].copy(), "threads": 1}),
        "AutoencoderRecipe": plain(4, AutoencoderRecipe, lambda: vars(AutoencoderRecipe()).copy()),
        "BuildOptions": plain(4, npgen.BuildOptions, lambda: vars(npgen.BuildOptions()).copy()),
        "Config": plain(12, npgen.Config, CONFIG.to_json),
        "Config.from_json": plain(4, npgen.Config.from_json, lambda: {"values": CONFIG.to_json()}),
        "Corpus.from_arrays": plain(14, npgen.Corpus.from_arrays, _from_arrays_arguments),
        "Encoder": plain(6, npgen.Encoder, _encoder_arguments),
        "Encoder.encode": plain(6, encoder.encode, _encode_arguments),
        "Explainer.explain": plain(
            8,
            lambda k, pixel: npgen.explain(_samples("class"), make_corpus(), k, pixel),
            lambda: {"k": 1, "pixel": (0, 1)},
        ),
        "Network": plain(2, npgen.Network, lambda: vars(NETWORK).copy()),
        "PixelEncoder": plain(4, npgen.PixelEncoder, lambda: {"height": 8, "width": 8, "channels": 1, "grid": 7}),
        "PixelEncoder.encode": plain(6, npgen.PixelEncoder(8, 8, 1).encode, _encode_arguments),
        "Recipe": plain(4, Recipe, lambda: vars(Recipe()).copy()),
        **{f"Samples({field})": _altered(field) for field in _FIELDS},
        "Samples.save": plain(2, _saved, lambda: {"path": "run"}),
        "Samples[]": plain(
            2, lambda start, stop, step: _samples("full")[start:stop:step], lambda: {"start": 0, "stop": 2, "step": 1}
        ),
        "TokenArchitecture": plain(4, TokenArchitecture, lambda: vars(TokenArchitecture(1)).copy()),
        "Tokens": plain(4, npgen.Tokens, lambda: _tokens_arguments(planes=make_tokens().planes.copy())),
        "Tokens.from_codes": plain(
            8, npgen.Tokens.from_codes, lambda: _tokens_arguments(codes=make_tokens().codes(range(12)))
        ),
        "TwinRecipe": plain(4, TwinRecipe, lambda: vars(TwinRecipe()).copy()),
        "ablate": plain(1, npgen.ablate, lambda: _study_arguments(models=["local"], counts=None)),
        "build_corpus": plain(
            4, npgen.build_corpus, lambda: {"source": _dataset(), "out": "built", "options": None, "heldout": None}
        ),
        "read_account": plain(1, npgen.read_account, lambda: {"corpus": "corpus"}),
        "candidate_pool": plain(
            14,
            npgen.candidate_pool,
            lambda: {**canvas_arguments(), "corpus": make_corpus(), "pixel": (2, 3), "config": CONFIG},
        ),
        "embed": plain(
            3,
            npgen.embed,
            lambda: {"corpus": make_corpus(), "encoder": make_encoder(), "threads": 1, "progress": False},
        ),
        "encode_tokens": plain(
            4,
            npgen.encode_tokens,
            lambda: {
                "corpus": make_corpus(),
                "autoencoder": make_autoencoder(),
                "out": "tokens",
                "device": "cpu",
                "threads": 1,
                "progress": False,
            },
        ),
        "denoise": plain(
            8,
            npgen.denoise,
            lambda: {
                **{name: value for name, value in denoise_arguments().items() if name not in ("images", "ids")},
                "corpus": make_corpus(),
                "label": None,
                "canvases": np.zeros((1, *make_corpus().images.shape[1:]), np.float32),
            },
        ),
        "entropy": plain(4, npgen.entropy, lambda: _run_arguments(window=3)),
        "entropy_map": plain(6, npgen.entropy_map, lambda: {"labels": np.eye(8, dtype=np.int32), "window": 3}),
        "evaluate": plain(
            2,
            npgen.evaluate,
            lambda: _run_arguments(network=NETWORK, heldout=None, weights=None, seed=0, device="cpu", quiet=True),
        ),
        "explain": plain(4, npgen.explain, lambda: _run_arguments(k=0, pixel=(0, 0))),
        "fill_order": plain(
            8, npgen.fill_order, lambda: {"height": 8, "width": 8, "seed_rect": (3, 3, 2, 2), "window": 3}
        ),
        "frontier": plain(
            1,
            npgen.frontier,
            lambda: (
                {name: value for name, value in _study_arguments().items() if name != "config"}
                | {"settings": [npgen.FrontierSetting("one", "local", CONFIG)], "encoder": "pixels"}
            ),
        ),
        "FrontierSetting": plain(
            4,
            npgen.FrontierSetting,
            lambda: {"name": "one", "model": "full", "config": CONFIG, "encoder": None},
        ),
        "gamma_study": plain(
            1,
            npgen.gamma_study,
            lambda: {
                "corpus": make_corpus(),
                "out": "gammas",
                "gammas": (1, None),
                "n": 4,
                "kinds": ("tokens",),
                "images": 9,
                "tokens": make_tokens(),
                "config": npgen.Config(),
                "seed": 0,
                "network": "corners",
                "threads": 1,
                "device": "cpu",
                "quiet": True,
            },
        ),
        "fill": plain(8, npgen.fill, _fill_arguments),
        "generate": plain(14, npgen.generate, _generate_arguments),
        "load_autoencoder": plain(
            2, npgen.load_autoencoder, lambda: {"spec": make_autoencoder(), "corpus": make_corpus(), "device": "cpu"}
        ),
        "load_corpus": plain(2, npgen.load_corpus, lambda: {"name_or_path": "missing"}),
        "load_encoder": plain(
            2, npgen.load_encoder, lambda: {"spec": "pixels", "corpus": make_corpus(), "device": "cpu"}
        ),
        "load_samples": plain(1, npgen.load_samples, lambda: {"path": "missing"}),
        "load_score_samples": plain(1, npgen.load_score_samples, lambda: {"path": "missing"}),
        "load_tokens": plain(
            4,
            npgen.load_tokens,
            lambda: {"spec": make_tokens(), "corpus": make_corpus(), "device": "cpu", "threads": 1},
        ),
        "part_whole": plain(3, npgen.part_whole, lambda: _run_arguments(window=3)),
        "score_generate": plain(
            8,
            npgen.score_generate,
            lambda: {
                "corpus": make_corpus(),
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
        "read_provenance": plain(1, npgen.read_provenance, lambda: {"path": "missing.png"}),
        "register_network": plain(
            2, npgen.register_network, lambda: {"name": "corners", "factory": lambda request: NETWORK}
        ),
        "report": plain(
            2,
            npgen.report,
            lambda: _run_arguments(out="report.html", count=2, pools=None, megabytes=10.0, progress=False),
        ),
        "sweep": plain(
            1, npgen.sweep, lambda: _study_arguments(grid={"k_min": [1]}, model="local", product=False, keep=False)
        ),
        "verify_run": plain(
            1, npgen.verify_run, lambda: {"path": "missing", "corpus": make_corpus(), "progress": False}
        ),
    }


@functools.cache
def functions() -> dict[str, Function]:
    """Return all functions that are called: those of `npgen._core`, and those of `npgen` that take arguments."""
    npgen.register_network("corners", lambda request: NETWORK)
    return core_functions() | _public_functions() | {"command line": (3, lambda random: _command, _command_arguments)}


def call(random: Random, name: str) -> None:
    """Call a function with some of its arguments malformed."""
    _, function, valid = functions()[name]
    arguments = valid(random)
    things = (make_corpus(), _samples("full"), CONFIG, make_encoder(), NETWORK)
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
