"""Figures are drawn under npgen's own settings alone: the same bytes whatever the user's are."""

from __future__ import annotations

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

import npgen
from npgen import tracing
from npgen.output import own_style
from npgen.tracing import canvas

SETTINGS = {
    "upside down": {"image.origin": "lower"},
    "aspect": {"image.aspect": "auto"},
    "white on white": {"text.color": "white", "axes.labelcolor": "white", "axes.titlecolor": "white"},
    "tight": {"savefig.bbox": "tight", "savefig.dpi": 50, "savefig.transparent": True},
    "tex": {"text.usetex": True},
    "dark": {"figure.facecolor": "black", "axes.facecolor": "black", "axes.grid": True, "savefig.facecolor": "black"},
    "fonts": {"font.family": "monospace", "font.size": 20, "axes.unicode_minus": False, "svg.fonttype": "none"},
    "sketch": {"path.sketch": (1, 100, 2), "lines.antialiased": False, "image.interpolation": "bilinear"},
    "layout": {"figure.autolayout": True, "figure.dpi": 300, "figure.figsize": (2, 2), "axes.xmargin": 0.5},
    "locale": {"axes.formatter.use_locale": True, "axes.formatter.limits": (0, 1)},
}


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def plain(samples, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    for format in ("png", "svg", "pdf"):
        tracing.save_figures(samples, digits, folder, [0], format)
    return files(folder)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_users_settings_have_no_influence(kind, samples, digits, plain, tmp_path):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context(SETTINGS[kind]):
        for format in ("png", "svg", "pdf") if kind in ("upside down", "fonts") else ("png",):
            tracing.save_figures(samples, digits, tmp_path, [0], format)
        for name, value in SETTINGS[kind].items():
            assert matplotlib.rcParams[name] in (value, [value], list(value) if isinstance(value, tuple) else value)
    assert dict(matplotlib.rcParams) == before
    found = files(tmp_path)
    assert found and all(plain[name] == data for name, data in found.items())


def test_backends_registered_by_others_have_no_influence(samples, digits, plain, tmp_path, monkeypatch):
    from matplotlib import backend_bases

    monkeypatch.setitem(backend_bases._default_backends, "png", "matplotlib.backends.backend_svg")
    tracing.save_figures(samples, digits, tmp_path, [0])
    assert files(tmp_path) == {name: data for name, data in plain.items() if name.endswith(".png")}


def test_maps_on_axes_of_the_user_are_upright(samples):
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"image.origin": "lower", "image.aspect": "auto"}):
        axes = tracing.image_id_map(samples, axes=plt.figure().add_subplot())
    assert axes.get_ylim() == (15.5, -0.5)
    assert axes.get_aspect() == 1


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no such backend", "qtagg"])
def test_an_inherited_backend_has_no_influence(backend, samples, digits, plain, tmp_path):
    digits.save(tmp_path / "corpus")
    samples.save(tmp_path / "run")
    (tmp_path / "rc").mkdir()
    (tmp_path / "rc" / "matplotlibrc").write_text("image.origin: lower\ntext.usetex: True\nsavefig.bbox: tight\n")
    call = [sys.executable, "-m", "npgen", "figures", "run", "--corpus", "corpus", "--sample", "0"]
    env = {**os.environ, "MPLBACKEND": backend, "MPLCONFIGDIR": str(tmp_path / "rc")}
    done = subprocess.run(call, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = files(tmp_path / "run" / "figures")
    assert found == {name: data for name, data in plain.items() if name.endswith(".png")}


def test_own_style_is_the_same_inside_any_settings():
    with own_style():
        wanted = dict(matplotlib.rcParams)
    with matplotlib.rc_context(SETTINGS["dark"]), own_style():
        assert dict(matplotlib.rcParams) == wanted


def named(labels, names=None, side=(16, 16)):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *side), np.uint8)
    corpus = npgen.Corpus.from_arrays(images, labels, names)
    config = npgen.Config(window=5, seed_size=4)
    return npgen.generate(corpus, 1, "local", config, progress=False), corpus


@pytest.mark.parametrize("side", [(16, 16), (6, 40), (40, 6)])
@pytest.mark.parametrize("kind", ["long", "cjk", "gaps", "many"])
def test_legends_are_inside_their_figures(kind, side):
    labels = {"gaps": [3, 999_999] * 20, "many": range(200)}.get(kind, np.arange(60) % 15)
    names = {"long": [f"{k} is a class of a long name" for k in range(15)], "cjk": [f"猫{k}犬" for k in range(15)]}.get(
        kind
    )
    samples, corpus = named(list(labels), names, side)
    for draw in (tracing.sources_around, tracing.timeline_with_maps):
        made = []
        draw(samples, corpus, figure=lambda height, made=made: made.append(canvas.plain_figure(height)) or made[-1])
        figure = made[0]
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 + 1
    figure = canvas.plain_figure(canvas.panel_height(samples, True))
    axes = tracing.class_map(samples, corpus, axes=figure.add_subplot())
    figure.draw_without_rendering()
    box = axes.get_legend().get_window_extent()
    assert box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 5  # of 335
    if kind == "cjk":
        assert axes.get_legend().get_texts()[0].get_text().startswith("Mao0Quan · ")
