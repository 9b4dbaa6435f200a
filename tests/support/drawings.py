"""Helpers of the tests of figures: samples of any size, and the contents of an Axes."""

from __future__ import annotations

import numpy as np

import npgen
from npgen.runs import RunFacts


def made_up(corpus, shape, config, n=1):
    """Make samples of any size with random sources around a seed patch, without generation."""
    random = np.random.default_rng(0)
    height, width = shape
    facts = RunFacts("texture", config, 0, 0, n, corpus.name, corpus.hash)
    made = npgen.Samples.empty(facts, (*shape, corpus.images.shape[3]))
    trace = made.trace
    trace.image_id[:] = random.integers(0, len(corpus), trace.image_id.shape)
    trace.y[:] = random.integers(0, corpus.images.shape[1], trace.y.shape)
    trace.x[:] = random.integers(0, corpus.images.shape[2], trace.x.shape)
    trace.distance[:] = random.random(trace.distance.shape) * 100
    trace.pool_size[:] = random.integers(1, 50, trace.pool_size.shape)
    y, x, side, _ = config.seed_rect(height, width)
    trace.pool_size[:, y : y + side, x : x + side] = 0
    made.images[:] = corpus.images[trace.image_id, trace.y, trace.x]
    return made


def shown(axes):
    """Return the array of the picture of an Axes."""
    (image,) = axes.images
    return image.get_array()


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]
