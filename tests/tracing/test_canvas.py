"""Fill steps, borders, outlines and names in figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

import npgen
from npgen import tracing
from npgen.tracing.canvas import draw_borders, draw_outline, plain, share


def test_steps_are_those_of_the_last_draw(samples, rgb):
    steps = tracing.fill_steps(samples)
    order = npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels
    assert [tuple(pixel) for pixel in np.argwhere(steps == 0)] == [tuple(order[0])]
    assert steps[tuple(order[-1])] == len(order) - 1 and (steps == -1).sum() == 64
    swept = tracing.fill_steps(rgb)
    first = npgen.fill_order(12, 12, rgb.config.seed_rect(12, 12), 5).pixels
    assert sorted(swept[swept >= 0]) == list(range(len(first)))
    assert not np.array_equal(swept[first[:, 0], first[:, 1]], np.arange(len(first)))
    assert tracing.fill_order_map(rgb).get_title("left") == "order of sweep 2"


def test_borders_and_outlines_run_along_pixels():
    axes = plt.figure().add_subplot()
    draw_borders(axes, np.array([[1, 1, 2], [1, 1, 2]]))
    (lines,) = axes.collections
    assert [line.tolist() for line in lines.get_segments()] == [[[1.5, -0.5], [1.5, 1.5]]]
    draw_outline(axes, np.array([[True, False], [False, False]]))
    outline = {tuple(map(tuple, line.tolist())) for line in axes.collections[1].get_segments()}
    a, b, c, d = (-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)
    assert outline == {(a, d), (b, c), (a, b), (d, c)}
    draw_borders(axes, np.arange(65 * 65).reshape(65, 65))
    assert len(axes.collections) == 2  # none on large maps


def test_names_from_data_are_plain_text():
    assert plain("a $x^2$ b") == r"a \$x^2\$ b"
    assert plain("_hidden") == " _hidden"
    assert plain("two\nlines") == "two lines"
    assert plain("a very long name of a class") == "a very long name …"
    assert share(1, np.zeros(1000)) == "0.1 %" and share(995, np.zeros(1000)) == "100 %"
