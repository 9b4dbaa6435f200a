"""Whitening: features of the corpus get equal variance in all directions."""

import numpy as np
import torch

from npgen.corpus.store import Corpus
from npgen.encoders import whitening
from npgen.encoders.encoder import Encoder
from npgen.encoders.recipe import Recipe
from npgen.encoders.simclr import TrainingNetwork, train_encoder
from npgen.encoders.whitening import whitened

RECIPE = Recipe(
    epochs=2, batch_size=8, layers=((6, 3, 2), (8, 3, 2)), pool=2, dim=4, projection=4, seed_size=4, whitened=True
)


def random_corpus(count=40):
    """Noise in patches: images that differ without structure."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    return Corpus.from_arrays(images, name="noise")


def bare_encoder():
    """Give an untrained encoder whose embeddings are features."""
    torch.manual_seed(1)
    architecture = RECIPE.architecture(1)
    tensors = TrainingNetwork(RECIPE, 1).eval().fold(torch.tensor([0.5]))
    return Encoder(whitening.replace(architecture, dim=None), tensors, device="cpu")


def test_all_directions_get_the_same_moment(monkeypatch):
    corpus, encoder = random_corpus(400), bare_encoder()
    monkeypatch.setattr(whitening, "FLOOR", 1e-9)
    monkeypatch.setattr(whitening, "ring_masks", lambda count, h, w, *_: torch.ones(count, h, w, dtype=torch.bool))
    features = encoder.features(corpus.images).astype(np.float64)
    scale = np.linalg.eigvalsh(np.cov(features.T, bias=True))[-1]
    found = whitened(encoder, corpus, RECIPE).features(corpus.images)
    assert (
        np.abs(np.cov(found.T, bias=True) / scale - np.eye(encoder.dim)).max() < 0.05
    )  # weights are of half precision
    assert np.abs(found.mean(0)).max() < 0.05 * np.sqrt(scale)


def test_hidden_pixels_count_less():
    corpus, encoder = random_corpus(400), bare_encoder()
    known = np.zeros((16, 16), np.bool_)
    known[4:12, 4:12] = True

    def moved(encoder):
        whole, part = encoder.encode(corpus.images), encoder.encode(corpus.images, known)
        return np.linalg.norm(whole - part, axis=1).mean() / np.linalg.norm(whole - whole[::-1], axis=1).mean()

    assert moved(whitened(encoder, corpus, RECIPE)) < moved(encoder)


def test_directions_without_spread_are_not_stretched():
    same = Corpus.from_arrays(np.full((3, 16, 16, 1), 7, np.uint8), name="same")
    for corpus in (same, random_corpus(2)):
        found = whitened(bare_encoder(), corpus, RECIPE).encode(random_corpus().images)
        assert np.isfinite(found).all()


def test_a_training_ends_in_it(tmp_path):
    corpus = random_corpus()
    encoder = train_encoder(corpus, tmp_path / "a.safetensors", RECIPE, "cpu", progress=False)
    assert encoder.architecture == RECIPE.architecture(1) and encoder.dim == 32
    assert Encoder.load(tmp_path / "a.safetensors").id == encoder.id
    again = train_encoder(corpus, tmp_path / "b.safetensors", RECIPE, "cpu", progress=False)
    assert again.id == encoder.id
    assert not np.allclose(encoder.encode(corpus.images[:2])[0], encoder.encode(corpus.images[:2])[1])
