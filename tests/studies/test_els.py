"""The diffusion network, and the comparison of the score machines with it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.els import calibrate as els_calibrate
from npgen.els import diffusion_training
from npgen.els.diffusion import ConvolutionNetwork, DiffusionNetwork, DiffusionRecipe
from npgen.els.diffusion_training import train_diffusion
from npgen.els.generate import draw_noise
from npgen.els.schedules import levels
from npgen.studies import els as els_compare

RECIPE = DiffusionRecipe(layers=1, width=6, epochs=2, batch_size=8, precision="float32")
WINDOWS = [3, 3, 3]


@pytest.fixture(scope="module")
def bars():
    """24 images of a bright row or column."""
    images = np.zeros((24, 8, 7), np.uint8)
    for k, image in enumerate(images):
        (image if k % 2 else image.T)[k % 7] = 255
    return npgen.Corpus.from_arrays(images, name="bars")


@pytest.fixture(scope="module")
def trained(bars, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    train_diffusion(bars, path, RECIPE, progress=False)
    return path


def network(padding="zeros", layers=2, channels=1, shape=(9, 8)):
    """Make a network of random weights: those of a new network are 0 in part."""
    torch.manual_seed(0)
    recipe = replace(RECIPE, padding=padding, layers=layers)
    inner = ConvolutionNetwork(recipe, channels)
    for weight in inner.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return DiffusionNetwork(inner, recipe, (*shape, channels), {})


def test_a_pixel_depends_on_its_window_alone():
    for layers in (1, 2):
        some = network(layers=layers, shape=(21, 21))
        canvas = draw_noise((1, 21, 21, 1), 0)
        other = canvas.copy()
        other[0, 10, 10] += 1
        changed = np.argwhere(np.abs(some.denoise(other, 0.5) - some.denoise(canvas, 0.5))[0, :, :, 0] > 1e-9)
        assert np.all(np.ptp(changed, axis=0) + 1 == some.recipe.reach)


def test_circular_padding_is_equivariant():
    canvas = draw_noise((1, 9, 8, 1), 1)
    turned = np.roll(canvas, (2, 3), (1, 2))
    alike = network("circular").denoise(turned, 0.4) - np.roll(network("circular").denoise(canvas, 0.4), (2, 3), (1, 2))
    assert np.abs(alike).max() < 1e-5
    framed = network("zeros").denoise(turned, 0.4) - np.roll(network("zeros").denoise(canvas, 0.4), (2, 3), (1, 2))
    assert np.abs(framed).max() > 1e-3


def test_training_learns_and_a_network_is_what_was_saved(bars, tmp_path):
    recipe = replace(RECIPE, layers=2, width=16, epochs=40, learning_rate=1e-2, average=0.9)
    made = train_diffusion(bars, tmp_path / "n.safetensors", recipe, progress=False)
    assert made.metadata["loss"] < 0.4  # predicting nothing costs about 1
    kept = DiffusionNetwork.load(tmp_path / "n.safetensors")
    assert kept.recipe == recipe and kept.shape == (8, 7, 1) and kept.metadata["corpus_hash"] == bars.hash
    noise = draw_noise((3, 8, 7, 1), 0)
    assert np.array_equal(kept.sample(noise, 5, progress=False), made.sample(noise, 5, progress=False))
    a, b = levels(0.3)
    clean = bars.images[:8] / 127.5 - 1
    canvases = a * clean + b * draw_noise(clean.shape, 1)
    # Far better than the canvas itself.
    assert np.mean((kept.denoise(canvases, 0.3) - clean) ** 2) < 0.5 * np.mean((canvases / a - clean) ** 2)


def test_an_interrupted_training_comes_to_the_same_network(bars, tmp_path, monkeypatch):
    whole = train_diffusion(bars, tmp_path / "whole.safetensors", RECIPE, progress=False)
    save = diffusion_training._Training.save

    def killed(self, path):
        save(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(diffusion_training._Training, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_diffusion(bars, tmp_path / "n.safetensors", RECIPE, progress=False)
    monkeypatch.setattr(diffusion_training._Training, "save", save)
    assert not (tmp_path / "n.safetensors").exists()
    checkpoint = tmp_path / "n.safetensors.checkpoint"
    with pytest.raises(ValueError, match="recipe must be the one that .* was trained with"):
        train_diffusion(bars, tmp_path / "n.safetensors", replace(RECIPE, seed=1), progress=False)
    other = npgen.Corpus.from_arrays(bars.images[:9])
    with pytest.raises(ValueError, match="corpus must be the one that .* was trained on"):
        train_diffusion(other, tmp_path / "n.safetensors", RECIPE, progress=False)
    made = train_diffusion(bars, tmp_path / "n.safetensors", RECIPE, progress=False)
    assert not checkpoint.exists()
    for mine, theirs in zip(made._network.parameters(), whole._network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert made.metadata["loss"] == whole.metadata["loss"]
    checkpoint.write_bytes(b"nothing")
    (tmp_path / "n.safetensors").unlink()
    with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote; delete it"):
        train_diffusion(bars, tmp_path / "n.safetensors", RECIPE, progress=False)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"padding": "mirror"}, ValueError, "padding must be one of zeros, circular, got 'mirror'"),
        ({"width": 0}, ValueError, "width must be in 1…4096, got 0"),
        ({"layers": 0}, ValueError, "layers must be in 1…64, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, got 1.5"),
        ({"average": 1}, ValueError, "average must be at least 0, below 1, got 1"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a number above 0, got -1.0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
        ({"precision": "int8"}, ValueError, 'precision must be "bfloat16" or "float32", got'),
        ({"depth": 3}, ValueError, "recipe must be a JSON object of layers, width, "),
    ],
)
def test_bad_recipes_are_refused(values, kind, message):
    with pytest.raises(kind, match=message):
        DiffusionRecipe.from_json(values)


def test_damaged_networks_are_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="network must be an existing file"):
        DiffusionNetwork.load(tmp_path / "none.safetensors")
    (tmp_path / "n.safetensors").write_bytes(trained.read_bytes()[:-100])
    with pytest.raises(ValueError, match="network must be a whole file that npgen wrote"):
        DiffusionNetwork.load(tmp_path / "n.safetensors")
    (tmp_path / "n.safetensors").write_bytes(trained.read_bytes().replace(b'\\"width\\": 6', b'\\"width\\": 7'))
    with pytest.raises(ValueError, match="network file .* is damaged"):
        DiffusionNetwork.load(tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match=r"canvases must be of shape \(B, 8, 7, 1\), got \(1, 8, 8, 1\)"):
        DiffusionNetwork.load(trained).denoise(np.zeros((1, 8, 8, 1)), 0.5)
    with pytest.raises(ValueError, match="steps must be in 1…10000, got 0"):
        DiffusionNetwork.load(trained).sample(np.zeros((1, 8, 7, 1)), 0)
    with pytest.raises(ValueError, match="out must be a path that ends in .safetensors"):
        train_diffusion(None, "network.pt")


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


def test_a_comparison_is_stored_and_resumed(bars, trained, tmp_path, monkeypatch):
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
    monkeypatch.setattr("npgen.els.generate.denoise", lambda *args, **kwargs: refuse() if len(args[1]) else None)
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
        ({"machines": ["global"]}, ValueError, "machine must be one of ideal, local, .*, got 'global'"),
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
    with pytest.raises(ValueError, match="network must be one that was trained on .*, got 'bars, "):
        els_calibrate.calibrate_windows(DiffusionNetwork.load(trained), colours)


def test_calibration_finds_the_windows_of_a_machine(bars, trained, monkeypatch):
    some = DiffusionNetwork.load(trained)
    sides = {1: 3, 2: 5, 3: 7}

    def denoise(self, canvases, time, device="auto"):
        step = round(4 * time)
        a, b = levels(time)
        return npgen.denoise(bars, canvases, machine="local", window=sides[step], signal=a, noise=b).mean

    monkeypatch.setattr(DiffusionNetwork, "denoise", denoise)
    found = els_calibrate.calibrate_windows(
        some, bars, 3, "local", steps=4, largest=9, tolerance=0, sampling=0, progress=False
    )
    assert found.windows == (3, 3, 5, 7) and found.sides == (3, 5, 7, 9)
    assert np.all(found.cosines.max(1) > 1 - 1e-6) and found.cosines.shape == (3, 4)
    assert found.markdown().splitlines()[0].startswith("| step | window | 3×3 | 5×5 |")
    with pytest.raises(ValueError, match="machine must be one of .*, got 'ideal'"):
        els_calibrate.calibrate_windows(some, bars, machine="ideal")


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
    assert result.exit_code == 1 and "network must be given without a recipe, padding or epochs" in result.stderr
    result = run("els", "calibrate", tmp_path / "corpus", trained, "-n", 1, "--steps", 2, "--machine", "local", "-q")
    assert result.exit_code == 0 and len(result.stdout.splitlines()[-1].split(",")) == 2, result.output
