"""Schedules of an encoder's training: one fall or two, stretched to a time limit, and where its numbers are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import npgen
from npgen.encoders import simclr
from npgen.encoders.recipe import Recipe
from npgen.encoders.simclr import train_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe(epochs=3, batch_size=8, layers=((6, 3, 2), (8, 3, 2)), dim=8, projection=8, seed_size=4)
MASKED = replace(TINY, full=1.0, masked_epochs=2, masked_full=0.0, least_motion=1.0)


def random_corpus():
    return npgen.Corpus.from_arrays(np.random.default_rng(0).integers(0, 256, (28, 14, 12, 1), dtype=np.uint8))


def test_one_fall_over_all_epochs():
    recipe = replace(MASKED, masked_rate=None, warmup_epochs=0)
    training = simclr.EncoderTraining(random_corpus(), recipe, torch.device("cpu"))
    rates = [training.learning_rate(step) for step in range(training.steps)]
    assert rates == sorted(rates, reverse=True) and rates[0] == recipe.learning_rate
    assert rates[-1] < rates[0] / 10
    twice = simclr.EncoderTraining(random_corpus(), replace(MASKED, warmup_epochs=0), torch.device("cpu"))
    assert twice.learning_rate(twice.unmasked_steps) == MASKED.masked_rate


def test_masks_come_in_the_last_part_of_a_time_limit(tmp_path, monkeypatch):
    shares, mask = [], simclr.ring_masks

    def noted(count, height, width, recipe, generator, full):
        shares.append(full)
        return mask(count, height, width, recipe, generator, full)

    monkeypatch.setattr(simclr, "ring_masks", noted)
    monkeypatch.setattr("npgen.nn.training.time.monotonic", lambda: float(len(shares)))
    corpus, options = random_corpus(), {"device": "cpu", "progress": False}
    encoder = train_encoder(corpus, tmp_path / "a.safetensors", MASKED, **options, seconds=10, snapshot_every=4)
    assert shares == [MASKED.full] * 6 + [MASKED.masked_full] * 4  # 3 of 5 epochs are unmasked
    assert encoder.metadata["time_limit"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]
    with pytest.raises(ValueError, match="seconds must be a number above 0, got 0"):
        train_encoder(corpus, tmp_path / "b.safetensors", MASKED, **options, seconds=0)


def test_random_numbers_of_the_training_device(tmp_path):
    """On a CPU both places of `draws` are the same."""
    ids = {
        train_encoder(
            random_corpus(), tmp_path / f"{place}.safetensors", replace(TINY, draws=place), "cpu", progress=False
        ).id
        for place in ("cpu", "device")
    }
    assert len(ids) == 1
