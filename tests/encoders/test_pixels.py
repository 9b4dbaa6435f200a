"""The pixel encoder: products that fall with masked distance, and rows that depend on their own image alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from corpora import random_images, random_masks

from npgen.encoders.pixels import PixelEncoder


def masked_distances(grid, canvas, known, sources):
    """Masked coarse squared distances, the slow way: every pixel cut into grid x grid parts, cells of whole parts."""
    height, width = canvas.shape[:2]
    rows, columns = min(grid, height), min(grid, width)

    def cut(array):
        return np.repeat(np.repeat(array.astype(np.float64), rows, axis=0), columns, axis=1)

    distances = np.zeros(len(sources))
    seen, canvas = cut(known), cut(canvas / 255 - 0.5)
    for number, source in enumerate(sources):
        source = cut(source / 255 - 0.5)
        for row in range(rows):
            for column in range(columns):
                cell = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
                if seen[cell].any():
                    have = (canvas[cell] * seen[cell][..., None]).sum((0, 1)) / seen[cell].sum()
                    want = source[cell].mean((0, 1))
                    distances[number] += seen[cell].mean() * ((have - want) ** 2).sum()
    return distances


class TestPixels:
    @pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (32, 32, 3), (9, 13, 1), (3, 40, 3)])
    def test_products_fall_linearly_with_masked_distance(self, height, width, channels):
        encoder = PixelEncoder(height, width, channels)
        sources = random_images(12, height, width, channels)
        # Smooth sources, whose cells differ more than the means of noise do.
        sources[:6] = sources[:6, :1, :1]
        keys = encoder.encode(sources)
        assert keys.shape == (12, encoder.dim)
        np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, rtol=1e-6)
        canvas = random_images(1, height, width, channels, seed=5)
        corner = np.zeros((height, width), bool)
        corner[: height // 2 + 1, : width // 3 + 1] = True
        masks = np.stack([corner, random_masks(1, height, width)[0], np.ones((height, width), bool)])
        for known in masks:
            query = encoder.encode(canvas, known)[0]
            np.testing.assert_allclose(np.linalg.norm(query), 1, rtol=1e-6)
            distances = masked_distances(7, canvas[0], known, sources)
            products = keys.astype(np.float64) @ query.astype(np.float64)
            slope, offset = np.polyfit(distances, products, 1)
            assert slope < 0
            np.testing.assert_allclose(products, slope * distances + offset, atol=3e-7)
            by_length = np.argsort(((keys - query) ** 2).sum(1))
            np.testing.assert_array_equal(by_length, np.argsort(distances))

    def test_unknown_pixels_do_not_count(self):
        encoder, images, known = PixelEncoder(28, 28, 1), random_images(6), random_masks(6)
        noise = np.where(known[..., None], images, random_images(6, seed=9))
        np.testing.assert_array_equal(encoder.encode(images, known), encoder.encode(noise, known))

    def test_nothing_known_is_as_far_from_every_key(self):
        rows = PixelEncoder(28, 28, 1).encode(random_images(2), np.zeros((28, 28), bool))
        assert not rows.any()

    @pytest.mark.parametrize("keys", [True, False])
    def test_a_row_depends_on_nothing_but_its_image(self, keys):
        encoder, images, known = (
            PixelEncoder(17, 23, 3),
            random_images(600, 17, 23, 3),
            random_masks(600, 17, 23),
        )
        expected = encoder.encode(images, None if keys else known)
        for batch in (1, 7, 64, 300):
            for start in (0, 13, 255, 600 - batch):
                part = slice(start, start + batch)
                got = encoder.encode(images[part], None if keys else known[part])
                np.testing.assert_array_equal(got, expected[part])

    def test_id(self):
        assert PixelEncoder(28, 28, 1).id == PixelEncoder(28, 28, 1).id
        assert len({PixelEncoder(28, 28, 1).id, PixelEncoder(28, 29, 1).id, PixelEncoder(28, 28, 1, grid=5).id}) == 3

    def test_bad_extents(self):
        with pytest.raises(ValueError, match="grid must be in 1…2147483647, got 0"):
            PixelEncoder(28, 28, 1, grid=0)
        with pytest.raises(ValueError, match=r"images must be of shape \(B, 28, 28, 1\), got \(1, 9, 9, 1\)"):
            PixelEncoder(28, 28, 1).encode(random_images(1, 9, 9))

    def test_needs_no_torch(self):
        """Neither the import nor coarse pixels may reach for torch."""
        script = """
import sys
sys.modules["torch"] = None  # any import of it fails from here on
import numpy as np
from npgen.corpus.store import Corpus
from npgen.encoders.loading import load_encoder
corpus = Corpus.from_arrays(np.zeros((3, 28, 28, 1), np.uint8))
print(load_encoder("pixels", corpus).encode(corpus.images).shape)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout == "(3, 99)\n", done.stderr
