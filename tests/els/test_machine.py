"""Denoising with a score machine: it is what the definition computes, to within its tolerances."""

import math

import numpy as np
import pytest
from machines import MACHINES, BruteForce, noisy_corpus

import npgen
from npgen.els.generate import draw_noise
from npgen.els.machine import check_settings, denoise, similarity_order
from npgen.els.schedules import levels


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("channels", "window", "step", "label"),
    [
        (1, 3, 1, None),
        (1, 5, 4, "b"),
        (1, 7, 12, None),
        (1, 9, 19, None),
        (1, 11, 16, 2),
        (3, 3, 2, 0),
        (3, 5, 10, None),
    ],
)
def test_denoise_is_the_brute_force(machine, channels, window, step, label):
    corpus = noisy_corpus(channels=channels)
    chosen = corpus.images
    if label is not None:
        chosen = chosen[corpus.labels == (corpus.classes.index(label) if isinstance(label, str) else label)]
    a, b = levels(step / 20)
    canvases = a * (corpus.images[:3] / 127.5 - 1) + b * np.random.default_rng(1).standard_normal((3, 9, 11, channels))
    canvases = canvases.astype(np.float32)
    brute = BruteForce(chosen, machine, window)
    options = {"machine": machine, "window": window, "signal": a, "noise": b, "label": label}
    for tolerance in (0.0, 1e-6):
        found = denoise(corpus, canvases, tolerance=tolerance, **options)
        assert np.all(found.skipped <= tolerance)
        assert np.all(found.images == len(chosen)) and np.all(found.standard_error == 0)
        for at, canvas in enumerate(canvases):
            mean, log_sum, entropy, _ = brute.denoise(canvas, a, b)
            assert relative((a * found.mean[at] - canvas) / b**2, (a * mean - canvas) / b**2) < 1e-5
            np.testing.assert_allclose(found.log_sum[at], log_sum, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found.entropy[at], entropy, atol=2e-4)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("step", [1, 3, 8, 16])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-2, 0.3])
def test_a_tolerance_bounds_the_error(machine, step, tolerance):
    # Rounds go by 256ths of the tiles, so that only a corpus of many has limits at all.
    corpus = noisy_corpus(16 * 40, 6, 7)
    a, b = levels(step / 20)
    # Near no patch at all, as a canvas of glyphs may come to be: one spot of a pixel, and mere noise.
    canvases = np.stack([np.full((6, 7, 1), -a), 3 * np.random.default_rng(step).standard_normal((6, 7, 1))])
    canvases[0, 3, 3] = 1.5
    options = {"machine": machine, "window": 3, "signal": a, "noise": b}
    exact = denoise(corpus, canvases, tolerance=0, **options)
    found = denoise(corpus, canvases, tolerance=tolerance, **options)
    assert np.all(found.skipped <= tolerance)
    # What is left out, and what takes its share, may differ by all of −1…1.
    assert np.max(np.abs(found.mean - exact.mean) - 2 * found.skipped[:, None, None, None]) <= 1e-5


@pytest.mark.parametrize("machine", MACHINES)
def test_the_heaviest_patches_are_named(machine):
    corpus = noisy_corpus(30, 7, 8)
    a, b = levels(0.2)
    canvas = (a * (corpus.images[:1] / 127.5 - 1) + b * np.random.default_rng(1).standard_normal((1, 7, 8, 1))).astype(
        "f4"
    )
    found = denoise(corpus, canvas, machine=machine, window=3, signal=a, noise=b, sources=5)
    weights = BruteForce(corpus.images, machine, 3).denoise(canvas[0], a, b)[3]
    for pixel in np.ndindex(7, 8):
        expected = sorted(weights[pixel].values(), reverse=True)[:5]
        mine = found.weights[0][pixel]
        assert np.all(np.diff(mine) <= 0)
        shares = mine[mine > 1e-6]
        np.testing.assert_allclose(shares, expected[: len(shares)], rtol=1e-3)
        for source, weight in zip(found.sources[0][pixel], shares, strict=False):
            assert weights[pixel][tuple(source)] == pytest.approx(weight, rel=1e-3)


def test_equally_far_patches_are_named_in_order_and_missing_ones_are_minus_one():
    images = np.zeros((40, 5, 5, 1), np.uint8)
    images[3] = 200
    canvas = np.full((1, 5, 5, 1), -1.0, np.float32)
    options = {"window": 3, "signal": 0.9, "noise": 0.1}
    found = denoise(npgen.Corpus.from_arrays(images), canvas, machine="local", sources=3, **options)
    assert [tuple(source) for source in found.sources[0, 2, 2]] == [(0, 2, 2), (1, 2, 2), (2, 2, 2)]
    np.testing.assert_allclose(found.weights[0, 2, 2], 1 / 39, rtol=1e-5)
    few = denoise(npgen.Corpus.from_arrays(images[:2]), canvas, machine="local", sources=3, **options)
    assert few.sources[0, 2, 2, 2].tolist() == [-1, -1, -1] and few.weights[0, 2, 2, 2] == 0
    assert few.entropy[0, 2, 2] == pytest.approx(math.log(2))


def test_a_sample_tells_its_own_error():
    corpus = noisy_corpus(16 * 300, 5, 5, seed=3)
    a, b = levels(0.95)
    canvases = np.random.default_rng(2).standard_normal((4, 5, 5, 1)).astype(np.float32)
    options = {"machine": "equivariant", "window": 3, "signal": a, "noise": b}
    exact = denoise(corpus, canvases, **options)
    errors = []
    for rotation in range(8):
        part = denoise(corpus, canvases, sampling=0.02, rotation=rotation, **options)
        assert np.all(part.images < len(corpus)) and np.all(part.standard_error <= 0.02)
        errors.append(a / b * np.sqrt(((part.mean - exact.mean) ** 2).mean((1, 2, 3))) / part.standard_error)
    # Neighbours are similar, so a systematic sample is more accurate than the variance of its parts suggests.
    assert 0.2 < np.sqrt(np.mean(np.square(errors))) < 1.2
    # Where few patches decide, no sample will do.
    a, b = levels(0.05)
    clean = (a * (corpus.images[:2] / 127.5 - 1)).astype(np.float32)
    options |= {"signal": a, "noise": b, "window": 5}
    assert np.all(denoise(corpus, clean, sampling=0.02, **options).images == len(corpus))


def test_instruction_sets_agree(digits, monkeypatch):
    canvases = draw_noise((2, 16, 16, 1), 0)
    found = []
    for path in npgen._core.instruction_sets():
        monkeypatch.setenv("NPGEN_SIMD", path)
        found.append(denoise(digits, canvases, machine="equivariant-borders", window=5, signal=0.6, noise=0.8).mean)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be odd, at least 1, got 0"),
        ({"signal": 0.0}, "signal must be above 0, at most 1, got 0"),
        ({"noise": 0.0}, "noise must be in 0.001…1, got 0"),
        ({"sources": 65}, "sources must be in 0…64, got 65"),
        ({"label": 1, "corpus": "unlabelled"}, "label must be None where the corpus has no labels, got 1"),
    ],
)
def test_denoise_refuses_bad_arguments(digits, options, message):
    arguments = {"machine": "local", "window": 3, "signal": 0.6, "noise": 0.8} | options
    corpus = npgen.Corpus.from_arrays(digits.images) if arguments.pop("corpus", None) else digits
    with pytest.raises(ValueError, match=message):
        denoise(corpus, np.zeros((1, 16, 16, 1), np.float32), **arguments)


def test_canvases_must_fit_the_corpus(digits):
    with pytest.raises(ValueError, match=r"canvases must be of shape \(B, 16, 16, 1\), got \[1, 8, 8, 1\]"):
        denoise(digits, np.zeros((1, 8, 8, 1)), machine="local", window=3, signal=0.6, noise=0.8)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"machine": "global"}, ValueError),
        ({"window": 0}, ValueError),
        ({"window": 4}, ValueError),
        ({"window": 33}, ValueError),
        ({"window": 2.5}, TypeError),
        ({"tolerance": -1e-9}, ValueError),
        ({"tolerance": 1.0}, ValueError),
        ({"tolerance": math.nan}, ValueError),
        ({"tolerance": "small"}, TypeError),
        ({"sampling": -0.1}, ValueError),
        ({"sampling": math.nan}, ValueError),
        ({"threads": 0}, ValueError),
        ({"threads": 1.5}, TypeError),
    ],
)
def test_settings_are_refused_as_denoise_refuses_them(digits, change, kind):
    given = {"machine": "local", "window": 3, "tolerance": 0.0, "sampling": 0.0, "threads": 1, **change}
    with pytest.raises(kind):
        denoise(digits, np.zeros((1, 16, 16, 1)), signal=0.6, noise=0.8, **given)
    sides = [2, 3, given.pop("window")]  # that of step 0 is not used
    with pytest.raises(kind):
        check_settings(digits, sides=sides, **given)


def test_settings_that_denoise_takes_are_accepted(digits):
    check_settings(digits, "ideal", [2, 1, 31], 0, 0.0)
    check_settings(digits, "equivariant", [3] * 4, 0.999, math.inf, threads=1024)


@pytest.mark.parametrize("label", [None, 1])
def test_similar_images_are_neighbours_in_their_order(label):
    corpus = noisy_corpus(100)
    ids = similarity_order(corpus, label)
    expected = np.arange(100) if label is None else np.flatnonzero(corpus.labels == label)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(np.sort(ids), expected)
    means = corpus.images.reshape(100, -1).astype(float)
    near = np.linalg.norm(means[ids[1:]] - means[ids[:-1]], axis=1).mean()
    assert near < np.linalg.norm(means[expected[1:]] - means[expected[:-1]], axis=1).mean()
