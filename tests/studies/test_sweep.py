"""The sweep: one stored row per setting, tables and plots."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import Config
from npgen.studies import workbench
from npgen.studies.sweep import parse_grid, sweep

pytest.importorskip("matplotlib", reason="extra `figures` is not installed")

CONFIG = npgen.Config(window=5, shortlist=9, seed_size=4)
OPTIONS = {"n": 3, "config": CONFIG, "encoder": "pixels", "quiet": True}
GRID = {"window": [3, 5, 7], "candidates": ["best", "all"], "images": [20, 60]}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def done(digits, tmp_path_factory):
    """A sweep without scores, and its folder."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    return sweep(digits, out, GRID, **OPTIONS), out


@pytest.fixture
def scored(digits, monkeypatch):
    """The digits, 40 of them to copy from and 20 held out, with a classifier of one epoch."""
    monkeypatch.setattr("npgen.evaluation.classifier_recipe._epochs", lambda shown, count: 1)
    heldout = npgen.Corpus.from_arrays(digits.images[40:], digits.labels[40:])
    return npgen.Corpus.from_arrays(digits.images[:40], digits.labels[:40], heldout=heldout)


def test_one_setting_changes_at_a_time_and_the_base_is_a_row(done):
    result, _ = done
    settings = [tuple(row[axis] for axis in GRID) for row in result.rows]
    assert settings == [(5, "best", 60), (3, "best", 60), (7, "best", 60), (5, "all", 60), (5, "best", 20)]
    assert result.base == {"window": 5, "candidates": "best", "images": 60}


def test_a_row_is_what_npgen_generates_and_measures(done, digits):
    result, _ = done
    config = dataclasses.replace(CONFIG, window=7)
    samples = npgen.generate(digits, 3, "full", config, encoder="pixels", progress=False)
    entropies = npgen.entropy(samples, digits)
    row = result.rows[2]
    assert (row["image_id_entropy"], row["class_entropy"]) == (entropies.mean_image_id, entropies.mean_class)
    drawn = samples.trace.pool_size[samples.trace.pool_size > 0]
    assert [row[f"pool_{q}"] for q in ("05", "25", "50", "75", "95")] == list(np.percentile(drawn, [5, 25, 50, 75, 95]))
    assert row["pool_one"] == (drawn == 1).mean()
    assert row["fallbacks"] is None  # not counted: the tolerance is relative to the candidates


def test_a_product_takes_all_combinations(digits, tmp_path):
    grid = {"window": [3, 5], "k_min": [2, 4], "candidates": ["best", "all"]}
    result = sweep(digits, tmp_path / "out", grid, **OPTIONS, product=True, model="local")
    settings = {tuple(row[axis] for axis in grid) for row in result.rows}
    assert len(settings) == len(result.rows) == 8
    assert all(row["pool_05"] >= row["k_min"] for row in result.rows)
    assert (out := tmp_path / "out" / "k_min.png").stat().st_size > 10_000, out


def test_smaller_corpora_are_parts_of_larger_ones_and_traces_have_ids_of_the_whole(digits, tmp_path):
    result = sweep(digits, tmp_path / "out", {"images": [20, 40]}, **OPTIONS, keep=True)
    assert [row["images"] for row in result.rows] == [60, 20, 40]
    used = {}
    for path in (tmp_path / "out" / "runs").iterdir():
        samples = npgen.load_samples(path)
        count = json.loads((path / "study.json").read_text("utf-8"))["images"]
        np.testing.assert_array_equal(samples.replay(digits), samples.images)
        used[count] = set(samples.trace.image_id.ravel().tolist())
    bench = workbench.Workbench(digits, 0)
    parts = {count: set(bench.source(count)[1].tolist()) for count in used}
    assert parts[20] < parts[40] < parts[60] == set(range(60))
    assert all(used[count] <= parts[count] for count in used)
    other = set(workbench.Workbench(digits, 1).source(20)[1].tolist())
    assert other != parts[20]


def test_a_part_has_the_keys_of_the_whole(digits):
    """The same samples as from a corpus of those images alone, whose keys are made afresh."""
    bench = workbench.Workbench(digits, 3, "pixels")
    setting = workbench.Setting("full", CONFIG, 4, 30)
    samples, _ = bench.run(setting, None)
    ids = bench.source(30)[1]
    alone = npgen.Corpus.from_arrays(digits.images[ids], digits.labels[ids])
    expected = npgen.generate(alone, 4, "full", CONFIG, 3, encoder="pixels", progress=False)
    np.testing.assert_array_equal(samples.images, expected.images)
    np.testing.assert_array_equal(samples.trace.image_id, ids[expected.trace.image_id])
    np.testing.assert_array_equal(samples.anchor, ids[expected.anchor])


def test_tables_agree(done):
    result, out = done
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["window"] for row in rows] == ["5", "3", "7", "5", "5"]
    assert [float(row["image_id_entropy"]) for row in rows] == [row["image_id_entropy"] for row in result.rows]
    facts = json.loads((out / "results.json").read_text("utf-8"))
    assert facts["rows"] == list(result.rows)
    assert facts["facts"]["config"] == json.loads(json.dumps(CONFIG.to_json()))
    text = (out / "table.md").read_text("utf-8")
    assert text == f"{result.markdown()}\n"
    lines = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 5
    assert len({len(line) for line in lines}) == 1
    assert "No scores beside real images: there are no held-out images" in text


def test_plots_are_whole_pictures_a_column_wide(done):
    _, out = done
    names = {path.name for path in out.iterdir() if path.suffix in (".png", ".svg")}
    assert names == {f"{axis}.{kind}" for axis in GRID for kind in ("png", "svg")}  # no scores: no frontier
    for axis in GRID:
        with Image.open(out / f"{axis}.png") as picture:
            assert picture.width == 1005
            assert np.asarray(picture.convert("L")).min() < 100
        assert ElementTree.parse(out / f"{axis}.svg").getroot().tag.endswith("svg")


def test_a_second_call_runs_nothing_and_gives_the_same_bytes(done, digits, monkeypatch):
    result, out = done
    before = contents(out)
    monkeypatch.setattr(workbench, "generate", None)
    assert sweep(digits, out, GRID, **OPTIONS) == result
    assert contents(out) == before


def test_a_larger_grid_adds_to_the_stored_rows(done, digits, tmp_path, monkeypatch):
    result, before = done
    out = tmp_path / "out"
    shutil.copytree(before, out)
    made = []
    whole = workbench.generate
    monkeypatch.setattr(workbench, "generate", lambda *a, **o: (made.append(a[3].window), whole(*a, **o))[1])
    larger = sweep(digits, out, {"window": [3, 5, 7, 9]}, **OPTIONS)
    assert made == [9]
    assert {path.name for path in out.glob("*.png")} == {"window.png"}
    assert larger.rows[1]["image_id_entropy"] == result.rows[1]["image_id_entropy"]


def test_an_interrupted_sweep_is_resumed(digits, tmp_path, monkeypatch):
    whole = workbench.generate
    made = []

    def interrupted(*arguments, **options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        return whole(*arguments, **options)

    monkeypatch.setattr(workbench, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(digits, tmp_path / "out", GRID, **OPTIONS)
    assert len(list((tmp_path / "out" / "rows").iterdir())) == 2
    assert len(json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["rows"]) == 2
    made = []
    monkeypatch.setattr(workbench, "generate", lambda *a, **o: (made.append(a), whole(*a, **o))[1])
    result = sweep(digits, tmp_path / "out", GRID, **OPTIONS)
    assert len(made) == 3
    assert len(result.rows) == 5


def test_rows_belong_to_their_corpus_seed_and_number(done, digits, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(done[1], out)
    made = []
    whole = workbench.generate
    monkeypatch.setattr(workbench, "generate", lambda *a, **o: (made.append(a), whole(*a, **o))[1])
    part = npgen.Corpus.from_arrays(digits.images[:50], digits.labels[:50])
    for corpus, change in [(digits, {"seed": 1}), (digits, {"n": 4}), (digits, {"model": "local"}), (part, {})]:
        made.clear()
        sweep(corpus, out, {"window": [5]}, **(OPTIONS | change))
        assert len(made) == 1


def test_damaged_rows_are_named(done, digits, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[1], out)
    for row in (out / "rows").iterdir():
        row.write_text('{"samples": {}}')
    with pytest.raises(
        ValueError, match=r"row '.*rows.*json' must be as it was written \(delete it .*got \['samples'\]"
    ):
        sweep(digits, out, GRID, **OPTIONS)


def test_runs_are_stored_only_on_request(done, digits, tmp_path):
    assert not (done[1] / "runs").exists()
    sweep(digits, tmp_path / "out", {"window": [3]}, **OPTIONS)
    assert not (tmp_path / "out" / "runs").exists()
    sweep(digits, tmp_path / "out", {"window": [3]}, **OPTIONS, keep=True)
    windows = {npgen.load_samples(path).config.window for path in (tmp_path / "out" / "runs").iterdir()}
    assert windows == {3, 5}


FIELDS = ", ".join(field.name for field in dataclasses.fields(Config))


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({}, ValueError, "grid must be values of at least one setting, got {}"),
        ({"windows": [5]}, ValueError, f"grid must be made of {FIELDS}, images, got 'windows'"),
        ({"window": []}, ValueError, "grid['window'] must be a list of one or more values, got []"),
        ({"window": 5}, ValueError, "grid['window'] must be a list of one or more values, got 5"),
        ({"window": [5, 6]}, ValueError, "window must be odd, at least 3, got 6"),
        ({"window": [5, 17]}, ValueError, "window must be odd, in 3..=16 (the image is 16×16), got 17"),
        ({"window": ["five"]}, TypeError, "window must be a whole number, got 'five'"),
        ({"epsilon": [0.1, -1]}, ValueError, "epsilon must be a number of at least 0, got -1"),
        ({"shortlist": [9, 60]}, ValueError, "shortlist must be in 1..=59"),
        ({"images": [30, 61]}, ValueError, "images must be in 2..=60 (the corpus's images), got 61"),
        ({"images": [1]}, ValueError, "images must be at least 2, got 1"),
        ({"images": ["all"]}, TypeError, "images must be a whole number, got 'all'"),
        ({"images": [5]}, ValueError, "shortlist must be in 1..=4"),
    ],
)
def test_a_bad_grid_is_refused_before_anything_is_run(digits, tmp_path, grid, error, message):
    with pytest.raises(error, match=re.escape(message)):
        sweep(digits, tmp_path / "out", grid, **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_a_product_is_checked_as_a_whole(digits, tmp_path):
    grid = {"images": [60, 20], "shortlist": [9, 30]}
    with pytest.raises(ValueError, match=re.escape("shortlist must be in 1..=19")):
        sweep(digits, tmp_path / "out", grid, **OPTIONS, product=True)
    assert not (tmp_path / "out").exists()


def test_other_bad_arguments_are_refused_too(digits, tmp_path):
    for change, message in [
        ({"n": 1}, "n must be at least 2, got 1"),
        ({"model": "huge"}, "model must be one of .*, got 'huge'"),
        ({"encoder": "huge"}, "encoder must be one of .*, got 'huge'"),
        ({"seed": -1}, "seed must be in 0…2⁶⁴ − 1, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep(digits, tmp_path / "out", {"window": [5]}, **(OPTIONS | change))
    assert not (tmp_path / "out").exists()
    (tmp_path / "results.json").write_text('{"format": "npgen-ablation", "version": 1}')
    with pytest.raises(ValueError, match="out must be a folder of format 'npgen-sweep', or a new one, got"):
        sweep(digits, tmp_path, {"window": [5]}, **OPTIONS)


def test_without_matplotlib_the_extra_is_named(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["npgen.studies.sweep"], "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=re.escape('pip install "npgen[figures]"')):
        sweep(digits, tmp_path / "out", {"window": [5]}, **OPTIONS)


def test_scores_are_beside_those_of_real_images(scored, tmp_path):
    result = sweep(scored, tmp_path / "out", {"window": [3, 5], "images": [20]}, **(OPTIONS | {"n": 6}))
    for row in result.rows:
        real = result.real["held-out"]["inception_score"]
        assert row["inception_score_over_heldout"] == pytest.approx(row["inception_score"] / real)
        assert row["frechet_over_training"] == pytest.approx(row["frechet"] / result.real["training"]["frechet"])
        # So few samples say nothing of an interval.
        assert row["inception_score_low"] is row["inception_score_over_heldout_low"] is row["frechet_high"] is None
    text = result.markdown()
    assert "| real held-out |" in text
    assert "| real training |" in text
    assert (tmp_path / "out" / "frontier.png").exists()
    assert (tmp_path / "out" / "frontier.svg").exists()
    assert sweep(scored, tmp_path / "out", {"window": [3, 5], "images": [20]}, **(OPTIONS | {"n": 6})) == result


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("window=7,9", [7, 9]),
        ("epsilon=0.1,1e-3", [0.1, 0.001]),
        ("candidates=best,all", ["best", "all"]),
        ("sigma=none,1.5", [None, 1.5]),
        ("seed_at=[4,4],[0,10]", [[4, 4], [0, 10]]),
        ("exclude_seed_image=true,false", [True, False]),
        ("sigma=null", [None]),
    ],
)
def test_a_grid_is_parsed(text, values):
    assert parse_grid([text, "k_min=1"]) == {text.split("=")[0]: values, "k_min": [1]}


def test_a_grid_of_another_form_is_refused():
    for text in ("window", "=5", "window="):
        with pytest.raises(ValueError, match=f"set must be NAME=VALUE,VALUE,…, got '{text}'"):
            parse_grid([text])
    with pytest.raises(ValueError, match="set must be given once for each setting, got 'window=7'"):
        parse_grid(["window=5", "window=7"])


def test_the_sweep_command(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    (tmp_path / "config.json").write_text(json.dumps({"shortlist": 9, "seed_size": 4}))
    options = ["-n", 2, "--encoder", "pixels", "--config", tmp_path / "config.json", "-q"]
    command = ["sweep", tmp_path / "corpus", "--out", tmp_path / "out", "--set", "window=3,5", "--images", "30,60"]

    def run(*more):
        return CliRunner().invoke(app, [str(part) for part in [*command, *options, *more]])

    result = run("--product")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["rows"]
    assert [(row["window"], row["images"]) for row in rows] == [(3, 30), (3, 60), (5, 30), (5, 60)]
    assert "image-ID entropy" in result.stdout
    assert str(tmp_path / "out" / "results.csv") in result.stdout
    result = run("--set", "k_min=0")
    assert (result.exit_code, result.stderr) == (1, "npgen: k_min must be at least 1, got 0\n")


def test_importing_npgen_does_not_import_matplotlib():
    code = "import sys, npgen, npgen.cli; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
