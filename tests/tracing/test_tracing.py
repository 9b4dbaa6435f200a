"""All figures of every kind of run, where they are drawn, and what is refused."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from drawings import made_up

import npgen
from npgen import tracing
from npgen.tracing import canvas, layouts


def drawn_all(samples, corpus, k=0):
    """Draw and render all figures."""
    tracing.sample(samples, k)
    tracing.image_id_map(samples, k)
    tracing.image_id_entropy(samples, k)
    tracing.fill_order_map(samples, k)
    tracing.pool_size_map(samples, k)
    tracing.distance_map(samples, k)
    tracing.timeline(samples, corpus, k)
    tracing.timeline(samples, k=k)
    tracing.patch_mosaic(samples, corpus, k)
    tracing.samples_with_maps(samples, corpus, [k])
    tracing.sources_around(samples, corpus, k)
    tracing.timeline_with_maps(samples, corpus, k)
    if corpus.labels is not None:
        tracing.class_map(samples, corpus, k)
        tracing.class_entropy(samples, corpus, k)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def test_every_kind_of_run_can_be_drawn(samples, digits, rgb, colours, bare):
    drawn_all(samples, digits, 3)
    drawn_all(rgb, colours, 1)
    drawn_all(bare[1], bare[0])


@pytest.mark.parametrize("shape", [(8, 8), (12, 90), (256, 256)])
def test_samples_of_any_size_can_be_drawn(shape, colours):
    drawn_all(made_up(colours, shape, npgen.Config(window=5, seed_size=4, size=shape)), colours)


def test_models_that_compare_nothing_can_be_drawn(colours):
    config = npgen.Config(window=5, seed_size=4, shortlist=5)
    drawn_all(npgen.generate(colours, 1, "semantic", config, encoder="pixels", progress=False), colours)


def test_a_frame_that_is_all_seed_can_be_drawn(colours):
    seeded = made_up(colours, (12, 12), npgen.Config(window=5, seed_size=12))
    seeded.trace.image_id[:] = 3
    drawn_all(seeded, colours)
    assert tracing.pool_size_map(seeded).get_title("left") == "pool size"
    assert tracing.distance_map(seeded).get_title("left") == "distance"


def test_figures_are_drawn_on_the_axes_given(samples, digits):
    own = plt.figure().subplots(1, 2)
    assert tracing.image_id_map(samples, axes=own[0]) is own[0]
    assert tracing.timeline(samples, digits, axes=own[1]) is own[1]
    half = plt.figure(layout="constrained").subfigures(1, 2)[0]
    assert tracing.timeline_with_maps(samples, digits, figure=half)["sample"].figure is half
    assert tracing.samples_with_maps(samples, digits, [0], figure=half)[0, "class"].figure is half
    tracing.sources_around(samples, digits, figure=half)
    half.figure.canvas.draw()
    before = plt.get_fignums()
    layouts.timeline_with_maps(samples, digits, figure=canvas.plain_figure)
    assert plt.get_fignums() == before


def test_refusals(samples, digits, bare, colours):
    for k in (-1, 4):
        with pytest.raises(ValueError, match=f"sample must be in 0…3, got {k}"):
            tracing.sample(samples, k)
    for k in (0.5, True, "1"):
        with pytest.raises(TypeError, match="sample must be a whole number, got"):
            tracing.sources_around(samples, digits, k)
    for draw in (tracing.class_map, tracing.patch_mosaic, tracing.timeline, tracing.sources_around):
        with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
            draw(samples, colours)
    for draw in (tracing.class_map, tracing.class_entropy):
        with pytest.raises(ValueError, match="corpus must be one with labels"):
            draw(bare[1], bare[0])
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        tracing.samples_with_maps(bare[1], bare[0], [0], maps=["class"])
    for side in (0, 17):
        with pytest.raises(ValueError, match=f"side must be in 1…16, got {side}"):
            tracing.patch_mosaic(samples, digits, side=side)
    for top in (0, 9):
        with pytest.raises(ValueError, match=f"top must be in 1…8, got {top}"):
            tracing.sources_around(samples, digits, top=top)
    for indices in ([], [1, 1]):
        with pytest.raises(ValueError, match="indices must be 1 to 100, none twice, got"):
            tracing.samples_with_maps(samples, digits, indices)
    with pytest.raises(ValueError, match="across must be at least 1, got 0"):
        tracing.samples_with_maps(samples, digits, [0], across=0)
    with pytest.raises(ValueError, match="maps must be of 'class' and 'image_id', or None, got"):
        tracing.samples_with_maps(samples, digits, [0], maps=["classes"])
