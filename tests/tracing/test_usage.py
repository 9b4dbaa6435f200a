"""Timelines and mosaics show the values of the trace."""

from __future__ import annotations

import numpy as np
from drawings import shown

import npgen
from npgen import tracing
from npgen.output import class_colours
from npgen.runs import pictures as figures


def test_the_timeline_numbers_sources_by_first_use(samples, digits):
    axes = tracing.timeline(samples, digits, 1)
    (marks,) = (part for part in axes.collections if hasattr(part, "get_sizes") and len(part.get_sizes()))
    steps, numbers = np.asarray(marks.get_offsets()).T.astype(int)
    assert steps.tolist() == list(range(16 * 16 - 64))
    order = npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels
    ids = samples.trace.image_id[1][order[:, 0], order[:, 1]]
    seen: dict[int, int] = {}
    assert numbers.tolist() == [seen.setdefault(int(i), len(seen)) for i in ids]
    colours = np.round(marks.get_facecolors()[:, :3] * 255).astype(int)
    np.testing.assert_array_equal(colours, class_colours(3)[digits.labels[ids]])
    by_image = tracing.timeline(samples, k=1)
    (marks,) = (part for part in by_image.collections if hasattr(part, "get_sizes") and len(part.get_sizes()))
    np.testing.assert_array_equal(np.round(marks.get_facecolors()[:, :3] * 255), figures.image_colours(ids))
    assert by_image.get_legend() is None


def test_a_mosaic_of_single_pixels_is_the_sample(samples, digits, rgb, colours):
    for made, corpus in ((samples, digits), (rgb, colours)):
        picture = shown(tracing.patch_mosaic(made, corpus, 1, side=1))
        np.testing.assert_array_equal(picture, np.broadcast_to(made.images[1], picture.shape))


def test_tiles_of_a_mosaic_are_patches_of_their_sources(samples, digits):
    axes = tracing.patch_mosaic(samples, digits, 0, side=5)
    picture = shown(axes)[..., 0]
    trace = samples.trace
    for top in range(0, 16, 5):
        for left in range(0, 16, 5):
            middle = 0, min(top + 2, 15), min(left + 2, 15)
            for y in range(top, min(top + 5, 16)):
                for x in range(left, min(left + 5, 16)):
                    ys = np.clip(trace.y[middle] + y - middle[1], 0, 15)
                    xs = np.clip(trace.x[middle] + x - middle[2], 0, 15)
                    assert picture[y, x] == digits.images[trace.image_id[middle], ys, xs, 0]
    assert len(axes.collections[0].get_paths()) == 16
