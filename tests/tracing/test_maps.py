"""Maps of a sample show the values of its trace."""

from __future__ import annotations

import numpy as np
from drawings import made_up, shown, texts

import npgen
from npgen import tracing
from npgen.output import class_colours
from npgen.runs import pictures as figures
from npgen.tracing import canvas
from npgen.tracing.canvas import share


def test_maps_show_the_trace(samples, digits):
    ids, labels = samples.trace.image_id[2], digits.labels[samples.trace.image_id[2]]
    np.testing.assert_array_equal(shown(tracing.image_id_map(samples, 2)), figures.coloured_by_image(samples)[2])
    axes = tracing.class_map(samples, digits, 2)
    np.testing.assert_array_equal(shown(axes), figures.coloured_by_class(samples, digits)[2])
    present, counts = np.unique(labels, return_counts=True)
    assert texts(axes) == [f"{label} · {share(count, ids)}" for label, count in zip(present, counts, strict=True)]
    for handle, label in zip(axes.get_legend().legend_handles, present, strict=True):
        assert np.allclose(handle.get_facecolor()[:3], class_colours(3)[label] / 255)
    assert tracing.class_map(samples, digits, 2, legend=False).get_legend() is None
    np.testing.assert_array_equal(
        shown(tracing.sample(samples, 2)), np.broadcast_to(samples.images[2], (*ids.shape, 3))
    )


def test_measured_maps_show_the_trace_but_for_the_seed(samples):
    seed = samples.trace.pool_size[1] == 0
    for axes, values in [
        (tracing.pool_size_map(samples, 1), samples.trace.pool_size[1]),
        (tracing.distance_map(samples, 1), np.sqrt(samples.trace.distance[1].astype(float))),
        (tracing.fill_order_map(samples, 1), canvas.fill_steps(samples)),
    ]:
        np.testing.assert_array_equal(shown(axes).mask, seed)
        np.testing.assert_allclose(shown(axes).compressed(), values[~seed])
    assert "median" in tracing.pool_size_map(samples, 1).get_title("left")


def test_entropies_lie_at_the_centres_of_their_windows(samples, digits):
    for axes, labels in [
        (tracing.image_id_entropy(samples, 1), samples.trace.image_id[1]),
        (tracing.class_entropy(samples, digits, 1), digits.labels[samples.trace.image_id[1]]),
    ]:
        entropies = npgen.entropy_map(labels)
        np.testing.assert_allclose(shown(axes), entropies)
        assert axes.images[0].get_extent() == [2.5, 12.5, 12.5, 2.5]  # centres of 7×7 windows: pixels 3 to 12
        assert axes.get_xlim() == (-0.5, 15.5) and axes.get_ylim() == (15.5, -0.5)
        assert axes.get_title("left").endswith(f"mean {entropies.mean():.2f} nats")


def test_many_classes_with_odd_names_have_a_legend(digits):
    names = [f"_class ${k}$ <&>" for k in range(20)]
    corpus = npgen.Corpus.from_arrays(digits.images, np.arange(60) % 20, names)
    made = made_up(corpus, (16, 16), npgen.Config(window=5))
    axes = tracing.class_map(made, corpus)
    axes.figure.canvas.draw()
    assert len(texts(axes)) == canvas.NAMED + 1 and texts(axes)[-1].startswith("8 more · ")
    tracing.sources_around(made, corpus)["sample"].figure.canvas.draw()
