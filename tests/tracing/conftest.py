"""Runs that the tests of figures draw."""

from __future__ import annotations

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import npgen


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def samples(digits):
    return npgen.generate(digits, 4, "local", npgen.Config(window=5), seed=3, progress=False)


@pytest.fixture(scope="session")
def rgb(colours):
    """A run of colour images with sweeps."""
    return npgen.generate(colours, 2, "local", npgen.Config(window=5, seed_size=4, sweeps=2), seed=1, progress=False)


@pytest.fixture(scope="session")
def bare(digits):
    """A corpus without labels, and its run."""
    corpus = npgen.Corpus.from_arrays(digits.images, name="bare")
    return corpus, npgen.generate(corpus, 2, "local", npgen.Config(window=5), progress=False)
