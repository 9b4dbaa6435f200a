"""The binary-latent autoencoder: exact bits, outputs that depend on their input alone, trainings that resume."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import corpora
import numpy as np
import pytest
import torch
from tqdm.auto import tqdm

import npgen
from npgen.encoders.encoder import Encoder
from npgen.nn.checkpoints import write_checkpoint
from npgen.nn.inference import MICRO_BATCH, on_device
from npgen.nn.shipped import SHIPPED, WEIGHTS
from npgen.tokens import autoencoder_training as training
from npgen.tokens.autoencoder import (
    Autoencoder,
    TokenArchitecture,
    bit_logits,
    load_autoencoder,
    network_input,
    pixels_of_bits,
)
from npgen.tokens.autoencoder_training import AutoencoderRecipe, initial_weights, reconstruction_psnr, train_autoencoder

TINY = AutoencoderRecipe(
    bits=4, kernel=5, width=8, blocks=1, reach=1, epochs=1, settling_epochs=2, batch_size=16, precision="float32"
)


def random_images(count, height=12, width=8, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def bits_of(codes, bits):
    return np.unpackbits(codes, axis=-1, count=bits, bitorder="little")


class TestRuns:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize(("stride", "bits"), [(1, 7), (2, 8), (4, 17)])
    def test_shapes(self, channels, stride, bits):
        model = corpora.autoencoder(channels, stride, bits)
        images = random_images(3, channels=channels)
        codes = model.encode(images)
        assert codes.shape == (3, 12 // stride, 8 // stride, -(-bits // 8)) and codes.dtype == np.uint8
        assert model.decode(codes).shape == images.shape

    def test_no_images_give_no_tokens(self):
        model = corpora.autoencoder()
        assert model.encode(random_images(0)).shape == (0, 6, 4, 1)
        assert model.decode(np.zeros((0, 6, 4, 1), np.uint8)).shape == (0, 12, 8, 1)

    @pytest.mark.parametrize("bits", [3, 8, 13])
    def test_a_bit_is_the_sign_of_its_number_and_the_others_are_0(self, bits):
        model = corpora.autoencoder(bits=bits)
        images = random_images(5)
        weights = on_device(model.tensors, torch.device("cpu"))
        with torch.inference_mode():
            logits = bit_logits(network_input(torch.from_numpy(images), weights["mean"]), weights, model.architecture)
        expected = (logits > 0).numpy().transpose(0, 2, 3, 1)
        codes = model.encode(images)
        np.testing.assert_array_equal(bits_of(codes, bits), expected)
        assert 0.1 < expected.mean() < 0.9
        if bits % 8:
            assert not (codes[..., -1] >> (bits % 8)).any()

    def test_the_decoder_sees_nothing_but_minus_one_and_one(self, monkeypatch):
        model = corpora.autoencoder(bits=5)
        seen = []

        def noted(z, weights, architecture):
            seen.append(z.clone())
            return pixels_of_bits(z, weights, architecture)

        monkeypatch.setattr("npgen.tokens.autoencoder.pixels_of_bits", noted)
        model.decode(model.encode(random_images(3)))
        assert set(torch.cat(seen).unique().tolist()) == {-1.0, 1.0}

    def test_an_output_depends_on_its_input_alone(self):
        model = corpora.autoencoder(3)
        images = random_images(MICRO_BATCH + 5, channels=3)
        codes = model.encode(images)
        shown = model.decode(codes)
        for part in (slice(0, 1), slice(7, 30), slice(MICRO_BATCH, None)):
            np.testing.assert_array_equal(model.encode(images[part]), codes[part])
            np.testing.assert_array_equal(model.decode(codes[part]), shown[part])
        np.testing.assert_array_equal(model.encode(images, threads=3), codes)
        np.testing.assert_array_equal(model.decode(codes, threads=3), shown)

    @pytest.mark.parametrize(("stride", "kernel"), [(1, 1), (1, 3), (2, 3), (2, 7), (4, 5)])
    def test_a_token_sees_the_pixels_around_its_cell_and_no_others(self, stride, kernel):
        model = corpora.autoencoder(stride=stride, kernel=kernel)
        weights = on_device(model.tensors, torch.device("cpu"))
        x = torch.zeros(1, 1, 24, 24, requires_grad=True)
        cell = 12 // stride
        bit_logits(x, weights, model.architecture)[0, :, cell, cell].sum().backward()
        seen = x.grad[0, 0].nonzero()
        first, last = seen.min(0).values, seen.max(0).values
        assert (last - first + 1).tolist() == [kernel, kernel]
        inside = cell * stride + stride // 2
        assert first.tolist() == [inside - kernel // 2] * 2

    def test_a_cell_is_made_of_the_tokens_within_reach(self):
        model = corpora.autoencoder(stride=2, reach=2)
        weights = on_device(model.tensors, torch.device("cpu"))
        z = torch.ones(1, 8, 12, 12, requires_grad=True)
        pixels_of_bits(z, weights, model.architecture)[0, 0, 12:14, 12:14].sum().backward()
        seen = z.grad[0].abs().sum(0).nonzero()
        assert seen.min(0).values.tolist() == [4, 4] and seen.max(0).values.tolist() == [8, 8]

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda m: m.encode(None), TypeError, "images must be of type ndarray, got NoneType"),
            (lambda m: m.encode(np.zeros((1, 4, 4, 1))), TypeError, "images must be of dtype uint8, got float64"),
            (
                lambda m: m.encode(random_images(1, 5, 4)),
                ValueError,
                "images must be of shape (B, H, W, 1) with H and W positive multiples of 2, got (1, 5, 4, 1)",
            ),
            (
                lambda m: m.encode(random_images(1, channels=3)),
                ValueError,
                "images must be of shape (B, H, W, 1) with H and W positive multiples of 2, got (1, 12, 8, 3)",
            ),
            (lambda m: m.encode(random_images(1), threads=0), ValueError, "threads must be in 1…1024, got 0"),
            (
                lambda m: m.encode(random_images(1, 4, 0)),
                ValueError,
                "images must be of shape (B, H, W, 1) with H and W positive multiples of 2, got (1, 4, 0, 1)",
            ),
            (
                lambda m: m.decode(np.zeros((1, 0, 2, 1), np.uint8)),
                ValueError,
                "codes must be of shape (B, h, w, 1) for 8 bits, h and w at least 1, got (1, 0, 2, 1)",
            ),
            (
                lambda m: m.decode(np.zeros((1, 2, 2, 3), np.uint8)),
                ValueError,
                "codes must be of shape (B, h, w, 1) for 8 bits, got (1, 2, 2, 3)",
            ),
            (lambda m: m.decode(np.zeros((1, 2, 2, 1))), TypeError, "codes must be of dtype uint8, got float64"),
        ],
    )
    def test_bad_input(self, call, error, message):
        with pytest.raises(error, match=re.escape(message)):
            call(corpora.autoencoder())


class TestArchitecture:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"channels": 2}, "channels must be 1 or 3, got 2"),
            ({"stride": 0}, "stride must be in 1…64, got 0"),
            ({"bits": 65}, "bits must be in 1…64, got 65"),
            ({"kernel": 4}, "kernel must be odd, got 4"),
            ({"kernel": 1}, "kernel must be in 2…255, got 1"),
            ({"width": 0}, "width must be in 1…4096, got 0"),
            ({"reach": -1}, "reach must be in 0…16, got -1"),
        ],
    )
    def test_refuses(self, change, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            TokenArchitecture(**{"channels": 1, **change})

    def test_json(self):
        shape = TokenArchitecture(3, bits=9)
        assert TokenArchitecture.from_json(json.loads(json.dumps(dataclasses.asdict(shape)))) == shape
        for values in (None, {}, {"channels": 1}, {**dataclasses.asdict(shape), "stride": None}):
            with pytest.raises(ValueError, match="architecture must be an object of"):
                TokenArchitecture.from_json(values)


class TestFiles:
    def test_round_trip(self, tmp_path):
        model = corpora.autoencoder(bits=11)
        model.metadata["note"] = "x"
        model.save(tmp_path / "a.safetensors")
        loaded = Autoencoder.load(tmp_path / "a.safetensors", device="cpu")
        assert (loaded.id, loaded.metadata, loaded.architecture) == (model.id, model.metadata, model.architecture)
        np.testing.assert_array_equal(loaded.encode(random_images(3)), model.encode(random_images(3)))

    def test_refuses_other_files(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="autoencoder must be an existing file"):
            Autoencoder.load(tmp_path / "none.safetensors")
        (tmp_path / "junk.safetensors").write_bytes(b"junk" * 9)
        with pytest.raises(ValueError, match="autoencoder must be a whole safetensors file"):
            Autoencoder.load(tmp_path / "junk.safetensors")
        with pytest.raises(ValueError, match=r"autoencoder file .* is damaged: architecture must be an object of"):
            Autoencoder.load(WEIGHTS / "mnist.safetensors")
        corpora.autoencoder().save(tmp_path / "a.safetensors")
        with pytest.raises(ValueError, match=r"encoder file .* is damaged: architecture must be an object of"):
            Encoder.load(tmp_path / "a.safetensors")

    def test_refuses_tensors_that_do_not_fit(self):
        model = corpora.autoencoder()
        with pytest.raises(ValueError, match="tensors must be complete, with 'mean'"):
            Autoencoder(model.architecture, {})
        with pytest.raises(ValueError, match=r"tensor 'mean' must be float16 of shape .*, got 'float32"):
            Autoencoder(model.architecture, {**model.tensors, "mean": np.zeros(1, np.float32)})


class TestLoad:
    def test_finds(self, digits, tmp_path):
        model = corpora.autoencoder()
        corpus = digits.save(tmp_path / "digits")
        with pytest.raises(ValueError, match=r"train one with `npgen tokens train .*digits`, got 'auto'"):
            load_autoencoder("auto", corpus)
        model.save(corpus.path / "autoencoder.safetensors")
        assert load_autoencoder("auto", corpus, "cpu").id == model.id
        assert load_autoencoder(corpus.path / "autoencoder.safetensors", corpus).id == model.id
        assert load_autoencoder(model, corpus) is model

    @pytest.mark.parametrize(
        ("spec", "error", "message"),
        [
            (3, TypeError, "autoencoder must be of type str or PathLike or Autoencoder, got int"),
            ("best", ValueError, 'autoencoder must be one of "auto", "cifar10", "mnist" or the path of a .safetensors'),
            ("x.safetensors", FileNotFoundError, "autoencoder must be an existing file, got 'x.safetensors'"),
        ],
    )
    def test_refuses(self, digits, spec, error, message):
        with pytest.raises(error, match=re.escape(message)):
            load_autoencoder(spec, digits)

    def test_refuses_what_does_not_fit(self, digits, colours):
        with pytest.raises(
            ValueError, match="autoencoder must be one for images of 12×12×3, as corpus 'arrays' has, got"
        ):
            load_autoencoder(corpora.autoencoder(), colours)
        with pytest.raises(ValueError, match="images of 16×16×1, as corpus .* got Autoencoder.*stride=3"):
            load_autoencoder(corpora.autoencoder(stride=3), digits)


class TestShipped:
    @pytest.mark.parametrize("name", list(SHIPPED))
    def test_weights(self, name):
        path = WEIGHTS / f"tokens-{name}.safetensors"
        facts = json.loads(path.with_suffix(".json").read_text())
        model = Autoencoder.load(path, device="cpu")
        assert path.stat().st_size <= 2_000_000 and facts["id"] == model.id
        shape = SHIPPED[name]
        assert model.architecture.channels == shape[2] and facts["image_size"] == list(shape[:2])
        assert facts["psnr"]["mean"] >= {"mnist": 28, "cifar10": 24}[name]
        assert facts["bits_per_image"] <= 7 * shape[0] * shape[1]

    def test_shipped_autoencoders_reconstruct_digits(self, mnist_5k):
        model = load_autoencoder("auto", mnist_5k, "cpu")
        assert reconstruction_psnr(model, mnist_5k.images[::50])["mean"] >= 28


class Interrupt:
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, monkeypatch, step):
        self.left, self.real = step, training.pixels_of_bits
        monkeypatch.setattr(training, "pixels_of_bits", self)

    def __call__(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.real(*arguments)


def train(corpus, out, recipe=TINY, **options):
    return train_autoencoder(corpus, out, recipe, "cpu", progress=False, **options)


class TestTraining:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_resumed_equals_uninterrupted(self, digits, tmp_path, monkeypatch, precision):
        recipe = dataclasses.replace(TINY, precision=precision, flip=0.5)
        whole = train(digits, tmp_path / "whole.safetensors", recipe)
        torch.manual_seed(99)  # no matter what else drew random numbers
        out = tmp_path / "parts.safetensors"
        for step in (4, 5):  # 3 steps an epoch: within the second, then within the third
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                Interrupt(patch, step)
                train(digits, out, recipe)
            assert [path.name for path in tmp_path.glob("*parts*")] == ["parts.safetensors.checkpoint"]
        parts = train(digits, out, recipe)
        assert parts.id == whole.id and out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
        assert sorted(path.name for path in tmp_path.glob("parts*")) == ["parts.json", "parts.safetensors"]

    def test_learns(self, digits, tmp_path):
        corpus = npgen.Corpus.from_arrays(
            digits.images[:40], heldout=npgen.Corpus.from_arrays(digits.images[40:]), name="d"
        )
        recipe = dataclasses.replace(TINY, bits=16, width=24, epochs=30, settling_epochs=30, batch_size=10)
        model = train(corpus, tmp_path / "a.safetensors", recipe)
        facts = json.loads((tmp_path / "a.json").read_text())
        assert facts["psnr"] == reconstruction_psnr(model, corpus.heldout.images) == model.metadata["psnr"]
        assert facts["bits_per_image"] == 64 * 16 and facts["id"] == model.id
        black = np.zeros_like(corpus.heldout.images)
        error = (black.astype(float) - corpus.heldout.images) ** 2
        assert facts["psnr"]["pooled"] > 10 * math.log10(255**2 / error.mean()) + 6

    def test_settling_epochs_show_the_decoder_signs(self, digits, monkeypatch):
        seen = []

        def noted(z, weights, architecture):
            seen.append(set(z.detach().unique().tolist()))
            return pixels_of_bits(z, weights, architecture)

        monkeypatch.setattr(training, "pixels_of_bits", noted)
        state = training.AutoencoderTraining(digits, TINY, torch.device("cpu"))
        for _ in range(2):
            state.run_epoch(tqdm(disable=True))
        assert all(len(values) > 100 for values in seen[:3]) and all(values == {-1.0, 1.0} for values in seen[3:])

    def test_blocks_begin_as_their_shortcuts(self):
        weights = initial_weights(TINY.architecture(1), 0)
        assert not weights["encoder.block0.1.weight"].any() and weights["encoder.block0.0.weight"].any()

    def test_a_finished_training_is_left_as_it_is(self, digits, tmp_path):
        out = tmp_path / "a.safetensors"
        made = train(digits, out)
        before = out.stat().st_mtime_ns
        assert train(digits, out).id == made.id and out.stat().st_mtime_ns == before
        with pytest.raises(ValueError, match="recipe must be the one that .* was trained with .*bits"):
            train(digits, out, dataclasses.replace(TINY, bits=5))
        with pytest.raises(ValueError, match="corpus must be the one that .* was trained on"):
            train(npgen.Corpus.from_arrays(digits.images[:30]), out)
        assert train(digits, out, dataclasses.replace(TINY, bits=5), resume=False).bits == 5

    def test_refuses_another_checkpoint(self, digits, tmp_path):
        (tmp_path / "a.safetensors.checkpoint").write_bytes(b"x")
        with pytest.raises(
            ValueError, match="checkpoint must be one that npgen wrote; delete it, or pass resume=False"
        ):
            train(digits, tmp_path / "a.safetensors")

    def test_a_checkpoint_that_lacks_something_is_refused(self, digits, tmp_path):
        path = tmp_path / "a.safetensors.checkpoint"
        write_checkpoint(path, training.AutoencoderTraining.version, TINY.to_json(), digits, {"weights": {}})
        with pytest.raises(ValueError, match="checkpoint must be whole; delete it, or pass resume=False"):
            train(digits, tmp_path / "a.safetensors")

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"bits": 0}, ValueError, "bits must be in 1…64, got 0"),
            ({"epochs": -1}, ValueError, "epochs must be at least 0"),
            ({"settling_epochs": 0}, ValueError, "settling_epochs must be at least 1"),
            ({"noise": -1}, ValueError, "noise must be a number of at least 0, got -1"),
            ({"noise": "1"}, TypeError, "noise must be a number, got '1'"),
            ({"learning_rate": 0}, ValueError, "learning_rate must be a number above 0, got 0"),
            ({"flip": 2}, ValueError, "flip must be in 0…1, got 2"),
            ({"precision": "half"}, ValueError, "precision must be 'bfloat16' or 'float32', got 'half'"),
        ],
    )
    def test_bad_recipes(self, change, error, message):
        with pytest.raises(error, match=re.escape(message)):
            AutoencoderRecipe(**change)

    def test_recipes_as_json(self, colours):
        recipe = AutoencoderRecipe.for_corpus(colours, bits=5)
        assert recipe.flip == 0.5 and AutoencoderRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
        with pytest.raises(ValueError, match="recipe must be an object of stride, bits.*got .'layers'."):
            AutoencoderRecipe.from_json({"layers": 1})

    def test_bad_arguments(self, digits, tmp_path):
        with pytest.raises(ValueError, match="out must be a path that ends in .safetensors, got"):
            train(digits, tmp_path / "a")
        with pytest.raises(ValueError, match="stride must be a divisor of the images' sides 16 and 16, got 3"):
            train(digits, tmp_path / "a.safetensors", dataclasses.replace(TINY, stride=3))
        with pytest.raises(TypeError, match="corpus must be of type Corpus, got NoneType"):
            train(None, tmp_path / "a.safetensors")
