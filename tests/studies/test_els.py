"""The comparison of the score machines with a diffusion network."""

import json
from dataclasses import asdict

import corpora
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.els.diffusion import DiffusionNetwork, DiffusionRecipe
from npgen.els.diffusion_training import train_diffusion
from npgen.els.generate import draw_noise
from npgen.studies import els as els_compare

RECIPE = DiffusionRecipe(layers=1, width=6, epochs=2, batch_size=8, precision="float32")
WINDOWS = [3, 3, 3]


@pytest.fixture(scope="module")
def bars():
    return corpora.bars()


@pytest.fixture(scope="module")
def trained(bars, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    train_diffusion(bars, path, RECIPE, progress=False)
    return path


def test_r_and_r2_are_those_defined():
    random = np.random.default_rng(0)
    found, truth = random.random((2, 4, 5, 5, 1))
    truth[1], truth[2] = 2 * found[1] + 3, found[2]
    r, r2 = els_compare.pearson(found, truth), els_compare.determination(found, truth)
    for at in range(4):
        a, b = found[at].ravel(), truth[at].ravel()
        assert r[at] == pytest.approx(np.corrcoef(a, b)[0, 1])
        assert r2[at] == pytest.approx(1 - ((a - b) ** 2).sum() / ((b - b.mean()) ** 2).sum())
    assert r[1] == pytest.approx(1) and r2[1] < 0 and r2[2] == 1


def test_a_comparison_is_kept_and_gone_on_with(bars, trained, tmp_path, monkeypatch):
    options = {"windows": WINDOWS, "steps": 3, "network_steps": 4, "network": trained, "progress": False}
    found = npgen.studies.els.els_compare(bars, tmp_path / "c", 3, **options)
    assert [row["machine"] for row in found.rows] == list(npgen.els.MACHINES)
    noise = draw_noise((3, 8, 7, 1), 0)
    made = DiffusionNetwork.load(trained).sample(noise, 4, progress=False)
    machine = npgen.score_generate(bars, 3, "local", WINDOWS, 3, progress=False)
    row = found.rows[1]
    assert row["r_of"] == pytest.approx(els_compare.pearson(machine.images, made).tolist())
    assert row["r"] == pytest.approx(np.median(row["r_of"])) and row["r_low"] <= row["r"] <= row["r_high"]
    assert row["r2"] == pytest.approx(np.median(els_compare.determination(machine.images, made)))
    text = (tmp_path / "c" / "table.md").read_text()
    assert text == found.markdown() + "\n" and "| `equivariant-borders` |" in text
    assert json.loads((tmp_path / "c" / "results.json").read_text())["n"] == 3
    for name in ("grid.png", "mosaic.png"):
        assert npgen.read_provenance(tmp_path / "c" / name)[0]["windows"] == WINDOWS
        with Image.open(tmp_path / "c" / name) as picture:
            assert picture.mode == "RGB"

    def refuse(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr(DiffusionNetwork, "sample", refuse)
    monkeypatch.setattr("npgen.els.generate.denoise", refuse)
    again = els_compare.els_compare(bars, tmp_path / "c", 3, **options)
    assert again.to_json() == found.to_json()
    with pytest.raises(ValueError, match="of n 4, or another folder, got 3"):
        monkeypatch.undo()
        els_compare.els_compare(bars, tmp_path / "c", 4, **options)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"n": 1}, ValueError, "n must be in 2…"),
        ({"machines": []}, ValueError, r"machines must be one or more, each once, got \[\]"),
        ({"machines": ["local", "local"]}, ValueError, "machines must be one or more, each once"),
        ({"machines": ["global"]}, ValueError, "machine must be one of 'ideal', 'local', .*, got 'global'"),
        ({"network_steps": 0}, ValueError, "network_steps must be in 1…10000, got 0"),
        ({"tolerance": 2}, ValueError, "tolerance must be at least 0, below 1, got 2"),
        ({"network": "none.safetensors", "recipe": RECIPE}, ValueError, "recipe must be None where a network is given"),
        ({"network": "none.safetensors"}, FileNotFoundError, "network must be an existing file"),
    ],
)
def test_comparisons_refuse_bad_arguments_before_anything_is_made(bars, tmp_path, options, kind, message):
    arguments = {"windows": WINDOWS, "steps": 3, "progress": False} | options
    with pytest.raises(kind, match=message):
        els_compare.els_compare(bars, tmp_path / "c", **arguments)
    assert not (tmp_path / "c").exists()


def test_a_network_of_another_corpus_is_refused(colours, trained, tmp_path):
    with pytest.raises(ValueError, match="network must be one that was trained on .*, got 'bars, "):
        els_compare.els_compare(colours, tmp_path / "c", network=trained, progress=False)


def test_the_commands(bars, trained, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    bars.save(tmp_path / "corpus")
    (tmp_path / "recipe.json").write_text(json.dumps({**asdict(RECIPE), "epochs": 1}))
    common = [tmp_path / "corpus", "-n", 2, "--machines", "local,ideal", "--windows", "3,3", "--steps", 2, "-q"]
    options = ["--out", tmp_path / "c", "--network-steps", 2, "--recipe", tmp_path / "recipe.json", "--epochs", 2]
    result = run("els", "compare", *common, *options)
    assert result.exit_code == 0, result.output
    assert "| `ideal` |" in result.stdout and str(tmp_path / "c" / "grid.png") in result.stdout
    assert (tmp_path / "c" / "network.safetensors").read_bytes()[-64:] == trained.read_bytes()[-64:]
    result = run("els", "compare", *common, *options, "--network", trained)
    assert result.exit_code == 2 and "network must be given without a recipe, padding or epochs" in result.stderr
    result = run("els", "calibrate", tmp_path / "corpus", trained, "-n", 1, "--steps", 2, "--machine", "local", "-q")
    assert result.exit_code == 0 and len(result.stdout.splitlines()[-1].split(",")) == 2, result.output
