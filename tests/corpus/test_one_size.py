"""Functions that need images of one size refuse other corpora before they write anything."""

from __future__ import annotations

import re

import corpora
import numpy as np
import pytest
from corpora import pictures, textures

import npgen
from npgen.corpus.resize import resized
from npgen.els.diffusion_training import train_diffusion
from npgen.els.generate import score_generate
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.simclr import train_encoder
from npgen.evaluation.classifier import load_classifier
from npgen.evaluation.evaluate import evaluate
from npgen.studies.els import els_compare
from npgen.studies.twin_comparison import compare_twins
from npgen.studies.workbench import Workbench
from npgen.tokens.autoencoder_training import train_autoencoder

TEXTURE = npgen.Config(window=5, seed_size=4, size=(13, 18))
MACHINE = "a score machine, unless it is given a size"


@pytest.fixture(scope="module")
def corpus():
    return textures()


def refused(what, parameter="corpus"):
    message = f"{parameter} must be of images of one size for {what}, got 'textures' of 3x2 to 20x30. Build one with"
    return pytest.raises(ValueError, match=re.escape(message))


def texture(corpus, config):
    return npgen.generate(corpus, 4, "texture", config, seed=5, progress=False)


def test_what_needs_one_size_says_so(corpus, tmp_path):
    labelled = textures(labels=[0, 1] * 3)
    for model in ("full", "local", "semantic", "class"):
        with refused("a model with locality (all but 'texture')"):
            npgen.generate(labelled, 1, model, TEXTURE, encoder="pixels", progress=False)
    with pytest.raises(ValueError, match=r"size must be \(height, width\) where images are of several sizes"):
        texture(corpus, npgen.Config(window=5, seed_size=4))
    with refused("an encoder"):
        npgen.load_encoder("pixels", corpus)
    encoder = npgen.load_encoder("pixels", npgen.Corpus.from_arrays(np.zeros((2, 20, 30, 3), np.uint8)))
    with refused("an encoder"):
        npgen.embed(corpus, encoder)
    with refused("an encoder"):
        train_encoder(corpus, tmp_path / "e.safetensors")
    with refused("an encoder"):
        knn_accuracy(encoder, labelled, labelled.images, labelled.labels)
    with refused("a classifier"):
        load_classifier(labelled)
    with refused("scores"):
        evaluate(texture(corpus, TEXTURE), corpus)
    with refused("a study"):
        Workbench(corpus, 0)
    with refused(MACHINE):
        score_generate(corpus, 1)
    assert resized(corpus, (20, 30)).images.shape == (6, 20, 30, 3)
    np.testing.assert_array_equal(resized(corpus, (12, 9)).images[0], pictures()[0])


def test_tokens_and_diffusion_need_one_size(corpus, tmp_path):
    model = corpora.autoencoder(3)
    flat = npgen.Corpus.from_arrays(np.zeros((6, 20, 30, 3), np.uint8))
    with refused("an autoencoder"):
        train_autoencoder(corpus, tmp_path / "a.safetensors", progress=False)
    with refused("an autoencoder"):
        npgen.load_autoencoder(model, corpus)
    with refused("an autoencoder"):
        npgen.encode_tokens(corpus, model, tmp_path / "tokens", progress=False)
    with refused("tokens"):
        npgen.load_tokens(npgen.encode_tokens(flat, model, progress=False), corpus)
    with refused("tokens"):
        compare_twins(corpus, tmp_path / "c", quiet=True)
    with refused("tokens", "heldout"):
        compare_twins(flat, tmp_path / "c", contexts=2, heldout=corpus, tokens="none", quiet=True)
    with refused("a study", "heldout"):
        Workbench(flat, 0, heldout=corpus)
    with refused("scores", "heldout"):
        evaluate(texture(flat, npgen.Config(window=3, seed_size=18)), flat, heldout=corpus)
    with refused("a study"):
        npgen.gamma_study(corpus, tmp_path / "g", [1], kinds=["pixels"], quiet=True)
    with refused("a diffusion network"):
        train_diffusion(corpus, tmp_path / "n.safetensors", progress=False)
    one = {"machine": "local", "window": 3, "signal": 0.5, "noise": 0.5, "ids": np.zeros(1, np.int32)}
    with refused(MACHINE):
        npgen.denoise(corpus, np.zeros((1, 20, 30, 3), np.float32), **one)
    with refused(MACHINE):
        els_compare(corpus, tmp_path / "e", 2, ["local"], [3, 3, 3], steps=3, progress=False)
    assert list(tmp_path.iterdir()) == []
