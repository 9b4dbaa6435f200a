"""The diffusion network and its training."""

from dataclasses import replace

import corpora
import numpy as np
import pytest
import torch

import npgen
from npgen.els import diffusion_training
from npgen.els.diffusion import DiffusionModule, DiffusionNetwork, DiffusionRecipe
from npgen.els.diffusion_training import train_diffusion
from npgen.els.generate import draw_noise
from npgen.els.schedules import levels
from npgen.nn import module_tensors

RECIPE = DiffusionRecipe(layers=1, width=6, epochs=2, batch_size=8, precision="float32")


@pytest.fixture(scope="module")
def bars():
    return corpora.bars()


@pytest.fixture(scope="module")
def trained(bars, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    train_diffusion(bars, path, RECIPE, progress=False)
    return path


def network(padding="zeros", layers=2, channels=1, shape=(9, 8)):
    """Make a network of random weights: initial ones predict 0."""
    torch.manual_seed(0)
    architecture = replace(RECIPE, padding=padding, layers=layers).architecture((*shape, channels))
    module = DiffusionModule(architecture)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return DiffusionNetwork(architecture, module_tensors(module))


def test_a_pixel_depends_on_its_window_alone():
    for layers in (1, 2):
        some = network(layers=layers, shape=(21, 21))
        canvas = draw_noise((1, 21, 21, 1), 0)
        other = canvas.copy()
        other[0, 10, 10] += 1
        changed = np.argwhere(np.abs(some.denoise(other, 0.5) - some.denoise(canvas, 0.5))[0, :, :, 0] > 1e-9)
        assert np.all(np.ptp(changed, axis=0) + 1 == some.architecture.receptive_field)


def test_circular_padding_knows_no_place():
    canvas = draw_noise((1, 9, 8, 1), 1)
    turned = np.roll(canvas, (2, 3), (1, 2))
    moved = network("circular").denoise(turned, 0.4) - np.roll(network("circular").denoise(canvas, 0.4), (2, 3), (1, 2))
    assert np.abs(moved).max() < 1e-5
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
    save = diffusion_training.DiffusionTraining.save

    def killed(self, path):
        save(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(diffusion_training.DiffusionTraining, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_diffusion(bars, tmp_path / "n.safetensors", RECIPE, progress=False)
    monkeypatch.setattr(diffusion_training.DiffusionTraining, "save", save)
    assert not (tmp_path / "n.safetensors").exists()
    checkpoint = tmp_path / "n.safetensors.checkpoint"
    with pytest.raises(ValueError, match="recipe must be the one that .* was trained with"):
        train_diffusion(bars, tmp_path / "n.safetensors", replace(RECIPE, seed=1), progress=False)
    other = npgen.Corpus.from_arrays(bars.images[:9])
    with pytest.raises(ValueError, match="corpus must be the one that .* was trained on"):
        train_diffusion(other, tmp_path / "n.safetensors", RECIPE, progress=False)
    made = train_diffusion(bars, tmp_path / "n.safetensors", RECIPE, progress=False)
    assert not checkpoint.exists()
    assert made.id == whole.id
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
        ({"precision": "int8"}, ValueError, "precision must be 'bfloat16' or 'float32', got"),
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
    with pytest.raises(ValueError, match="network must be a whole safetensors file"):
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


def old_file(network, path):
    """Write a network as release 0.1.0 did."""
    from npgen.nn.tensors import write_safetensors

    header = {"format": "npgen-diffusion", "version": 1, "shape": list(network.shape), **network.metadata}
    write_safetensors(path, header, network.tensors)
    return path


def test_a_file_of_release_0_1_is_read(trained, tmp_path, bars):
    network = DiffusionNetwork.load(trained)
    path = old_file(network, tmp_path / "old.safetensors")
    again = DiffusionNetwork.load(path)
    assert (again.id, again.metadata, again.recipe) == (network.id, network.metadata, RECIPE)
    before = path.read_bytes()
    assert train_diffusion(bars, path, RECIPE, progress=False).id == network.id  # found finished
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'\\"version\\": 1', b'\\"version\\": 2'))
    with pytest.raises(ValueError, match="network must be a safetensors file written by npgen"):
        DiffusionNetwork.load(path)
    path.write_bytes(before.replace(b'\\"shape\\"', b'\\"shard\\"'))
    with pytest.raises(ValueError, match="network file .* is damaged: KeyError"):
        DiffusionNetwork.load(path)
