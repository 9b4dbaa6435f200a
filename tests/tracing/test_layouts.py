"""Figures of several drawings: samples with maps, sources around a sample."""

from __future__ import annotations

import numpy as np
from drawings import shown
from matplotlib.colors import to_rgb

from npgen import tracing
from npgen.runs import pictures as figures
from npgen.tracing import layouts
from npgen.tracing.canvas import share


def test_a_sample_is_surrounded_by_its_most_used_sources(samples, digits):
    drawn = tracing.sources_around(samples, digits, 1, top=5)
    ids = samples.trace.image_id[1]
    sources, counts = np.unique(ids, return_counts=True)
    most = sources[np.lexsort((sources, -counts))][:5]
    assert list(drawn) == ["sample", *(f"source {rank}" for rank in range(1, len(most) + 1)), "class", "image_id"]
    picture = shown(drawn["image_id"])
    for rank, source in enumerate(most):
        assert np.allclose(picture[ids == source], to_rgb(layouts.SOURCE_COLOURS[rank]))
        axes = drawn[f"source {rank + 1}"]
        used = ids == source
        title = f"{share(used.sum(), ids)} · {digits.labels[source]}\n#{source}"
        assert axes.get_title("left") == title + (" (seed)" if source == samples.anchor[1] else "")
        marked = np.zeros((16, 16), bool)
        marked[samples.trace.y[1][used], samples.trace.x[1][used]] = True
        original = np.broadcast_to(digits.images[source], (16, 16, 3))
        np.testing.assert_array_equal(shown(axes)[marked], original[marked])
        assert (shown(axes)[~marked & (original[..., 0] < 200)] > 130).all()
    assert np.allclose(picture[~np.isin(ids, most)], to_rgb(layouts.OTHERS))
    assert "(seed)" in "".join(axes.get_title("left") for axes in tracing.sources_around(samples, digits, 1).values())


def test_layouts_leave_classes_out_where_there_are_none(bare):
    corpus, samples = bare
    assert "class" not in tracing.sources_around(samples, corpus)
    assert list(tracing.timeline_with_maps(samples, corpus)) == ["sample", "image_id", "timeline"]
    assert list(tracing.samples_with_maps(samples, corpus, [1])) == [(1, "sample"), (1, "image_id")]


def test_rows_of_samples_with_their_maps(samples, digits):
    drawn = tracing.samples_with_maps(samples, digits, [3, 0, 1], across=2)
    assert list(drawn) == [(k, name) for k in (3, 0, 1) for name in ("sample", "class", "image_id")]
    for k in (3, 0, 1):
        np.testing.assert_array_equal(shown(drawn[k, "class"]), figures.coloured_by_class(samples, digits)[k])
        assert drawn[k, "sample"].get_ylabel() == str(k)
    drawn[3, "sample"].figure.draw_without_rendering()
    boxes = {key: axes.get_position() for key, axes in drawn.items()}
    assert boxes[0, "sample"].x0 > boxes[3, "image_id"].x1 and boxes[1, "sample"].y1 < boxes[3, "sample"].y0
