"""Imported ResNets: the same function as torchvision's, out of any wrapping; what is missing or odd is named."""

from __future__ import annotations

import argparse
import hashlib
import pickle

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.encoders.encoder import Encoder, load_encoder, network_input
from npgen.encoders.imported import NORMALISATIONS, Normalisation, _fold, import_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


def resnet(family="resnet18", stem="cifar", seed=0, channels=3):
    """Build a network with random weights, and normalisations that have seen images."""
    torch.manual_seed(seed)
    network = getattr(torchvision.models, family)(weights=None)
    if stem == "cifar" or channels != 3:
        side, stride = (3, 1) if stem == "cifar" else (7, 2)
        network.conv1 = torch.nn.Conv2d(channels, 64, side, stride, side // 2, bias=False)
    if stem == "cifar":
        network.maxpool = torch.nn.Identity()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 0.9
    with torch.no_grad():  # statistics of a kind of images, so that images differ in what comes out
        network(torch.from_numpy(random_images(12, channels=channels, seed=9)).permute(0, 3, 1, 2) / 64 - 2)
    return network.eval()


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


def random_images(count=6, height=32, width=32, channels=3, seed=0):
    # Patches of one colour, as noise is all alike to a network that averages.
    blocks = np.random.default_rng(seed).integers(0, 256, (count, height // 4 + 1, width // 4 + 1, channels))
    return blocks.repeat(4, 1).repeat(4, 2)[:, :height, :width].astype(np.uint8)


def features(network, images, normal, known=None):
    """Embed as the authors of the network would: normalise, run it up to its head."""
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
    """Hold the difference to what rounding weights to float16 makes: little beside distances of images."""
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
        images = random_images()
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
        images = random_images(4, height, width)
        assert_same(imported.encode(images), features(small, images, NORMALISATIONS["cifar10"]))

    def test_unknown_pixels_are_of_the_mean(self, small, imported):
        images, known = random_images(), np.random.default_rng(1).random((6, 32, 32)) < 0.6
        assert_same(imported.encode(images, known), features(small, images, NORMALISATIONS["cifar10"], known))

    def test_normalisation(self, small, checkpoint):
        images = random_images()
        for given, normal in [
            ("imagenet", NORMALISATIONS["imagenet"]),
            ("none", Normalisation((0.0,) * 3, (1.0,) * 3)),
            (Normalisation((0.1, 0.9, 0.5), (0.2, 0.3, 0.4)), Normalisation((0.1, 0.9, 0.5), (0.2, 0.3, 0.4))),
        ]:
            encoder = import_encoder(checkpoint, normalisation=given, device="cpu")
            assert_same(encoder.encode(images), features(small, images, normal))

    def test_grey_images_are_colours_of_equal_channels(self, small, checkpoint):
        encoder = import_encoder(checkpoint, channels=1, device="cpu")
        images = random_images(channels=1)
        assert encoder.channels == 1
        assert_same(encoder.encode(images), features(small, images.repeat(3, 3), NORMALISATIONS["cifar10"]))

    def test_a_network_for_grey(self, tmp_path):
        network, normal = resnet(channels=1), Normalisation((0.1307,), (0.3081,))
        torch.save(network.state_dict(), tmp_path / "a.pt")
        encoder = import_encoder(tmp_path / "a.pt", normalisation=normal, device="cpu")
        images = random_images(height=28, width=28, channels=1)
        assert_same(encoder.encode(images), features(network, images, normal))


@pytest.fixture(scope="module")
def slim(small):
    """Tensors of a ResNet-18 a sixteenth as wide, which are quick to write."""

    def cut(tensor):
        if tensor.ndim == 0:
            return tensor
        tensor = tensor[: len(tensor) // 16]
        return (tensor[:, : tensor.shape[1] // 16] if tensor.ndim == 4 and tensor.shape[1] > 3 else tensor).clone()

    return {name: cut(tensor) for name, tensor in small.state_dict().items() if not name.startswith("fc.")}


@pytest.fixture(scope="module")
def narrow(slim, tmp_path_factory):
    path = tmp_path_factory.mktemp("slim") / "a.pt"
    torch.save(slim, path)
    return import_encoder(path, device="cpu")


def numbered(tensors, parts):
    """Name parts by their place, as `nn.Sequential` does."""
    names = ((name.split(".", 1), tensor) for name, tensor in tensors.items())
    return {f"{parts.index(first)}.{rest}": tensor for (first, rest), tensor in names}


PARTS = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"]
UNPOOLED = [part for part in PARTS if part != "maxpool"]


def under(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


WRAPPINGS = {
    "bare": lambda tensors: tensors,
    "state_dict": lambda tensors: {
        "state_dict": tensors,
        "epoch": 3,
        "optimizer": {"state": {0: {"step": 1}}},
    },
    "module": lambda tensors: {"model": under("module.", tensors)},
    "nested": lambda tensors: {"state_dict": under("module.model.backbone.", tensors)},
    "net": lambda tensors: {"net": under("net.", tensors)},
    "arguments": lambda tensors: {
        "opt": argparse.Namespace(epochs=3, where=argparse.Namespace()),
        "model": {
            **under("module.encoder.", {k.replace("downsample", "shortcut"): v for k, v in tensors.items()}),
            "module.head.0.weight": torch.zeros(4, 4),
        },
    },
    "moco": lambda tensors: {
        "state_dict": {
            **under("module.encoder_k.", {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}),
            **under("module.encoder_q.", tensors),
            "module.queue": torch.zeros(3, 3),
        }
    },
    "average alone": lambda tensors: under("teacher.", tensors),
    "lightly": lambda tensors: {
        "state_dict": {
            **under("backbone.", numbered(tensors, PARTS)),
            "projection_head.layers.0.weight": torch.zeros(3, 3),
        }
    },
    "f": lambda tensors: {**under("f.", numbered(tensors, UNPOOLED)), "g.0.weight": torch.zeros(3, 3)},
    "wrapped sequence": lambda tensors: under("encoder.0.", tensors),
}


class TestWrappings:
    @pytest.mark.parametrize("wrapping", list(WRAPPINGS))
    def test_no_matter(self, tmp_path, slim, narrow, wrapping):
        path = tmp_path / "a.ckpt"
        torch.save(WRAPPINGS[wrapping](slim), path)
        assert import_encoder(path, device="cpu").id == narrow.id

    def test_safetensors_and_old_files_of_torch(self, tmp_path, slim, narrow):
        tensors = under("backbone.", slim)
        save_file(tensors, tmp_path / "a.safetensors")
        torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        for name in ("a.safetensors", "a.pth"):
            encoder = import_encoder(tmp_path / name, device="cpu")
            assert encoder.id == narrow.id and encoder.metadata["imported"]["prefix"] == "backbone"

    def test_half_precision(self, tmp_path, slim, narrow):
        torch.save({name: tensor.bfloat16() for name, tensor in slim.items()}, tmp_path / "a.pt")
        rows = import_encoder(tmp_path / "a.pt", device="cpu").encode(random_images())
        np.testing.assert_allclose(rows, narrow.encode(random_images()), atol=0.1)

    def test_one_of_several(self, tmp_path, slim, narrow):
        other = {name: tensor + 1 for name, tensor in slim.items()}
        torch.save({"online": under("net.", slim), "old": other}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match=r"prefix must be one of 'online\.net', 'old', which .* got None"):
            import_encoder(tmp_path / "a.pt")
        with pytest.raises(ValueError, match=r"prefix must be one of 'online\.net', 'old', which .* got 'new'"):
            import_encoder(tmp_path / "a.pt", prefix="new")
        for prefix in ("online.net", "online.net."):
            assert import_encoder(tmp_path / "a.pt", prefix=prefix).id == narrow.id
        assert import_encoder(tmp_path / "a.pt", prefix="old").id != narrow.id


def refused(path, tensors, **options):
    torch.save(tensors, path)
    with pytest.raises(ValueError) as caught:
        import_encoder(path, **options)
    return str(caught.value)


class TestRefused:
    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="checkpoint must be an existing file, got .*none"):
            import_encoder(tmp_path / "none.pt")

    @pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
    def test_no_checkpoint(self, tmp_path, checkpoint, name):
        whole = checkpoint.read_bytes()
        for data in (b"", b"surely no tensors here", pickle.dumps([1]), whole[: len(whole) // 2]):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(
                ValueError,
                match=r"checkpoint must be safetensors, or a file of torch\.save that needs|"
                "checkpoint must hold a ResNet",
            ):
                import_encoder(tmp_path / name)

    def test_code_does_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        path = tmp_path / "a.pt"
        assert "which needs the code of" in refused(path, {"state_dict": {}, "note": Evil()})
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
        with pytest.raises(ValueError, match=r"needs no code to read .*, got .* which needs the code of .*open"):
            import_encoder(path)
        assert not (tmp_path / "owned").exists()

    def test_endless_containers(self, tmp_path):
        endless = {}
        endless["again"] = endless
        assert "checkpoint must be safetensors, or a file" in refused(tmp_path / "a.pt", endless)

    def test_no_resnet(self, tmp_path):
        message = "checkpoint must hold a ResNet with parts named as layer1.0.conv1.weight, got none"
        for tensors in ({}, {"state_dict": {"conv1.weight": torch.zeros(2, 2)}}, [torch.zeros(2)]):
            assert refused(tmp_path / "a.pt", tensors) == message

    @pytest.mark.parametrize(
        "name", ["conv1.weight", "bn1.running_var", "layer2.1.bn1.bias", "layer4.0.downsample.0.weight"]
    )
    def test_a_part_is_missing(self, tmp_path, slim, name):
        tensors = {key: tensor for key, tensor in slim.items() if key != name}
        message = f"checkpoint must hold all of a resnet18 up to its head, got none of {name}"
        assert refused(tmp_path / "a.pt", under("backbone.", tensors)) == message

    def test_many_parts_are_missing(self, tmp_path, slim):
        tensors = {key: tensor for key, tensor in slim.items() if "running" not in key}
        said = refused(tmp_path / "a.pt", tensors)
        assert said.endswith("layer1.0.bn2.running_var and 34 more"), said

    def test_a_block_is_missing(self, tmp_path, slim):
        tensors = {key: tensor for key, tensor in slim.items() if not key.startswith("layer3.1")}
        assert refused(tmp_path / "a.pt", tensors) == (
            "checkpoint must be one of resnet18, resnet34, resnet50, resnet101, resnet152, "
            "got 'stages of (2, 2, 1, 2) blocks of 2 layers'"
        )

    def test_a_part_too_many(self, tmp_path, slim):
        tensors = {**slim, "layer1.0.se.weight": torch.zeros(2), "conv1.bias": torch.zeros(64)}
        message = "checkpoint must be a plain resnet18, as torchvision has it, got 'conv1.bias, layer1.0.se.weight'"
        assert refused(tmp_path / "a.pt", tensors) == message

    @pytest.mark.parametrize(
        ("name", "tensor", "message"),
        [
            ("bn1.bias", torch.zeros(3), "checkpoint's bn1.bias must be of length 4, got 3"),
            (
                "layer1.0.conv1.weight",
                torch.zeros(4, 2, 3, 3),
                "checkpoint's layer1.0.conv1.weight must be of shape (4, 4, 3, 3), got (4, 2, 3, 3)",
            ),
            (
                "layer1.0.conv1.weight",
                torch.zeros(4, 4),
                "checkpoint's layer1.0.conv1.weight must be floating-point numbers in 4 dimensions, "
                "got 'torch.float32 of shape (4, 4)'",
            ),
            ("layer1.0.conv1.weight", torch.zeros(4, 4, 2, 2), "layers must be of odd kernel side, got (4, 2, 1)"),
            (
                "bn1.bias",
                torch.zeros(4, dtype=torch.int8),
                "checkpoint's bn1.bias must be floating-point numbers in 1 dimensions, got 'torch.int8 of shape (4,)'",
            ),
            ("conv1.weight", torch.zeros(4, 4, 3, 3), "normalisation must be of 1 or 4 numbers, as the checkpoint is"),
            (
                "bn1.running_var",
                torch.full((4,), -1.0),
                "checkpoint's conv1.weight must be finite in float16 when normalisations are folded in, got '144 n",
            ),
        ],
    )
    def test_odd_tensors(self, tmp_path, slim, name, tensor, message):
        assert refused(tmp_path / "a.pt", {**slim, name: tensor}).startswith(message)

    def test_arguments(self, tmp_path, checkpoint):
        with pytest.raises(
            ValueError, match="normalisation must be one of cifar10, imagenet, none, or numbers, got 'c"
        ):
            import_encoder(checkpoint, normalisation="cifar")
        with pytest.raises(ValueError, match="normalisation must be of 1 or 3 numbers, as the checkpoint is for 3"):
            import_encoder(checkpoint, normalisation=Normalisation((0.5, 0.5), (1.0, 1.0)))
        with pytest.raises(ValueError, match="channels must be 3 or 1, as the checkpoint is for 3, got 4"):
            import_encoder(checkpoint, channels=4)
        torch.save(resnet(channels=1).state_dict(), tmp_path / "a.pt")
        with pytest.raises(ValueError, match="channels must be 1, as the checkpoint is for 1, got 3"):
            import_encoder(tmp_path / "a.pt", channels=3, normalisation="none")
        with pytest.raises(ValueError, match=r"std must be of 2 numbers, as mean is, got \(1.0,\)"):
            Normalisation((0.5, 0.5), (1.0,))
        with pytest.raises(ValueError, match=r"mean must be in 0\.\.1, got \(125.0,\)"):
            Normalisation((125.0,), (1.0,))
        with pytest.raises(ValueError, match=r"std must be above 0, got \(0.0,\)"):
            Normalisation((0.5,), (0.0,))


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
        images, known = random_images(70, 12, 12), np.random.default_rng(1).random((70, 12, 12)) < 0.6
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
            assert again.exit_code == 1 and "out must be a path that does not exist yet" in again.stderr
            check = run("check", "auto", stored.path, "-q", "--square", 12, "--square", 6)
            assert check.exit_code == 0, check.output
            assert "| known square | 20-NN accuracy |\n|---:|---:|\n| 12 | " in check.stdout
            assert "\n| 6 | " in check.stdout
        finally:
            out.unlink(missing_ok=True)
        numbers = ["--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616"]
        assert run("import", checkpoint, "--out", tmp_path / "a.safetensors", *numbers).exit_code == 0
        assert Encoder.load(tmp_path / "a.safetensors").id == imported.id
        for options, message in [
            ([], "out must be a path that ends in .safetensors, or corpus given, got None"),
            (["--out", tmp_path / "a.pt"], "out must be a path that ends in .safetensors, or corpus given, got '"),
            (["--out", tmp_path / "b.safetensors", *numbers[:2]], "mean and std must be given both, and without norm"),
            (
                ["--out", tmp_path / "b.safetensors", *numbers, "--normalisation", "none"],
                "mean and std must be given both, and without normalisation",
            ),
            (
                ["--out", tmp_path / "b.safetensors", "--mean", "a,b", "--std", "1"],
                "mean must be numbers with commas between them, got 'a,b'",
            ),
        ]:
            failed = run("import", checkpoint, *options)
            assert failed.exit_code == 1 and message in failed.stderr, failed.output
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors"]
