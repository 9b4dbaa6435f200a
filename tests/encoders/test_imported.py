"""Imported ResNets: encoders that compute what torchvision's networks do."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from resnets import colour_patches, resnet
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.encoders.encoder import Encoder, network_input
from npgen.encoders.imported import NORMALISATIONS, Normalisation, _fold, import_encoder
from npgen.encoders.loading import load_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small():
    return resnet()


@pytest.fixture(scope="module")
def checkpoint(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.pt"
    torch.save(small.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def imported(checkpoint):
    return import_encoder(checkpoint, device="cpu")


def features(network, images, normal, known=None):
    """Embed as torchvision does: normalise, run the network up to its head."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(numbers).double()[:, None, None] for numbers in (normal.mean, normal.std))
    x = (x - mean) / std
    if known is not None:
        x = x * torch.from_numpy(known)[:, None]
    body = torch.nn.Sequential(*list(network.double().children())[:-1])
    with torch.inference_mode():
        rows = torch.nn.functional.normalize(body(x).flatten(1), dim=1).numpy()
    network.float()
    return rows


def assert_same(rows, expected):
    """Check that rows differ by no more than rounding to float16 explains: little beside distances between images."""
    between = np.linalg.norm(expected[:, None] - expected[None], axis=2)[~np.eye(len(expected), dtype=bool)]
    off = np.linalg.norm(rows - expected, axis=1)
    assert off.max() < 0.03 * between.min(), (off.max(), between.min())


class TestSameFunction:
    @pytest.mark.parametrize(
        ("family", "stem"),
        [("resnet18", "cifar"), ("resnet34", "imagenet"), ("resnet50", "cifar"), ("resnet50", "imagenet")],
    )
    def test_as_torchvision(self, tmp_path, monkeypatch, family, stem):
        network, folded = resnet(family, stem), []
        monkeypatch.setattr("npgen.encoders.imported._fold", lambda *given: folded.append(_fold(*given)) or folded[0])
        torch.save(network.state_dict(), tmp_path / "a.pt")
        encoder = import_encoder(tmp_path / "a.pt", device="cpu")
        normal = NORMALISATIONS["cifar10" if stem == "cifar" else "imagenet"]
        images = colour_patches()
        rows = encoder.encode(images)
        assert rows.shape == (6, 2048 if family == "resnet50" else 512) and encoder.dim == rows.shape[1]
        assert_same(rows, features(network, images, normal))
        tensors = {name: tensor.double() for name, tensor in folded[0][1].items()}
        with torch.inference_mode():  # before rounding, all is exact
            inputs = network_input(torch.from_numpy(images), torch.ones(6, 32, 32, dtype=torch.bool), tensors["mean"])
            exact = encoder._forward(inputs.double(), tensors).numpy()
        np.testing.assert_allclose(exact, features(network, images, normal), atol=1e-6)
        assert encoder.metadata["imported"] == {
            "file": "a.pt",
            "sha256": hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest(),
            "prefix": "",
            "family": family,
            "stem": stem,
            "mean": list(normal.mean),
            "std": list(normal.std),
        }

    @pytest.mark.parametrize(("height", "width"), [(28, 28), (17, 23), (64, 48)])
    def test_images_of_any_size(self, small, imported, height, width):
        images = colour_patches(4, height, width)
        assert_same(imported.encode(images), features(small, images, NORMALISATIONS["cifar10"]))

    def test_unknown_pixels_are_of_the_mean(self, small, imported):
        images, known = colour_patches(), np.random.default_rng(1).random((6, 32, 32)) < 0.6
        assert_same(imported.encode(images, known), features(small, images, NORMALISATIONS["cifar10"], known))

    def test_normalisation(self, small, checkpoint):
        images = colour_patches()
        for given, normal in [
            ("imagenet", NORMALISATIONS["imagenet"]),
            ("none", Normalisation((0.0,) * 3, (1.0,) * 3)),
            (Normalisation((0.1, 0.9, 0.5), (0.2, 0.3, 0.4)), Normalisation((0.1, 0.9, 0.5), (0.2, 0.3, 0.4))),
        ]:
            encoder = import_encoder(checkpoint, normalisation=given, device="cpu")
            assert_same(encoder.encode(images), features(small, images, normal))

    def test_grey_images_are_colours_of_equal_channels(self, small, checkpoint):
        encoder = import_encoder(checkpoint, channels=1, device="cpu")
        images = colour_patches(channels=1)
        assert encoder.channels == 1
        assert_same(encoder.encode(images), features(small, images.repeat(3, 3), NORMALISATIONS["cifar10"]))

    def test_a_network_for_grey(self, tmp_path):
        network, normal = resnet(channels=1), Normalisation((0.1307,), (0.3081,))
        torch.save(network.state_dict(), tmp_path / "a.pt")
        encoder = import_encoder(tmp_path / "a.pt", normalisation=normal, device="cpu")
        images = colour_patches(height=28, width=28, channels=1)
        assert_same(encoder.encode(images), features(network, images, normal))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    images = np.clip(labels[:, None, None, None] * 60 + rng.integers(0, 60, (40, 12, 12, 3)), 0, 255).astype(np.uint8)
    held = npgen.Corpus.from_arrays(images[:8], labels[:8])
    corpus = npgen.Corpus.from_arrays(images[8:], labels[8:], name="flags", heldout=held)
    return corpus.save(tmp_path_factory.mktemp("stored") / "flags")


class TestUse:
    def test_a_row_depends_on_nothing_but_its_image(self, tmp_path):
        torch.save(resnet(stem="imagenet").state_dict(), tmp_path / "a.pt")
        encoder = import_encoder(tmp_path / "a.pt", device="cpu")
        images, known = colour_patches(70, 12, 12), np.random.default_rng(1).random((70, 12, 12)) < 0.6
        expected = encoder.encode(images, known, threads=1)
        order = np.random.default_rng(1).permutation(70)
        for threads in (None, 2, 3):
            np.testing.assert_array_equal(encoder.encode(images[order], known[order], threads=threads), expected[order])
        for batch in (1, 7, 64):
            for start in (0, 70 - batch):
                part = slice(start, start + batch)
                np.testing.assert_array_equal(encoder.encode(images[part], known[part]), expected[part])

    def test_file_embed_and_generate(self, tmp_path, imported, stored):
        path = tmp_path / "a.safetensors"
        imported.save(path)
        encoder = load_encoder(path, stored, "cpu")
        assert isinstance(encoder, Encoder)
        assert (encoder.id, encoder.metadata) == (imported.id, imported.metadata)
        keys = npgen.embed(stored, encoder, progress=False)
        np.testing.assert_array_equal(keys, imported.encode(stored.images))
        config = npgen.Config(window=5, shortlist=6, seed_size=4)
        samples = npgen.generate(stored, 3, "full", config, encoder=path, device="cpu", progress=False)
        assert samples.encoder_id == imported.id
        alone = npgen.generate(stored, 1, "full", config, first=2, encoder=path, device="cpu", progress=False)
        np.testing.assert_array_equal(alone.images[0], samples.images[2])

    def test_command(self, checkpoint, stored, imported, tmp_path):
        def run(*arguments):
            return CliRunner().invoke(app, ["encoder", *map(str, arguments)])

        out = stored.path / "encoder.safetensors"
        try:
            result = run("import", checkpoint, "--corpus", stored.path)
            assert result.exit_code == 0, result.output
            assert "resnet18, cifar stem, normalisation by mean [0.4914, 0.4822, 0.4465]" in result.stdout
            assert load_encoder("auto", npgen.load_corpus(stored.path)).id == imported.id
            again = run("import", checkpoint, "--corpus", stored.path)
            assert again.exit_code == 2 and "out must be a path that does not exist yet" in again.stderr
            check = run("check", "auto", stored.path, "-q", "--square", 12, "--square", 6)
            assert check.exit_code == 0, check.output
            assert (
                "| known square | 20-NN accuracy | purity of 15 | purity of 100 |\n|---:|---:|---:|---:|\n| 12 | "
                in check.stdout
            )
            assert "\n| 6 | " in check.stdout
        finally:
            out.unlink(missing_ok=True)
        numbers = ["--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616"]
        assert run("import", checkpoint, "--out", tmp_path / "a.safetensors", *numbers).exit_code == 0
        assert Encoder.load(tmp_path / "a.safetensors").id == imported.id
        for options, message in [
            ([], "out must be a path that ends in .safetensors, or corpus given, got None"),
            (["--out", tmp_path / "a.pt"], "out must be a path that ends in .safetensors, or corpus given, got '"),
            (
                ["--out", tmp_path / "b.safetensors", *numbers[:2]],
                "mean must be given together with std, and without norm",
            ),
            (
                ["--out", tmp_path / "b.safetensors", *numbers, "--normalisation", "none"],
                "mean must be given together with std, and without normalisation",
            ),
            (
                ["--out", tmp_path / "b.safetensors", "--mean", "a,b", "--std", "1"],
                "mean must be numbers with commas between them, got 'a,b'",
            ),
        ]:
            failed = run("import", checkpoint, *options)
            assert failed.exit_code == 2 and message in failed.stderr, failed.output
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors"]
