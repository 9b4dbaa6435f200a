"""Sampling with score machines: trajectories, independence of batches, arguments."""

import numpy as np
import pytest
from machines import MACHINES, BruteForce, noisy_corpus

import npgen
from npgen.els.generate import draw_noise
from npgen.els.schedules import levels, windows_of


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_trajectories_are_those_of_the_brute_force(machine, channels):
    corpus = noisy_corpus(24, 8, 7, channels)
    windows = windows_of("mnist-resnet", 20)
    found = npgen.score_generate(corpus, 3, machine, windows, label="b", batch_size=2, seed=5, progress=False)
    chosen = corpus.images[corpus.labels == 1]
    brutes = {window: BruteForce(chosen, machine, window) for window in set(windows)}
    canvases = found.noise.astype(np.float64)
    for step in range(19, 0, -1):
        a, b = levels(step / 20)
        next_a, next_b = levels((step - 1) / 20)
        for canvas in canvases:
            mean = brutes[windows[step]].denoise(canvas, a, b)[0]
            canvas[...] = next_a * mean + next_b * (canvas - a * mean) / b
    np.testing.assert_allclose(found.images, canvases, atol=1e-3)


def test_samples_depend_on_neither_batches_nor_threads_nor_each_other(colours):
    windows = [3, 3, 5, 7]
    whole = npgen.score_generate(colours, 5, windows=windows, steps=4, seed=9, progress=False, every_step=True)
    parts = npgen.score_generate(
        colours, 2, windows=windows, steps=4, seed=9, first=3, batch_size=1, threads=1, progress=False, every_step=True
    )
    for name in ("images", "noise"):
        assert np.array_equal(getattr(whole, name)[3:], getattr(parts, name))
    for name in ("sources", "weights", "entropy"):
        assert len(getattr(whole, name)) == 3
        assert np.array_equal(getattr(whole, name)[:, 3:], getattr(parts, name))
    again = npgen.score_generate(colours, 5, windows=windows, steps=4, noise=whole.noise, progress=False)
    assert np.array_equal(again.images, whole.images)
    assert np.array_equal(again.sources[0], whole.sources[-1])
    assert [account.step for account in again.steps] == [3, 2, 1]


def test_noise_is_normal_and_keyed():
    noise = draw_noise((200, 5, 5, 3), 7)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.02
    assert np.array_equal(draw_noise((1, 5, 5, 3), 7, 17)[0], noise[17])
    assert not np.array_equal(draw_noise((1, 5, 5, 3), 8)[0], noise[0])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"machine": "global"},
            ValueError,
            "machine must be one of 'ideal', 'local', 'equivariant', 'equivariant-borders', got",
        ),
        ({"windows": "svhn"}, ValueError, "windows must be one of cifar10-resnet, .*, or a list of sides, got 'svhn'"),
        ({"windows": [3, 3]}, ValueError, "windows must be 3 sides, one per step, got 2"),
        ({"windows": [3, 3, 4]}, ValueError, "each of windows must be odd, at least 1, got 4"),
        ({"windows": [3, 3, 2.5]}, TypeError, "each of windows must be a whole number, got 2.5"),
        ({"windows": [3, 3, 33]}, ValueError, "each of windows must be odd, in 1…31, .*, got 33"),
        ({"steps": 1}, ValueError, "steps must be in 2…1000, got 1"),
        ({"label": "cat"}, ValueError, "label must be a number, got 'cat'"),
        ({"label": 7}, ValueError, "label must be one that the corpus has images of, got 7"),
        ({"seed": -1}, ValueError, "seed must be in 0…2⁶⁴ − 1, got -1"),
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"first": 1.5}, TypeError, "first must be a whole number, got 1.5"),
        ({"tolerance": 1.0}, ValueError, "tolerance must be at least 0, below 1, got 1"),
        ({"sampling": -0.1}, ValueError, "sampling must be at least 0, got -0.1"),
        ({"threads": 0}, ValueError, "threads must be in 1…1024, got 0"),
        ({"noise": np.zeros((1, 4, 4, 1))}, ValueError, r"noise must be of shape \(1, 16, 16, 1\), got \(1, 4, 4, 1\)"),
        ({"noise": np.zeros((1, 16, 16, 1), int)}, TypeError, "noise must be of a float dtype, got int64"),
        ({"noise": np.full((1, 16, 16, 1), np.nan)}, ValueError, "noise must be finite, within ±1000, got nan"),
    ],
)
def test_bad_arguments_are_refused(digits, options, kind, message):
    arguments = {"n": 1, "windows": [3, 3, 3], "steps": 3, "progress": False} | options
    with pytest.raises(kind, match=message):
        npgen.score_generate(digits, **arguments)
