"""Score machines by their definition, and a corpus for them."""

import numpy as np

import npgen

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
    """Score machines as they are defined, in double precision: slow and obvious."""

    def __init__(self, images, machine, window):
        _, self.height, self.width, self.channels = images.shape
        self.reach = max(self.height, self.width) if machine == "ideal" else window // 2
        self.torus = machine == "equivariant"
        self.pixels = images / 127.5 - 1  # (N, H, W, C)
        self.patches = self._patches(self.pixels)  # (N, H, W, k²·C)
        down, across = (self._comparable(machine, length) for length in (self.height, self.width))
        self.comparable = down[:, None, :, None] & across[None, :, None, :]  # (H, W, H, W)

    def _comparable(self, machine, length):
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
            chosen = np.broadcast_to(self.comparable[y, x], self.pixels.shape[:3])
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
