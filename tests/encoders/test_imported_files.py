"""Files of imported ResNets: any nesting is read; a missing or unexpected part is named."""

from __future__ import annotations

import argparse
import pickle

import numpy as np
import pytest
import torch
from resnets import colour_patches, resnet
from safetensors.torch import save_file

from npgen.encoders.imported import Normalisation, import_encoder

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
    def test_nesting_does_not_matter(self, tmp_path, slim, narrow, wrapping):
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
        rows = import_encoder(tmp_path / "a.pt", device="cpu").encode(colour_patches())
        np.testing.assert_allclose(rows, narrow.encode(colour_patches()), atol=0.1)

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
        text = refused(tmp_path / "a.pt", tensors)
        assert text.endswith("layer1.0.bn2.running_var and 34 more"), text

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
