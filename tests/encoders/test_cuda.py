"""Encoders on a CUDA device beside the CPU: embeddings, masks, views and trainings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from corpora import random_encoder, random_images, random_masks
from tqdm.auto import tqdm

import npgen
from npgen.encoders import simclr
from npgen.encoders.augment import Augment, ring_masks
from npgen.encoders.encoder import Encoder
from npgen.encoders.recipe import Recipe

pytestmark = pytest.mark.cuda
DEEP = ((8, 3, 1), (8, 3, 1), (8, 3, 1, 2), (12, 3, 2), (12, 3, 1, 2), (0, 3, 2), (16, 3, 1))
TINY = Recipe(epochs=3, batch_size=64, layers=DEEP, dim=16, projection=16, draws="device", crop=0.5, hue=0.1, blur=0.5)


def coloured(count=300, seed=0):
    """Return a corpus of patches of one colour each, which networks tell apart, and labels."""
    patches = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return npgen.Corpus.from_arrays(patches.repeat(8, 1).repeat(8, 2), np.arange(count) % 3, name="coloured")


@pytest.fixture(scope="module")
def encoders():
    """The same encoder on both devices."""
    on_cpu = random_encoder(channels=3, layers=DEEP)
    return on_cpu, Encoder(on_cpu.architecture, on_cpu.tensors, device="cuda")


@pytest.mark.parametrize("partly", [False, True])
def test_embeddings_agree_with_the_cpu(encoders, partly):
    images = random_images(300, 32, 32, channels=3)
    known = random_masks(300, 32, 32) if partly else None
    expected, found = (encoder.encode(images, known) for encoder in encoders)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3  # images differ by far more


def test_shipped_encoders_agree_with_the_cpu():
    for name, channels, side in (("mnist", 1, 28), ("cifar10", 3, 32)):
        images = random_images(64, side, side, channels)
        corpus = npgen.Corpus.from_arrays(images)
        expected, found = (Encoder.find(name, corpus, device).encode(images) for device in ("cpu", "cuda"))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_embedding_depends_on_its_image_alone(encoders):
    """The bytes are those of the same image at another place of another batch."""
    _, encoder = encoders
    images = random_images(300, 32, 32, channels=3)
    order = np.random.default_rng(1).permutation(300)
    everything = encoder.encode(images)
    np.testing.assert_array_equal(encoder.encode(images[order]), everything[order])
    np.testing.assert_array_equal(encoder.encode(images[41:42]), everything[41:42])


def on_device(seed=0):
    return torch.Generator("cuda").manual_seed(seed)


def test_masks_are_drawn_on_the_device():
    masks = ring_masks(2000, 32, 32, Recipe(seed_size=4), on_device(), 0.5)
    again = ring_masks(2000, 32, 32, Recipe(seed_size=4), on_device(), 0.5)
    assert masks.device.type == "cuda" and masks.dtype == torch.bool and torch.equal(masks, again)
    assert 0.46 < masks.flatten(1).all(1).float().mean() < 0.6
    assert masks.flatten(1).sum(1).min() >= 16


def test_views_are_drawn_on_the_device():
    recipe = replace(TINY, colour=0.4, grey=0.2, flip=0.5, elastic=0.1)
    images = torch.rand(40, 3, 32, 32, generator=on_device(1), device="cuda")
    views, again = (Augment(recipe, on_device())(images) for _ in range(2))
    assert views.shape == images.shape and views.device.type == "cuda" and torch.equal(views, again)
    assert views.min() >= 0 and views.max() <= 1
    # The same random numbers make the same views on the CPU.
    params = Augment(recipe, on_device()).make_params([images])
    on_cpu = {name: value.cpu() for name, value in params.items()}
    expected = Augment(recipe, torch.Generator()).transform(images.cpu(), on_cpu)
    torch.testing.assert_close(views.cpu(), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("draws", ["cpu", "device"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_step(draws, precision):
    recipe = replace(TINY, epochs=8, draws=draws, precision=precision)
    training = simclr.EncoderTraining(coloured(), recipe, torch.device("cuda"))
    assert training.on_accelerator.device.type == "cuda"
    losses = []
    for _ in range(recipe.epochs):
        training.run_epoch(tqdm(disable=True))
        losses.append(training.losses[-1])
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]


def test_a_step_agrees_with_the_cpu():
    """With random numbers of the CPU, the first loss in single precision is the CPU's."""
    recipe, losses = replace(TINY, draws="cpu", precision="float32"), []
    for device in ("cpu", "cuda"):
        training = simclr.EncoderTraining(coloured(), recipe, torch.device(device))
        losses.append(training.step(training.batch(np.arange(64)), torch.Generator().manual_seed(0)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_a_training_into_a_file(tmp_path, monkeypatch):
    """It resumes after an interruption, keeps to its time, and leaves an encoder that the CPU loads."""
    corpus, out = coloured(), tmp_path / "a.safetensors"
    recipe = replace(TINY, whitened=True, pool=1, masked_epochs=2, masked_rate=None)
    options = {"device": "cuda", "progress": False}
    save = simclr.EncoderTraining.save

    def killed(self, path):
        save(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(simclr.EncoderTraining, "save", killed)
        simclr.train_encoder(corpus, out, recipe, **options)
    encoder = simclr.train_encoder(corpus, out, recipe, **options)
    assert Encoder.load(out, device="cpu").id == encoder.id
    timed = simclr.train_encoder(corpus, tmp_path / "b.safetensors", recipe, **options, seconds=2, snapshot_every=0.5)
    assert timed.metadata["time_limit"] == 2 and np.isfinite(timed.encode(corpus.images)).all()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".safetensors", ".safetensors"]
