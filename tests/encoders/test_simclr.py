"""Training: loss, masks and views against slow versions; a resumed training equals an uninterrupted one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm.auto import tqdm

from npgen.corpus.store import Corpus
from npgen.encoders import simclr
from npgen.encoders.augment import Augment
from npgen.encoders.encoder import Encoder, network_input
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.recipe import Recipe
from npgen.encoders.simclr import TrainingNetwork, nt_xent, train_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe(epochs=3, batch_size=8, layers=((6, 3, 2), (8, 3, 2)), dim=8, projection=8, seed_size=4)


def random_corpus(count=28, channels=1, seed=0, labels=False):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 14, 12, channels), dtype=np.uint8)
    return Corpus.from_arrays(images, np.arange(count) % 3 if labels else None, name="tiny")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same_tensors(a, b):
    return all(np.array_equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())


class TestLoss:
    def test_against_the_definition(self):
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 5, 7))
        views = np.concatenate([first, second])
        views /= np.linalg.norm(views, axis=1, keepdims=True)
        total = 0.0
        for i in range(10):
            partner = (i + 5) % 10
            rivals = [math.exp(views[i] @ views[j] / 0.3) for j in range(10) if j != i]
            total -= math.log(math.exp(views[i] @ views[partner] / 0.3) / sum(rivals))
        got = nt_xent(torch.from_numpy(first), torch.from_numpy(second), 0.3)
        assert got.item() == pytest.approx(total / 10, rel=1e-5)

    def test_falls_when_views_agree(self):
        first = torch.randn(6, 4, generator=seeded())
        assert nt_xent(first, first, 0.1) < nt_xent(first, first.flip(0), 0.1)


STACKS = {
    "plain": ((8, 5, 2), (12, 3, 1)),
    "residual": ((8, 5, 2), (8, 3, 1), (8, 3, 1, 2), (12, 3, 2), (12, 3, 1), (12, 3, 1, 2)),
    "projected": ((8, 5, 1), (0, 3, 2), (8, 3, 1), (12, 3, 1, 2), (12, 1, 1), (12, 3, 2), (16, 1, 1, 3)),
}


@pytest.mark.parametrize("whitened", [False, True])
@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_folded_network_is_the_same_function(layers, whitened):
    torch.manual_seed(0)
    recipe = Recipe(layers=layers, dim=6, whitened=whitened)
    network = TrainingNetwork(recipe, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)  # blocks begin as their shortcuts, which hides mistakes
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 0.9
    rng = np.random.default_rng(0)
    # Patches of one colour: networks that average take all pixel noise for the same.
    images = rng.integers(0, 256, (64, 2, 2, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    known = rng.random((64, 16, 16)) < 0.7
    mean = torch.tensor([0.5, 0.25, 0.75])
    inputs = network_input(torch.from_numpy(images), torch.from_numpy(known), mean)
    network(inputs)  # gives the normalisations something to remember
    network.eval()
    with torch.no_grad():
        expected = torch.nn.functional.normalize(network.embed(inputs), dim=1).numpy()
    architecture = recipe.architecture(3)
    encoder = Encoder(replace(architecture, dim=None) if whitened else architecture, network.fold(mean), device="cpu")
    np.testing.assert_allclose(encoder.encode(images, known), expected, atol=5e-3)
    spread = np.ptp(expected, axis=0)  # images differ by far more than the tolerance
    # Features after a rectifier are small numbers, and some of them are always 0.
    assert np.median(spread) > 0.1 if whitened else spread.min() > 0.2


def test_blocks_begin_as_their_shortcuts():
    network = TrainingNetwork(Recipe(layers=STACKS["residual"], dim=6), 3).eval()
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(network.layers[2](network.layers[1](x), x), x)


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_every_stack_learns_and_resumes(tmp_path, monkeypatch, layers):
    recipe = Recipe(**{**TINY.__dict__, "layers": layers})
    whole = train_encoder(random_corpus(), tmp_path / "whole.safetensors", recipe, "cpu", progress=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interrupt(patch, 5)
        train_encoder(random_corpus(), tmp_path / "parts.safetensors", recipe, "cpu", progress=False)
    parts = train_encoder(random_corpus(), tmp_path / "parts.safetensors", recipe, "cpu", progress=False)
    assert parts.id == whole.id
    assert Recipe.from_json(Encoder.load(tmp_path / "parts.safetensors").metadata["recipe"]) == recipe


def test_read_only_images_train(tmp_path):
    """A step takes images as a memory-mapped corpus gives them."""
    corpus = random_corpus()
    training = simclr.EncoderTraining(corpus, TINY, torch.device("cpu"))
    assert not corpus.images.flags.writeable
    assert math.isfinite(training.contrast(training.batch(np.arange(8)), Augment(TINY, seeded())))


class Interrupt:
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, monkeypatch, step):
        self.left, self.real = step, nt_xent
        monkeypatch.setattr(simclr, "nt_xent", self)

    def __call__(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.real(*arguments)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, precision):
    corpus = random_corpus()
    recipe = Recipe(**{**TINY.__dict__, "precision": precision})
    whole = train_encoder(corpus, tmp_path / "whole.safetensors", recipe, "cpu", progress=False)
    torch.manual_seed(99)  # no matter what else drew random numbers
    out = tmp_path / "parts.safetensors"
    for step in (4, 5):  # 3 steps an epoch: within the second, then within the third
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Interrupt(patch, step)
            train_encoder(corpus, out, recipe, "cpu", progress=False)
        assert not out.exists()
        assert [path.name for path in tmp_path.glob("*parts*")] == ["parts.safetensors.checkpoint"]
    parts = train_encoder(corpus, out, recipe, "cpu", progress=False)
    assert same_tensors(parts, whole) and parts.id == whole.id
    assert parts.metadata == whole.metadata
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("parts*")) == ["parts.json", "parts.safetensors"]


MASKED = Recipe(**{**TINY.__dict__, "full": 1.0, "masked_epochs": 2, "masked_full": 0.0, "least_motion": 1.0})


def test_masks_come_when_the_recipe_says_so(tmp_path, monkeypatch):
    shares, rates, mask = [], [], simclr.ring_masks

    def noted(count, height, width, recipe, generator, full):
        masks = mask(count, height, width, recipe, generator, full)
        shares.append(masks.flatten(1).all(1).float().mean().item())
        return masks

    monkeypatch.setattr(simclr, "ring_masks", noted)
    training = simclr.EncoderTraining(random_corpus(), MASKED, torch.device("cpu"))
    bar = tqdm(disable=True)
    for _ in range(5):
        training.run_epoch(bar)
        rates.append(training.optimiser.param_groups[0]["lr"])
    assert shares[:9] == [1.0] * 9
    assert max(shares[9:]) < 0.8
    # Rates fall to almost nothing, rise again, and fall again.
    assert rates[2] < rates[1] < MASKED.learning_rate
    assert rates[4] < rates[3] < MASKED.masked_rate
    assert rates[3] > rates[2]


def test_a_snapshot_is_an_encoder_without_its_accuracy(finished):
    corpus, out = finished
    training = simclr.EncoderTraining(corpus, TINY, torch.device("cpu"))
    for _ in range(TINY.epochs):
        training.run_epoch(tqdm(disable=True))
    snapshot = training.snapshot("cpu", progress=False)
    assert "accuracy" not in snapshot.metadata and "accuracy" in Encoder.load(out).metadata
    assert snapshot.id == Encoder.load(out).id


def test_views_move_as_far_as_the_recipe_lets_little_known_ones(monkeypatch):
    for least in (0.0, 0.3, 1.0):
        recipe = Recipe(**{**TINY.__dict__, "full": 0.0, "least_motion": least})
        augment, strengths = Augment(recipe, seeded()), []
        monkeypatch.setattr(augment, "at", strengths.append)
        training = simclr.EncoderTraining(random_corpus(), recipe, torch.device("cpu"))
        training.contrast(training.batch(np.arange(8)), augment)
        assert least <= strengths[0].min() < max(1.0, least + 1e-6) or least == 1.0
        assert (strengths[0] == 1).all() == (least == 1.0)


def test_a_resumed_masked_training_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    corpus, out = random_corpus(), tmp_path / "parts.safetensors"
    whole = train_encoder(corpus, tmp_path / "whole.safetensors", MASKED, "cpu", progress=False)
    for step in (4, 7, 5):  # in the second epoch, in the fourth, in the fifth
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Interrupt(patch, step)
            train_encoder(corpus, out, MASKED, "cpu", progress=False)
    parts = train_encoder(corpus, out, MASKED, "cpu", progress=False)
    assert same_tensors(parts, whole) and parts.id == whole.id


def test_training_leaves_torchs_random_numbers_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_encoder(random_corpus(), tmp_path / "a.safetensors", TINY, "cpu", progress=False)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training: its corpus and file."""
    rng = np.random.default_rng(7)
    held = Corpus.from_arrays(rng.integers(0, 256, (6, 14, 12, 1), dtype=np.uint8), np.arange(6) % 3, name="held")
    base = random_corpus(count=30, labels=True)
    corpus = Corpus.from_arrays(base.images, base.labels, name="tiny", heldout=held)
    out = tmp_path_factory.mktemp("finished") / "a.safetensors"
    train_encoder(corpus, out, TINY, "cpu", progress=False)
    return corpus, out


class TestFinished:
    def test_a_file_of_provenance_is_written(self, finished):
        corpus, out = finished
        encoder = Encoder.load(out, device="cpu")
        provenance = json.loads(out.with_suffix(".json").read_text())
        assert provenance["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
        assert provenance["id"] == encoder.id and provenance["cores"] >= 1 and provenance["seconds"] > 0
        assert Recipe.from_json(provenance["recipe"]) == TINY == Recipe.from_json(encoder.metadata["recipe"])
        assert encoder.metadata["corpus_hash"] == corpus.hash and encoder.metadata["corpus"] == "tiny"
        assert encoder.metadata["image_size"] == [14, 12]
        measured = knn_accuracy(encoder, corpus, corpus.heldout.images, corpus.heldout.labels)
        assert provenance["accuracy"] == {str(side): share for side, share in measured.items()}

    def test_a_finished_encoder_is_not_trained_again(self, finished, monkeypatch):
        corpus, out = finished
        before = out.stat().st_mtime_ns
        monkeypatch.setattr(simclr.EncoderTraining, "__init__", None)
        assert train_encoder(corpus, out, TINY, "cpu", progress=False).id == Encoder.load(out).id
        assert out.stat().st_mtime_ns == before

    def test_another_recipe_or_corpus(self, finished):
        corpus, out = finished
        before = out.read_bytes()
        with pytest.raises(ValueError, match=r"recipe must be the one that .* got \{'epochs': 4\}"):
            train_encoder(corpus, out, Recipe(**{**TINY.__dict__, "epochs": 4}), "cpu", progress=False)
        with pytest.raises(ValueError, match=r"corpus must be the one that .*resume=False to replace it"):
            train_encoder(random_corpus(seed=1), out, TINY, "cpu", progress=False)
        assert out.read_bytes() == before

    def test_anew(self, finished, tmp_path):
        corpus, out = finished
        copy = tmp_path / "a.safetensors"
        copy.write_bytes(out.read_bytes())
        other = Recipe(**{**TINY.__dict__, "epochs": 1})
        encoder = train_encoder(corpus, copy, other, "cpu", resume=False, progress=False)
        assert Encoder.load(copy).id == encoder.id != Encoder.load(out).id


class TestCheckpoint:
    @pytest.fixture
    def stopped(self, tmp_path, monkeypatch):
        out = tmp_path / "a.safetensors"
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Interrupt(patch, 4)
            train_encoder(random_corpus(), out, TINY, "cpu", progress=False)
        return out, out.with_name("a.safetensors.checkpoint")

    def test_another_recipe_or_corpus(self, stopped):
        out, _ = stopped
        with pytest.raises(ValueError, match=r"recipe must be the one that .*checkpoint.* got \{'seed': 1\}"):
            train_encoder(random_corpus(), out, Recipe(**{**TINY.__dict__, "seed": 1}), "cpu", progress=False)
        with pytest.raises(ValueError, match=r"corpus must be the one that .*checkpoint"):
            train_encoder(random_corpus(seed=1), out, TINY, "cpu", progress=False)

    def test_damaged(self, stopped):
        out, checkpoint = stopped
        whole = checkpoint.read_bytes()
        for data in (b"", b"no checkpoint", whole[: len(whole) // 2]):
            checkpoint.write_bytes(data)
            with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote; delete it, or pass"):
                train_encoder(random_corpus(), out, TINY, "cpu", progress=False)

    @pytest.mark.skipif(os.name != "posix", reason="needs pipes")
    def test_a_pipe_is_not_waited_for(self, stopped):
        out, checkpoint = stopped
        checkpoint.unlink()
        os.mkfifo(checkpoint)
        with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote; delete it, or pass"):
            train_encoder(random_corpus(), out, TINY, "cpu", progress=False)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("network", {}),
            ("network", None),
            ("optimiser", []),
            ("epoch", "1"),
            ("epoch", -1),
            ("seconds", None),
            ("loss", "x"),
        ],
    )
    def test_parts_that_do_not_fit(self, stopped, name, value):
        out, checkpoint = stopped
        torch.save({**torch.load(checkpoint, weights_only=True), name: value}, checkpoint)
        with pytest.raises(ValueError, match=r"checkpoint must be whole; delete it, or pass resume=False"):
            train_encoder(random_corpus(), out, TINY, "cpu", progress=False)

    def test_foreign_pickle_does_not_run(self, stopped, tmp_path):
        out, checkpoint = stopped

        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        for data in (pickle.dumps(Evil()), None):
            if data is None:
                torch.save(Evil(), checkpoint)
            else:
                checkpoint.write_bytes(data)
            with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote"):
                train_encoder(random_corpus(), out, TINY, "cpu", progress=False)
        assert not (tmp_path / "owned").exists()

    def test_newer(self, stopped):
        out, checkpoint = stopped
        state = torch.load(checkpoint, weights_only=True)
        torch.save({**state, "checkpoint_version": 1}, checkpoint)
        with pytest.raises(ValueError, match=r"checkpoint must be of version 4 .* got '.* of version 1'"):
            train_encoder(random_corpus(), out, TINY, "cpu", progress=False)

    def test_anew(self, stopped):
        out, checkpoint = stopped
        train_encoder(random_corpus(seed=1), out, TINY, "cpu", resume=False, progress=False)
        assert out.exists() and not checkpoint.exists()


class TestTrain:
    def test_rgb_corpus_smaller_than_a_batch(self, tmp_path, capsys):
        corpus = random_corpus(count=5, channels=3)
        recipe = Recipe.for_corpus(corpus, epochs=1, layers=((6, 3, 2),), dim=8, projection=8)
        encoder = train_encoder(corpus, tmp_path / "a.safetensors", recipe, "cpu", progress=False)
        assert np.isfinite(encoder.encode(corpus.images)).all()
        assert "accuracy" not in encoder.metadata
        assert capsys.readouterr() == ("", "")

    def test_progress(self, tmp_path, capsys):
        train_encoder(random_corpus(), tmp_path / "a.safetensors", TINY, "cpu")
        assert "9/9" in capsys.readouterr().err

    def test_learns_to_find_partial_images(self, tmp_path):
        """Bars at many places: after training, a partial bar finds its own image far better than chance."""
        rng = np.random.default_rng(0)
        images = np.zeros((64, 12, 12, 1), np.uint8)
        for image in images:
            y, x = rng.integers(0, 12, 2)
            image[y] = rng.integers(100, 256)
            image[:, x] = rng.integers(100, 256)
        corpus = Corpus.from_arrays(images)
        recipe = Recipe(epochs=30, batch_size=32, layers=((16, 3, 1), (16, 3, 2)), dim=32, warmup_epochs=2)
        encoder = train_encoder(corpus, tmp_path / "a.safetensors", recipe, "cpu", progress=False)
        known = np.zeros((12, 12), bool)
        known[1:11, 1:11] = True
        similarity = encoder.encode(images, known) @ encoder.encode(images).T
        assert (similarity.argmax(1) == np.arange(64)).mean() > 0.5

    def test_bad_arguments(self, tmp_path):
        with pytest.raises(ValueError, match=r"out must be a path that ends in \.safetensors, got .*encoder.pt"):
            train_encoder(random_corpus(), tmp_path / "encoder.pt", TINY)
        with pytest.raises(ValueError, match="corpus must be of at least 2 images, got 1"):
            train_encoder(random_corpus(count=1), tmp_path / "a.safetensors", TINY)
        with pytest.raises(ValueError, match="device must be auto, cpu"):
            train_encoder(random_corpus(), tmp_path / "a.safetensors", TINY, "abacus")
        assert list(tmp_path.iterdir()) == []
