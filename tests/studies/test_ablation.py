"""The ablation: one table and one picture of all models, resumed after an interruption."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import MODELS
from npgen.studies import workbench
from npgen.studies.ablation import PAPER, ablate

CONFIG = npgen.Config(window=5, shortlist=9, seed_size=4)
OPTIONS = {"n": 4, "config": CONFIG, "encoder": "pixels", "quiet": True}
MODELS_HERE = [name for name, model in MODELS.items() if not model.label]


@pytest.fixture
def scored(digits, monkeypatch):
    """The digits, 40 of them to copy from and 20 held out, with a classifier of one epoch."""
    monkeypatch.setattr("npgen.evaluation.classifier_recipe._epochs", lambda shown, count: 1)
    monkeypatch.setattr("npgen.studies.ablation.known_data_set", lambda corpus: "cifar10")
    heldout = npgen.Corpus.from_arrays(digits.images[40:], digits.labels[40:])
    return npgen.Corpus.from_arrays(digits.images[:40], digits.labels[:40], name="cifar10", heldout=heldout)


@pytest.fixture(scope="module")
def done(digits, tmp_path_factory):
    """An ablation without scores, and its folder."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    return ablate(digits, out, **OPTIONS), out


def files(folder, *but):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


def table_cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_model_is_a_run_on_the_same_seeds(done, digits):
    ablation, out = done
    models = [name for name in MODELS if name != "class" or digits.labels is not None]
    assert [row["name"] for row in ablation.rows] == [f"`{name}`" for name in models]
    anchors = []
    for name in models:
        samples = npgen.load_samples(out / "runs" / name)
        assert (samples.model, samples.config, len(samples)) == (name, CONFIG, 4)
        np.testing.assert_array_equal(samples.replay(digits), samples.images)
        anchors.append(samples.anchor)
    assert (np.array(anchors) == anchors[0]).all()


def test_the_rows_are_what_npgen_measures(done, digits):
    ablation, out = done
    for row in ablation.rows:
        samples = npgen.load_samples(out / "runs" / row["name"].strip("`"))
        entropies = npgen.entropy(samples, digits)
        assert row["image_id_entropy"] == entropies.mean_image_id
        assert row["class_entropy"] == entropies.mean_class
        half = 1.96 * entropies.image_id.std(ddof=1) / len(samples) ** 0.5
        assert row["image_id_entropy_high"] - row["image_id_entropy"] == pytest.approx(half, rel=1e-6)
        assert row["image_id_entropy"] - row["image_id_entropy_low"] == pytest.approx(half, rel=1e-6)
        drawn = samples.trace.pool_size[samples.trace.pool_size > 0]
        assert row["pool_50"] == np.median(drawn)
        assert row["pool_one"] == (drawn == 1).mean()
        assert row["seconds_per_sample"] > 0


def test_table_csv_and_json_agree(done):
    ablation, out = done
    text = (out / "table.md").read_text("utf-8")
    assert text == f"{ablation.markdown()}\n"
    cells = table_cells(text)
    assert len({len(line) for line in cells}) == 1
    assert [line[0] for line in cells[2:]] == [row["name"] for row in ablation.rows]
    assert "IS" not in cells[0]  # nothing to compare with: no column, and a note
    assert "No scores beside real images: there are no held-out images" in text
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["image_id_entropy"]) for row in rows] == [row["image_id_entropy"] for row in ablation.rows]
    facts = json.loads((out / "results.json").read_text("utf-8"))
    assert facts["rows"] == list(ablation.rows)
    assert facts["config"] == json.loads(json.dumps(CONFIG.to_json()))


def test_the_panel_shows_each_models_samples_and_the_seeds_sources(done, digits):
    _, out = done
    with Image.open(out / "panel.png") as picture:
        facts = json.loads(picture.text["npgen"])
        pixels = np.asarray(picture.convert("RGB"))
    models = [one["model"] for one in facts]
    scale = -(-168 // 16)
    pitch = 16 * scale + 6
    head = pixels.shape[0] - 4 * pitch
    for k, name in enumerate(models):
        samples = npgen.load_samples(out / "runs" / name)
        x = (k + 1) * pitch + 12
        for row, image in enumerate(samples.images):
            tile = pixels[head + row * pitch :, x:][: 16 * scale : scale, : 16 * scale : scale]
            np.testing.assert_array_equal(tile, image.repeat(3, 2))
    source = pixels[head:, :][: 16 * scale : scale, : 16 * scale : scale]
    framed = digits.images[samples.anchor[0]].repeat(3, 2)
    np.testing.assert_array_equal(source[7:9, 7:9], framed[7:9, 7:9])
    assert (source != framed).any(), "the seed patch has a frame"


def test_a_second_call_reuses_every_run_and_gives_the_same_bytes(done, digits, monkeypatch):
    ablation, out = done
    before = files(out)
    monkeypatch.setattr(workbench, "generate", None)
    monkeypatch.setattr(workbench, "describe", None)
    assert ablate(digits, out, **OPTIONS) == ablation
    assert files(out) == before


def test_the_same_seed_gives_the_same_bytes_elsewhere(done, digits, tmp_path):
    _, out = done
    ablate(digits, tmp_path / "again", **OPTIONS, batch_size=3, threads=1)
    timed = ("study.json", "table.md", "table.csv", "results.json")
    assert files(tmp_path / "again", *timed) == files(out, *timed)


def test_damaged_files_are_named(done, digits, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[1], out)
    for path in (out / "runs").glob("*.json"):
        path.write_text(json.dumps({"key": json.loads(path.read_text())["key"]}))
    with pytest.raises(ValueError, match=r"json must be as it was written \(delete it\), got one without 'samples'"):
        ablate(digits, out, **OPTIONS)
    for path in (out / "runs").glob("*/study.json"):
        path.write_text("{}")
    with pytest.raises(ValueError, match=r"seconds_per_sample in '.*study.json' must be a number, got None"):
        ablate(digits, out, **OPTIONS)


def test_an_interrupted_study_is_resumed(done, digits, tmp_path, monkeypatch):
    made = []
    whole = workbench.generate

    def interrupted(corpus, n, model, *arguments, **options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(model)
        return whole(corpus, n, model, *arguments, **options)

    monkeypatch.setattr(workbench, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablate(digits, tmp_path / "out", **OPTIONS)
    assert sorted(path.name for path in (tmp_path / "out" / "runs").iterdir() if path.is_dir()) == sorted(made)
    first = made.copy()
    made.clear()
    monkeypatch.setattr(workbench, "generate", lambda *a, **o: (made.append(a[2]), whole(*a, **o))[1])
    ablate(digits, tmp_path / "out", **OPTIONS)
    assert not set(first) & set(made)
    timed = ("study.json", "table.md", "table.csv", "results.json")
    assert files(tmp_path / "out", *timed) == files(done[1], *timed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 5}, "must be of n 5, got n 4: it belongs to another study"),
        ({"seed": 1}, "must be of seed 1, got seed 0: it belongs"),
        ({"config": dataclasses.replace(CONFIG, window=7)}, "must be of window 7, got window 5: it belongs"),
    ],
)
def test_a_run_of_other_settings_is_refused(done, digits, change, message):
    _, out = done
    before = files(out)
    with pytest.raises(ValueError, match=f"run '.*full' {re.escape(message)}"):
        ablate(digits, out, **(OPTIONS | change))
    assert files(out) == before


def test_another_corpus_or_encoder_is_refused(done, digits):
    _, out = done
    part = npgen.Corpus.from_arrays(digits.images[:50], digits.labels[:50])
    with pytest.raises(ValueError, match=f"must be of corpus: hash '{part.hash}', got corpus: hash '{digits.hash}'"):
        ablate(part, out, **OPTIONS)
    coarse = npgen.PixelEncoder(16, 16, 1, grid=4)
    with pytest.raises(ValueError, match="must be of encoder '.*', got encoder '.*': it belongs"):
        ablate(digits, out, **(OPTIONS | {"encoder": coarse}))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"models": ["full", "huge"]}, ValueError, "model must be one of 'full', .*, got 'huge'"),
        ({"models": []}, ValueError, r"models must be one or more models, each once, got \[\]"),
        ({"models": ["local", "local"]}, ValueError, "models must be one or more models, each once, got"),
        ({"n": 1}, ValueError, "n must be at least 2, got 1"),
        ({"n": 2.5}, TypeError, "n must be a whole number, got 2.5"),
        ({"counts": {"local": 1}}, ValueError, r"counts\['local'\] must be at least 2, got 1"),
        ({"counts": {"huge": 5}}, ValueError, "model must be one of .*, got 'huge'"),
        ({"seed": -1}, ValueError, "seed must be in 0…2⁶⁴ − 1, got -1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"threads": 0}, ValueError, "threads must be in 1…1024, got 0"),
        ({"config": npgen.Config(window=17)}, ValueError, "window must be odd, in 3..=16 .*, got 17"),
        ({"config": npgen.Config(shortlist=60)}, ValueError, r"shortlist must be in 1\.\.=59"),
        ({"encoder": "huge"}, ValueError, "encoder must be one of .*, got 'huge'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(digits, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        ablate(digits, tmp_path / "out", **(OPTIONS | change))
    assert not (tmp_path / "out").exists()


def test_what_can_not_be_scored_is_refused_before_the_first_run(digits, colours, tmp_path):
    few = npgen.Corpus.from_arrays(digits.images[:2], digits.labels[:2])
    part = npgen.Corpus.from_arrays(digits.images[:50], digits.labels[:50])
    options = OPTIONS | {"heldout": digits}
    for change, message in [
        ({"n": 3}, "n must be at least 4, got 3"),
        ({"counts": {"texture": 2}}, "n must be at least 4, got 2"),
        ({"heldout": few}, "heldout must be at least 4 images, got 2"),
        ({"heldout": part}, "heldout must be of other images than the corpus, got"),
        ({"network": "inception"}, "weights must be given with network 'inception', got None"),
    ]:
        with pytest.raises(ValueError, match=message):
            ablate(part, tmp_path / "out", **(options | change))
    with pytest.raises(ValueError, match=r"heldout must be images of shape \(16, 16, 1\), as the corpus has, got"):
        ablate(digits, tmp_path / "out", **OPTIONS, heldout=colours)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_is_left_as_it_is(digits, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(FileExistsError, match="out must be a new folder or one of an earlier call, got"):
        ablate(digits, tmp_path, **OPTIONS)
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / "results.json").write_text('{"format": "npgen-sweep", "version": 1}')
    with pytest.raises(ValueError, match="out must be a folder of format 'npgen-ablation', or a new one, got"):
        ablate(digits, tmp_path, **OPTIONS)
    (tmp_path / "results.json").write_text('{"format": "npgen-ablation", "version": 99}')
    with pytest.raises(ValueError, match="out must be of format version 1, or a new folder, got 99"):
        ablate(digits, tmp_path, **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_without_labels_the_models_of_labels_are_left_out_with_a_note(digits, tmp_path):
    bare = npgen.Corpus.from_arrays(digits.images)
    ablation = ablate(bare, tmp_path / "out", 2, None, CONFIG, encoder="pixels", quiet=True)
    assert [row["name"] for row in ablation.rows] == [f"`{name}`" for name in MODELS_HERE]
    assert "- `class` is left out: the corpus has no labels." in ablation.markdown()
    assert "- `conditional` is left out: the corpus has no labels." in ablation.markdown()
    assert "No scores beside real images: the corpus has no labels" in ablation.markdown()
    assert "class entropy" not in ablation.markdown()
    for name in ("class", "conditional"):
        with pytest.raises(ValueError, match=f"models must be without '{name}', as the corpus has no labels, got"):
            ablate(bare, tmp_path / "other", 2, [name], CONFIG, encoder="pixels", quiet=True)


def test_scores_are_beside_the_papers_and_those_of_as_many_real_images(scored, tmp_path):
    models = ["full", "local", "texture"]
    ablation = ablate(scored, tmp_path / "out", **(OPTIONS | {"n": 6}), models=models, counts={"texture": 4})
    names = [row["name"] for row in ablation.rows]
    assert names == ["`full`", "`local`", "`texture`", *["real held-out", "real training"] * 2]
    assert [row["n"] for row in ablation.rows] == [6, 6, 4, 6, 6, 4, 4]
    rows = dict(zip(names[:5], ablation.rows, strict=False))
    full, heldout, training = rows["`full`"], rows["real held-out"], rows["real training"]
    ratio = full["inception_score"] / heldout["inception_score"]
    assert full["inception_score_over_heldout"] == pytest.approx(ratio)
    assert full["frechet_over_training"] == pytest.approx(full["frechet"] / training["frechet"])
    assert training["frechet_over_training"] == heldout["inception_score_over_heldout"] == 1
    samples = npgen.load_samples(tmp_path / "out" / "runs" / "full")
    alone = npgen.evaluate(samples, scored, quiet=True)
    assert {name: full[name] for name in alone.row()} == alone.row()
    # The corpus goes by CIFAR-10's name: the paper's numbers are beside.
    assert full["paper_inception_score"] == PAPER["full"].inception_score == 5.903
    assert "paper's FID¹" in ablation.markdown()
    assert "in Inception-v3" in ablation.markdown()


def test_evaluations_are_stored_and_belong_to_their_run(scored, tmp_path, monkeypatch):
    first = ablate(scored, tmp_path / "out", **OPTIONS, models=["local"])
    monkeypatch.setattr(workbench, "evaluate", None)
    assert ablate(scored, tmp_path / "out", **OPTIONS, models=["local"]) == first
    # The run made again with another seed under the same name: its scores are not the old ones.
    shutil.rmtree(tmp_path / "out" / "runs" / "local")
    with pytest.raises(TypeError, match="NoneType"):
        ablate(scored, tmp_path / "out", **(OPTIONS | {"seed": 1}), models=["local"])


def test_the_command_prints_the_table_and_the_path_of_the_panel(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_json()))
    options = ["--models", "local,texture", "--n-texture", 2, "--config", tmp_path / "config.json", "-q"]
    command = ["ablate", tmp_path / "corpus", "--out", tmp_path / "out", "-n", 3, *options]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    cells = table_cells(result.stdout)
    assert [line[0] for line in cells[2:]] == ["`local`", "`texture`"]
    assert [line[cells[0].index("images")] for line in cells[2:]] == ["3", "2"]
    assert str(tmp_path / "out" / "panel.png") in result.stdout
    command[command.index("local,texture")] = "local,huge"
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 1
    assert re.fullmatch("npgen: model must be one of .*, got 'huge'\n", result.stderr)


def test_scores_in_another_network(digits, tmp_path, monkeypatch):
    """A registered network that needs no labels and gives no Inception Score."""
    from npgen.evaluation import networks

    def thumbnails(request):
        def predict(images):
            return images[:, ::4, ::4].reshape(len(images), -1).astype(np.float32), None

        return networks.Network(predict)

    monkeypatch.setattr(networks, "_registered", {})
    networks.register_network("thumbnails", thumbnails)
    heldout = npgen.Corpus.from_arrays(digits.images[40:])
    corpus = npgen.Corpus.from_arrays(digits.images[:40], heldout=heldout)
    options = OPTIONS | {"n": 6, "models": ["full"]}
    ablation = ablate(corpus, tmp_path / "out", **options, network="thumbnails")
    assert [row["name"] for row in ablation.rows] == ["`full`", "real held-out", "real training"]
    assert ablation.rows[0]["frechet"] > 0
    assert ablation.rows[0]["inception_score"] is None
    assert "in network thumbnails" in ablation.markdown()
    # Scores in another network are computed again.
    assert "No scores beside real images" in ablate(corpus, tmp_path / "out", **options).markdown()
    with pytest.raises(ValueError, match="network must be one of .*, got 'huge'"):
        ablate(corpus, tmp_path / "other", **options, network="huge")
    assert not (tmp_path / "other").exists()
