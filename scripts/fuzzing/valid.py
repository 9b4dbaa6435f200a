"""Valid arguments that calls of the core and of npgen share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import npgen
from fuzzing.stores import make_autoencoder

# Weight, and how to get the function and valid arguments of it from a stream of random numbers.
Function = tuple[int, Callable[[Random], Callable[..., Any]], Callable[[Random], dict[str, Any]]]


def plain(weight: int, function: Callable[..., Any], arguments: Callable[[], dict[str, Any]]) -> Function:
    """Return the entry of a function whose valid arguments are always the same."""
    return weight, lambda random: function, lambda random: arguments()


@functools.cache
def make_corpus() -> npgen.Corpus:
    """Return the corpus of all calls."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 8, 8, 1), np.uint8)
    labels = np.arange(12) % 3
    heldout = npgen.Corpus.from_arrays(images[::2] ^ 1, labels[::2], name="heldout")
    return npgen.Corpus.from_arrays(images, labels, heldout=heldout)


@functools.cache
def make_tokens() -> npgen.Tokens:
    """Return the tokens of that corpus."""
    return npgen.encode_tokens(make_corpus(), make_autoencoder(), progress=False)


def denoise_arguments() -> dict[str, Any]:
    """Return valid arguments of `_core.denoise`."""
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


def canvas_arguments() -> dict[str, Any]:
    """Return a partly known canvas, a pixel of it and a shortlist."""
    return {
        "canvas": np.zeros((8, 8, 1), np.uint8),
        "known": np.eye(8, dtype=np.bool_),
        "pixel": (2, 3),
        "shortlist": np.array([0, 3, 5], np.int32),
    }
