"""Calibration: the windows of a machine are found by its scores."""

import corpora
import numpy as np
import pytest

import npgen
from npgen.els.calibrate import calibrate_windows
from npgen.els.diffusion import DiffusionNetwork, DiffusionRecipe
from npgen.els.diffusion_training import train_diffusion
from npgen.els.schedules import levels


def test_calibration_finds_the_windows_of_a_machine(colours, monkeypatch, tmp_path):
    bars = corpora.bars()
    recipe = DiffusionRecipe(layers=1, width=6, epochs=1, batch_size=8, precision="float32")
    some = train_diffusion(bars, tmp_path / "network.safetensors", recipe, progress=False)
    sides = {1: 3, 2: 5, 3: 7}

    def denoise(self, canvases, time, device="auto"):
        step = round(4 * time)
        a, b = levels(time)
        return npgen.denoise(bars, canvases, machine="local", window=sides[step], signal=a, noise=b).mean

    monkeypatch.setattr(DiffusionNetwork, "denoise", denoise)
    found = calibrate_windows(some, bars, 3, "local", steps=4, largest=9, tolerance=0, sampling=0, progress=False)
    assert found.windows == (3, 3, 5, 7) and found.sides == (3, 5, 7, 9)
    assert np.all(found.cosines.max(1) > 1 - 1e-6) and found.cosines.shape == (3, 4)
    assert found.markdown().splitlines()[0].startswith("| step | window | 3×3 | 5×5 |")
    with pytest.raises(ValueError, match="network must be one that was trained on .*, got 'bars, "):
        calibrate_windows(some, colours)
    with pytest.raises(ValueError, match="machine must be one of .*, got 'ideal'"):
        calibrate_windows(some, bars, machine="ideal")
