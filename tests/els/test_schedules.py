"""Schedules: levels, DDIM steps, and the released windows."""

import math

import numpy as np
import pytest

from npgen.els.schedules import RELEASED, ddim_step, levels, rotation_of, windows_of


def test_schedules_are_those_released():
    assert all(len(windows) == 20 for windows in RELEASED.values())
    assert windows_of("mnist-unet", 20) == RELEASED["mnist-unet"]
    assert windows_of("mnist-unet", 10) == RELEASED["mnist-unet"][::2]
    a, b = levels(0.5)
    assert a * a + b * b == pytest.approx(1) and b * b == pytest.approx(1 - math.cos(math.pi * 0.5 / 2.016) ** 2)
    assert levels(0) == (1, 0)


def test_a_ddim_step_keeps_image_and_noise():
    rng = np.random.default_rng(0)
    clean, noise = rng.random((2, 3, 4, 4, 1))
    (a, b), (next_a, next_b) = levels(0.7), levels(0.4)
    found = ddim_step(a * clean + b * noise, clean, 0.7, 0.4)
    np.testing.assert_allclose(found, next_a * clean + next_b * noise, rtol=1e-12)
    np.testing.assert_array_equal(ddim_step(found, clean, 0.4, 0.0), clean)


def test_every_step_has_its_own_sample():
    # The core's systematic samples repeat after 256 rotations.
    assert len({rotation_of(step) % 256 for step in range(256)}) == 256
