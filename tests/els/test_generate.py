import json
import math

import numpy as np
import pytest

import npgen
from npgen.corpus.resize import resized
from npgen.els import generate as scores
from npgen.els import machine as denoising
from npgen.els.samples import load_score_samples
from npgen.els.schedules import RELEASED, levels, windows_of

MACHINES = ("ideal", "local", "equivariant", "equivariant-borders")


def noisy_corpus(n=40, height=9, width=11, channels=1, seed=0):
    """Return labelled images of a few strokes on a plain background, and some of noise."""
    random = np.random.default_rng(seed)
    images = np.zeros((n, height, width, channels), np.uint8)
    for k, image in enumerate(images):
        for _ in range(3):
            y, x = random.integers(0, height), random.integers(0, width)
            image[y, :: 1 + k % 2] = random.integers(100, 256, channels)
            image[:, x] = random.integers(0, 256, channels)
    images[-2:] = random.integers(0, 256, images[-2:].shape)
    return npgen.Corpus.from_arrays(images, np.arange(n) % 3, ("a", "b", "c"))


class BruteForce:
    """The definition in double precision, with no idea but memory to spare."""

    def __init__(self, images, machine, window):
        _, self.height, self.width, self.channels = images.shape
        self.reach = max(self.height, self.width) if machine == "ideal" else window // 2
        self.torus = machine == "equivariant"
        self.pixels = images / 127.5 - 1  # (N, H, W, C)
        self.patches = self._patches(self.pixels)  # (N, H, W, k²·C)
        alike = self._alike(machine, self.height)[:, None, :, None] & self._alike(machine, self.width)[None, :, None, :]
        self.alike = alike  # (H, W, H, W)

    def _alike(self, machine, length):
        at = np.arange(length)
        if machine == "equivariant":
            return np.ones((length, length), bool)
        inside = (at >= self.reach) & (at + self.reach < length)
        both = inside[:, None] & inside if machine == "equivariant-borders" else np.zeros((length, length), bool)
        return both | np.eye(length, dtype=bool)

    def _patches(self, images):
        border = ((0, 0), (self.reach, self.reach), (self.reach, self.reach), (0, 0))
        padded = np.pad(images, border, mode="wrap" if self.torus else "constant")
        side = 2 * self.reach + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
        return windows.reshape(*images.shape[:3], -1)

    def denoise(self, canvas, a, b):
        """Return x̂₀ (H, W, C), logarithms of sums and entropies (H, W), and weights of all patches."""
        mean = np.empty((self.height, self.width, self.channels))
        log_sum, entropy = np.empty((2, self.height, self.width))
        weights = {}
        ours = self._patches(canvas[None].astype(np.float64))[0]
        for y, x in np.ndindex(self.height, self.width):
            chosen = np.broadcast_to(self.alike[y, x], self.pixels.shape[:3])
            places = np.argwhere(chosen)
            logits = -((ours[y, x] - a * self.patches[chosen]) ** 2).sum(1) / (2 * b * b)
            shifted = logits - logits.max()
            total = np.exp(shifted).sum()
            w = np.exp(shifted) / total
            mean[y, x] = w @ self.pixels[chosen]
            log_sum[y, x] = logits.max() + np.log(total)
            entropy[y, x] = np.log(total) - w @ shifted
            weights[y, x] = {tuple(place): weight for place, weight in zip(places, w, strict=True)}
        return mean, log_sum, entropy, weights


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
        found = denoising.denoise(corpus, canvases, tolerance=tolerance, **options)
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
    exact = denoising.denoise(corpus, canvases, tolerance=0, **options)
    found = denoising.denoise(corpus, canvases, tolerance=tolerance, **options)
    assert np.all(found.skipped <= tolerance)
    # What is left out, and what takes its share, may differ by all of −1…1.
    assert np.max(np.abs(found.mean - exact.mean) - 2 * found.skipped[:, None, None, None]) <= 1e-5


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


@pytest.mark.parametrize("machine", MACHINES)
def test_the_heaviest_patches_are_named(machine):
    corpus = noisy_corpus(30, 7, 8)
    a, b = levels(0.2)
    canvas = (a * (corpus.images[:1] / 127.5 - 1) + b * np.random.default_rng(1).standard_normal((1, 7, 8, 1))).astype(
        "f4"
    )
    found = denoising.denoise(corpus, canvas, machine=machine, window=3, signal=a, noise=b, sources=5)
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
    found = denoising.denoise(npgen.Corpus.from_arrays(images), canvas, machine="local", sources=3, **options)
    assert [tuple(source) for source in found.sources[0, 2, 2]] == [(0, 2, 2), (1, 2, 2), (2, 2, 2)]
    np.testing.assert_allclose(found.weights[0, 2, 2], 1 / 39, rtol=1e-5)
    few = denoising.denoise(npgen.Corpus.from_arrays(images[:2]), canvas, machine="local", sources=3, **options)
    assert few.sources[0, 2, 2, 2].tolist() == [-1, -1, -1] and few.weights[0, 2, 2, 2] == 0
    assert few.entropy[0, 2, 2] == pytest.approx(math.log(2))


def test_a_sample_tells_its_own_error():
    corpus = noisy_corpus(16 * 300, 5, 5, seed=3)
    a, b = levels(0.95)
    canvases = np.random.default_rng(2).standard_normal((4, 5, 5, 1)).astype(np.float32)
    options = {"machine": "equivariant", "window": 3, "signal": a, "noise": b}
    exact = denoising.denoise(corpus, canvases, **options)
    errors = []
    for rotation in range(8):
        part = denoising.denoise(corpus, canvases, sampling=0.02, rotation=rotation, **options)
        assert np.all(part.images < len(corpus)) and np.all(part.standard_error <= 0.02)
        errors.append(a / b * np.sqrt(((part.mean - exact.mean) ** 2).mean((1, 2, 3))) / part.standard_error)
    # Neighbours are alike, so a systematic sample is better than the scatter of its parts lets expect.
    assert 0.2 < np.sqrt(np.mean(np.square(errors))) < 1.2
    # Where few patches decide, no sample will do.
    a, b = levels(0.05)
    clean = (a * (corpus.images[:2] / 127.5 - 1)).astype(np.float32)
    options |= {"signal": a, "noise": b, "window": 5}
    assert np.all(denoising.denoise(corpus, clean, sampling=0.02, **options).images == len(corpus))


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


def test_instruction_sets_agree(digits, monkeypatch):
    canvases = scores.draw_noise((2, 16, 16, 1), 0)
    found = []
    for path in npgen._core.instruction_sets():
        monkeypatch.setenv("NPGEN_SIMD", path)
        found.append(
            denoising.denoise(digits, canvases, machine="equivariant-borders", window=5, signal=0.6, noise=0.8).mean
        )
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5)


def test_noise_is_normal_and_keyed():
    noise = scores.draw_noise((200, 5, 5, 3), 7)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.02
    assert np.array_equal(scores.draw_noise((1, 5, 5, 3), 7, 17)[0], noise[17])
    assert not np.array_equal(scores.draw_noise((1, 5, 5, 3), 8)[0], noise[0])


def test_a_folder_holds_all_and_the_mosaic_shows_sources(digits, tmp_path):
    samples = npgen.score_generate(digits, 2, windows=[3, 3, 5], steps=3, size=8, label=1, progress=False)
    small = resized(digits, 8)
    assert samples.settings["corpus"]["hash"] == small.hash
    assert samples.pixels.dtype == np.uint8 and samples.pixels.shape == (2, 8, 8, 1)
    mosaic = samples.mosaic(small)
    image, y, x = samples.sources[0, 1, 4, 4, 0]
    assert small.labels[image] == 1 and mosaic[1, 4, 4] == small.images[image, y, x]
    with pytest.raises(ValueError, match="corpus must be that of hash"):
        samples.mosaic(digits)
    samples.save(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["windows"] == [3, 3, 5] and len(manifest["shards"]) == 1
    again = load_score_samples(tmp_path / "run")
    for name in ("images", "noise", "sources", "weights", "entropy", "accounts"):
        assert np.array_equal(getattr(again, name), getattr(samples, name))
    assert again.settings == samples.settings and again.steps == samples.steps
    with pytest.raises(FileExistsError):
        samples.save(tmp_path / "run")


def test_resizing_keeps_labels_and_sizes_that_fit(digits, colours):
    assert resized(digits, 16) is digits
    tall = resized(colours, (20, 10))
    assert tall.images.shape == (70, 20, 10, 3) and np.array_equal(tall.labels, colours.labels)
    with pytest.raises(ValueError, match="size must be in 1…1024, got 0"):
        resized(digits, 0)


def test_schedules_are_those_released():
    assert all(len(windows) == 20 for windows in RELEASED.values())
    assert windows_of("mnist-unet", 20) == RELEASED["mnist-unet"]
    assert windows_of("mnist-unet", 10) == RELEASED["mnist-unet"][::2]
    a, b = levels(0.5)
    assert a * a + b * b == pytest.approx(1) and b * b == pytest.approx(1 - math.cos(math.pi * 0.5 / 2.016) ** 2)
    assert levels(0) == (1, 0)


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
        ({"windows": [3, 3, 33]}, ValueError, "window must be odd, in 1…31, got 33"),
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
        denoising.denoise(corpus, np.zeros((1, 16, 16, 1), np.float32), **arguments)


def test_canvases_must_fit_the_corpus(digits):
    with pytest.raises(ValueError, match=r"canvases must be of shape \(B, 16, 16, 1\), got \[1, 8, 8, 1\]"):
        denoising.denoise(digits, np.zeros((1, 8, 8, 1)), machine="local", window=3, signal=0.6, noise=0.8)
