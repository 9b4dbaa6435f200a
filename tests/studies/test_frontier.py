"""The frontier: settings beside controls that need no sampler."""

import importlib
import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.studies import read_settings
from npgen.studies.controls import CONTROLS, make_control, minimum_cut
from npgen.studies.frontier import _anchors, default_settings

CONFIG = npgen.Config(window=5, shortlist=5, seed_size=4, query_expansion=0)
ONE = npgen.FrontierSetting("one", "full", CONFIG)
OTHER = npgen.FrontierSetting("other", "conditional", CONFIG, encoder="pixels")


def thumbnails(request=None):
    return npgen.Network(lambda images: (images[:, ::4, ::4].reshape(len(images), -1) / 255, None), id="thumbnails")


@pytest.fixture
def corpus(digits):
    npgen.register_network("thumbnails", thumbnails)
    heldout = npgen.Corpus.from_arrays(digits.images[:20], digits.labels[:20])
    return npgen.Corpus.from_arrays(digits.images[20:], digits.labels[20:], heldout=heldout)


def run(corpus, out, settings=(ONE, OTHER), n=8, **options):
    return npgen.frontier(
        corpus, out, settings, n, network="thumbnails", **{"encoder": "pixels", "quiet": True} | options
    )


def test_rows_are_settings_controls_and_real_images(corpus, tmp_path):
    found = run(corpus, tmp_path / "out")
    names = [row["name"] for row in found.rows]
    assert names == ["one", "other", *CONTROLS, "real held-out", "real training"]
    by_name = dict(zip(names, found.rows, strict=True))
    assert by_name["nearest image"]["effective_sources"] == 1
    assert by_name["nearest image"]["near_copies"] == 1
    assert by_name["halves"]["largest_share"] == 0.5
    assert by_name["one"]["effective_sources"] > 2
    assert all(row["feature_likelihood"] is not None for row in found.rows if row["name"] != "real held-out")
    table = found.markdown()
    assert "effective sources" in table
    assert "FLD" in table
    page = (tmp_path / "out" / "frontier.html").read_text()
    assert "minimum cut" in page
    assert page.count("data:image/png;base64") == 2
    for name in ("table.md", "results.csv", "results.json", "samples.png", "frontier.png", "frontier.svg"):
        assert (tmp_path / "out" / name).stat().st_size


def test_a_row_is_best_if_none_is_better_at_equal_novelty(corpus, tmp_path):
    rows = run(corpus, tmp_path / "out").rows
    for row in rows:
        better = [
            other["name"]
            for other in rows
            if other["kind"] != "real"
            and row["kind"] == "setting"
            and other["frechet"] < row["frechet"]
            and other["effective_sources"] >= row["effective_sources"]
            and other["near_copies"] <= row["near_copies"]
        ]
        if row["kind"] == "setting":
            assert row["best"] == (not better)


def test_stored_rows_are_not_made_again(corpus, tmp_path, monkeypatch):
    first = run(corpus, tmp_path / "out", [ONE])
    monkeypatch.setattr("npgen.studies.workbench.generate", lambda *args, **options: pytest.fail("made again"))
    assert run(corpus, tmp_path / "out", [ONE]).rows == first.rows


def test_controls_are_made_of_the_nearest_images(digits):
    encoder = npgen.load_encoder("pixels", digits)
    keys = npgen.embed(digits, encoder, progress=False)
    anchor = np.array([3, 17, 42], np.int32)
    products = keys[anchor] @ keys.T
    products[np.arange(3), anchor] = -1
    first, second = np.argsort(-products, axis=1)[:, :2].T
    whole = make_control("nearest image", digits, keys, anchor)
    np.testing.assert_array_equal(whole.pixels, digits.images[first])
    halves = make_control("halves", digits, keys, anchor)
    np.testing.assert_array_equal(halves.pixels[:, :, :8], digits.images[first][:, :, :8])
    np.testing.assert_array_equal(halves.pixels[:, :, 8:], digits.images[second][:, :, 8:])
    for name in ("nearest image", "halves", "minimum cut"):
        control = make_control(name, digits, keys, anchor)
        trace = control.trace
        np.testing.assert_array_equal(digits.images[trace.image_id, trace.y, trace.x], control.pixels)
    fade = make_control("cross-fade", digits, keys, anchor)
    np.testing.assert_array_equal(fade.pixels[:, :, 0], digits.images[first][:, :, 0])
    np.testing.assert_array_equal(fade.pixels[:, :, -1], digits.images[second][:, :, -1])
    assert len(fade[1:]) == 2


def test_the_cut_is_the_cheapest_path():
    random = np.random.default_rng(0)
    for _ in range(20):
        left, right = random.integers(0, 5, (2, 4, 8, 1), np.uint8)
        difference = np.abs(left.astype(int) - right).sum(-1)

        def cost(cut, difference=difference):
            return sum(difference[row, at - 1] + difference[row, at] for row, at in enumerate(cut))

        paths = itertools.product(range(2, 7), repeat=4)
        cheapest = min(cost(path) for path in paths if max(abs(np.diff(path))) <= 1)
        found = minimum_cut(left, right)
        assert cost(found) == cheapest
        assert np.abs(np.diff(found)).max() <= 1


def test_controls_have_the_anchors_of_the_settings(corpus):
    for model in ("full", "conditional"):
        samples = npgen.generate(corpus, 8, model, CONFIG, 5, encoder="pixels", progress=False)
        np.testing.assert_array_equal(_anchors(corpus, 5, 8), samples.anchor)


def test_whole_copies_have_the_worst_feature_likelihood(corpus, tmp_path):
    rows = {row["name"]: row["feature_likelihood"] for row in run(corpus, tmp_path / "out", [ONE]).rows}
    assert rows["nearest image"] > 10 * max(abs(rows["one"]), abs(rows["minimum cut"]))


def test_models_of_labels_are_refused_by_name_or_left_out_with_a_note(digits, tmp_path, monkeypatch):
    npgen.register_network("thumbnails", thumbnails)
    bare = npgen.Corpus.from_arrays(digits.images[20:], heldout=npgen.Corpus.from_arrays(digits.images[:20]))
    with pytest.raises(ValueError, match="corpus must be one with labels, for the model 'conditional'"):
        run(bare, tmp_path / "out", [ONE, OTHER])
    assert not (tmp_path / "out").exists()
    module = importlib.import_module("npgen.studies.frontier")  # the name in the package is the function
    monkeypatch.setattr(module, "default_settings", lambda corpus: (ONE,))  # the real ones need more images
    found = run(bare, tmp_path / "out", None)
    assert "Left out, as the corpus has no labels: class, conditional." in found.notes


def test_images_may_be_narrow():
    assert minimum_cut(np.zeros((3, 2, 1), np.uint8), np.ones((3, 2, 1), np.uint8)).tolist() == [1, 1, 1]


def test_default_settings_leave_out_models_of_labels_where_there_are_none(digits):
    bare = npgen.Corpus.from_arrays(digits.images)
    models = {one.model for one in default_settings(bare)}
    assert models == {"full", "semantic"}
    assert {one.model for one in default_settings(digits)} == {"full", "semantic", "conditional", "class"}


def test_bad_input_is_named_before_any_run(corpus, digits, tmp_path):
    for settings, message in [
        ([], "settings must be at least one, got 0"),
        ([ONE, ONE], "settings must be of different names, got 'one'"),
        ([npgen.FrontierSetting("long", "full", npgen.Config(window=5, shortlist=400))], "shortlist must be in 1..="),
    ]:
        with pytest.raises(ValueError, match=message):
            run(corpus, tmp_path / "out", settings)
    with pytest.raises(TypeError, match="settings must be of type FrontierSetting, got dict"):
        run(corpus, tmp_path / "out", [{"name": "x"}])
    with pytest.raises(ValueError, match="corpus must be one whose samples can be scored: there are no held-out"):
        run(npgen.Corpus.from_arrays(digits.images), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for bad in ("", "halves", "real held-out"):
        with pytest.raises(ValueError, match="name must be a name that no control has"):
            npgen.FrontierSetting(bad)


def test_lists_are_read_from_files(tmp_path):
    file = tmp_path / "list.json"
    rows = [{"name": "a", "config": {"max_share": 0.2}}, {"name": "b", "model": "class", "preset": "recombination"}]
    file.write_text(json.dumps(rows))
    first, second = read_settings(file)
    assert (first.model, first.config.max_share, first.encoder) == ("full", 0.2, None)
    assert second.config == npgen.Config.preset("recombination")
    for text, message in [
        ("{", "settings must be a JSON file"),
        ("{}", "settings must be a JSON array of settings, got {}"),
        ('[{"model": "full"}]', "setting must be one with a name"),
        ('[{"name": "a", "colour": 1}]', "setting must be an object of name, model, preset, config and encoder"),
        ('[{"name": "a", "config": 3}]', "config must be an object of settings, got 3"),
        (
            '[{"name": "a", "preset": "fast"}]',
            "preset must be one of 'quality', 'recombination', 'texture', got 'fast'",
        ),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_settings(file)


def test_the_command_prints_table_and_page(corpus, tmp_path):
    corpus.save(tmp_path / "corpus")
    (tmp_path / "list.json").write_text(json.dumps([{"name": "one", "config": CONFIG.to_json()}]))
    arguments = ["frontier", tmp_path / "corpus", "--settings", tmp_path / "list.json", "--out", tmp_path / "out"]
    arguments += ["-n", 8, "--encoder", "pixels", "--network", "thumbnails", "--quiet"]
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert ended.exit_code == 0, ended.output
    assert "one" in ended.output
    assert ended.output.strip().endswith("frontier.html")
