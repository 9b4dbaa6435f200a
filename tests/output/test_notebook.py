"""Display in notebooks: the right pixels and settings, and no HTML injected by data."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from corpora import with_facts
from PIL import Image

import npgen
from npgen.output import notebook
from npgen.output.pictures import GAP


@pytest.fixture(scope="module")
def samples(digits):
    return npgen.generate(digits, 3, "local", npgen.Config(window=5, epsilon=0.3), seed=7, progress=False)


def opened(data):
    return Image.open(io.BytesIO(data))


def pictures(html):
    """The pictures of a page, by their captions."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', html)
    assert len(found) == html.count("<img")
    return {name: opened(base64.b64decode(data)) for name, data in found}


def test_one_sample_is_shown_large_beside_its_maps(samples):
    one = samples[1:2]
    shown = pictures(one._repr_html_())
    names = list(shown)
    assert names[:2] == ["sample 1", "image-ID map"]
    assert names[2] == f"pool size, 1 to {one.trace.pool_size.max()}, logarithmic"
    assert names[3].startswith("distance, 0 to ") and names[3].endswith(" grey levels")
    scale = notebook.LARGE // 16
    pixels = np.asarray(shown["sample 1"])[GAP : GAP + 16 * scale : scale, GAP : GAP + 16 * scale : scale]
    np.testing.assert_array_equal(pixels, one.images[0].repeat(3, axis=2))
    wide = opened(one._repr_png_())
    assert wide.size == (sum(picture.width for picture in shown.values()), shown["sample 1"].height)


def test_the_maps_of_one_sample_are_in_order_of_its_values(samples):
    one = samples[0:1]
    scale = notebook.LARGE // 16
    shown = list(pictures(one._repr_html_()).values())
    for picture, values in zip(shown[2:], (one.trace.pool_size[0], one.trace.distance[0]), strict=True):
        colours = np.asarray(picture)[GAP : GAP + 16 * scale : scale, GAP : GAP + 16 * scale : scale].astype(int)
        seed = one.trace.pool_size[0] == 0
        assert (colours[seed] == notebook.NOTHING).all()
        order = np.argsort(values[~seed], kind="stable")
        assert (np.diff(colours[~seed][order] @ [2, 5, 1]) >= -8).all()  # lighter, but for rounding
    flat = dataclasses.replace(one, trace=dataclasses.replace(one.trace, distance=np.zeros_like(one.trace.distance)))
    assert len(pictures(flat._repr_html_())) == 4


def test_a_run_is_shown_as_a_grid_with_its_settings(samples):
    html = samples._repr_html_()
    assert list(pictures(html)) == ["samples", "image-ID maps"]
    for cell in (
        "3 of 16×16×1, the first is number 0",
        "local",
        ">7<",
        f"arrays ({samples.corpus_hash[:16]})",
        "window 5, epsilon 0.3",
        ">anchor_weight</th>",
    ):
        assert cell in html
    assert "the defaults" in with_facts(samples, config=npgen.Config())._repr_html_()


def test_pictures_carry_their_provenance(samples):
    for part in (samples, samples[2:3]):
        embedded = [*pictures(part._repr_html_()).values(), opened(part._repr_png_())]
        for picture in embedded:
            assert json.loads(picture.text["npgen"]) == part.provenance()


def test_of_many_samples_the_first_are_shown(samples):
    count = notebook.SHOWN + 36
    parts = {
        field.name: np.resize(getattr(samples.trace, field.name), (count, 16, 16))
        for field in dataclasses.fields(samples.trace)
    }
    many = dataclasses.replace(
        samples,
        images=np.resize(samples.images, (count, 16, 16, 1)),
        trace=npgen.Trace(**parts),
        anchor=np.zeros(count, np.int32),
        fallbacks=np.zeros(count, np.int32),
        facts=samples.facts.part(0, count),
    )
    shown = pictures(many._repr_html_())
    assert list(shown) == [f"the first {notebook.SHOWN} of {count} samples", "image-ID maps"]
    assert max(shown["image-ID maps"].size) <= notebook.SHEET + 9 * GAP


def test_no_samples_have_no_picture(samples):
    none = samples[3:3]
    assert none._repr_png_() is None
    assert pictures(none._repr_html_()) == {} and "0 of 16×16×1" in none._repr_html_()


def test_what_comes_from_data_is_escaped(samples):
    bad = "<script>alert('1')&\""
    html = with_facts(samples, corpus_name=bad, encoder_id=bad)._repr_html_()
    assert "<script" not in html and "alert('1')" not in html
    assert html.count("&lt;script&gt;alert(&#x27;") == 2


def test_colour_and_large_samples(colours):
    config = npgen.Config(window=3, seed_size=4, size=(40, 300))
    texture = npgen.generate(colours, 1, "texture", config, progress=False)
    assert opened(texture._repr_png_()).size == (4 * (300 + 2 * GAP), 40 + 2 * GAP)


def test_showing_samples_needs_neither_matplotlib_nor_torch(samples, tmp_path):
    samples.save(tmp_path / "run")
    code = (
        "import sys, npgen; samples = npgen.load_samples(sys.argv[1]); samples._repr_html_(); samples._repr_png_();"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=True)
