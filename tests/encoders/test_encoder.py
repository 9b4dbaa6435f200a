"""Encoders: a row depends on its own image alone, files survive the round trip, bad input gets its message."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from corpora import random_encoder, random_images, random_masks
from safetensors.numpy import load_file, save_file

from npgen.corpus.store import Corpus
from npgen.encoders.encoder import Encoder
from npgen.encoders.loading import load_encoder
from npgen.encoders.pixels import PixelEncoder
from npgen.nn.architecture import Architecture, Stack
from npgen.nn.shipped import SHIPPED, WEIGHTS
from npgen.runtime.devices import resolve_device

SMALL = ((8, 3, 2), (12, 3, 1))
RESIDUAL = ((8, 5, 2), (8, 3, 1), (8, 3, 1, 2), (12, 3, 2), (12, 3, 1, 2))


def corpus_of(images, name="arrays"):
    return Corpus.from_arrays(images, name=name)


def shipped_layers():
    return tuple(tuple(layer) for layer in json.loads((WEIGHTS / "mnist.json").read_text())["recipe"]["layers"])


class TestEncode:
    def test_rows_are_unit_float32(self):
        rows = random_encoder().encode(random_images(5))
        assert rows.shape == (5, 16) and rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)

    def test_no_images_give_no_rows(self):
        assert random_encoder().encode(random_images(0)).shape == (0, 16)

    def test_unknown_pixels_do_not_count_but_the_mask_does(self):
        encoder, images, known = random_encoder(), random_images(6), random_masks(6)
        noise = np.where(known[..., None], images, random_images(6, seed=9))
        np.testing.assert_array_equal(encoder.encode(images, known), encoder.encode(noise, known))
        assert not np.array_equal(encoder.encode(images, known), encoder.encode(images))

    def test_no_mask_means_all_known(self):
        encoder, images = random_encoder(), random_images(3)
        everything = np.ones((28, 28), bool)
        np.testing.assert_array_equal(encoder.encode(images), encoder.encode(images, everything))
        np.testing.assert_array_equal(encoder.encode(images), encoder.encode(images, np.ones((3, 28, 28), bool)))

    @pytest.mark.parametrize(
        ("height", "width", "channels", "residual"),
        [(28, 28, 1, False), (32, 32, 3, False), (17, 23, 1, False), (32, 32, 3, True)],
    )
    def test_a_row_depends_on_nothing_but_its_image(self, height, width, channels, residual):
        import torch

        encoder = random_encoder(channels, RESIDUAL if residual else shipped_layers(), 128)
        images, known = random_images(90, height, width, channels), random_masks(90, height, width)
        expected = encoder.encode(images, known, threads=1)
        order = np.random.default_rng(1).permutation(90)
        before = torch.get_num_threads()
        try:
            for torch_threads in (1, 2):
                torch.set_num_threads(torch_threads)
                for threads in (None, 1, 2, 5):
                    got = encoder.encode(images[order], known[order], threads=threads)
                    np.testing.assert_array_equal(got, expected[order])
                assert torch.get_num_threads() == torch_threads
                for batch in (1, 7, 64):
                    for start in (0, 13, 90 - batch):
                        part = slice(start, start + batch)
                        np.testing.assert_array_equal(encoder.encode(images[part], known[part]), expected[part])
        finally:
            torch.set_num_threads(before)

    def test_memory_mapped_images(self, tmp_path):
        np.save(tmp_path / "images.npy", random_images(20))
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        encoder = random_encoder()
        np.testing.assert_array_equal(encoder.encode(mapped), encoder.encode(random_images(20)))

    @pytest.mark.parametrize("encoder", [random_encoder(), PixelEncoder(28, 28, 1)], ids=["network", "pixels"])
    def test_bad_input(self, encoder):
        images = random_images(2)
        with pytest.raises(TypeError, match="images must be uint8, got float32"):
            encoder.encode(images.astype(np.float32))
        with pytest.raises(ValueError, match=r"images must be of shape \(B, H, W, 1\), got \(28, 28, 1\)"):
            encoder.encode(images[0])
        with pytest.raises(ValueError, match=r"images must be of shape \(B, H, W, 1\), got \(2, 28, 28, 3\)"):
            encoder.encode(random_images(2, channels=3))
        with pytest.raises(TypeError, match="known must be bool, got uint8"):
            encoder.encode(images, np.ones((28, 28), np.uint8))
        with pytest.raises(ValueError, match=r"known must be of shape .* got \(3, 28, 28\)"):
            encoder.encode(images, np.ones((3, 28, 28), bool))
        with pytest.raises(ValueError, match="threads must be in 1…1024, got 0"):
            encoder.encode(images, threads=0)

    def test_unknown_device(self):
        with pytest.raises(ValueError, match=r"device must be auto, cpu, or an accelerator .* got 'abacus'"):
            resolve_device("abacus")


class TestArchitecture:
    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            ((8, 3), "layers must be tuples of positive whole numbers .* got \\(8, 3\\)"),
            ((8, 3, 1, 1, 1), "layers must be tuples of positive whole numbers"),
            ((8, 3, 0), "layers must be tuples of positive whole numbers"),
            ((8, 3, 1, 0), "layers must be tuples of positive whole numbers"),
            ((8, 3.0, 1), "layers must be tuples of positive whole numbers"),
            ((-8, 3, 1), "layers must be tuples of positive whole numbers"),
            ((0, 3, 1, 1), "or \\(0, kernel, stride\\) for max-pooling, got \\(0, 3, 1, 1\\)"),
            ((0, 2, 1), "layers must be of odd kernel side, got \\(0, 2, 1\\)"),
            ((8, 3, 1, 3), "layers must be such that residual blocks lie within the stack, side by side, got"),
        ],
    )
    def test_bad_layers(self, layer, message):
        with pytest.raises(ValueError, match=message):
            Architecture(1, ((8, 3, 2), layer), 1, 4)

    def test_blocks_side_by_side(self):
        allowed = "layers must be such that residual blocks lie within the stack, side by side, got"
        with pytest.raises(ValueError, match=allowed):
            Stack(8, ((8, 3, 1), (8, 3, 1, 2), (8, 3, 1, 2)))
        assert Stack(8, ((8, 3, 1, 1), (8, 3, 1), (8, 3, 1, 2))).blocks == {0: 0, 2: 1}

    def test_bad_numbers(self):
        with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
            Architecture(2, SMALL, 1, 4)
        with pytest.raises(ValueError, match="layers must be at least one"):
            Architecture(1, (), 1, 4)
        with pytest.raises(ValueError, match="pool must be a whole number in 1…64, got 0"):
            Architecture(1, SMALL, 0, 4)
        with pytest.raises(ValueError, match="dim must be a positive whole number or None, got 0"):
            Architecture(1, SMALL, 1, 0)

    def test_projections_where_shapes_differ(self):
        stack = Stack(4, ((8, 7, 2), (0, 3, 2), (8, 3, 1), (8, 3, 1, 2), (8, 3, 2), (8, 3, 1, 2), (16, 1, 1, 1)))
        assert stack.widths == (4, 8, 8, 8, 8, 8, 8, 16)
        assert stack.blocks == {3: 2, 5: 4, 6: 6}
        assert [stack.projection(number) for number in range(7)] == [None] * 5 + [(8, 2), (8, 1)]

    def test_shapes(self):
        shapes = Architecture(3, ((8, 5, 2), (0, 3, 2), (12, 3, 1), (12, 3, 2, 2)), 2, None).shapes()
        assert shapes == {
            "mean": (3,),
            "layer0.weight": (8, 4, 5, 5),
            "layer0.bias": (8,),
            "layer2.weight": (12, 8, 3, 3),
            "layer2.bias": (12,),
            "layer3.weight": (12, 12, 3, 3),
            "layer3.bias": (12,),
            "layer3.projection.weight": (12, 8, 1, 1),
            "layer3.projection.bias": (12,),
        }

    def test_averages_as_embedding(self):
        encoder = random_encoder(layers=RESIDUAL, dim=None)
        assert encoder.dim == 2 * 2 * 12 == encoder.encode(random_images(2)).shape[1]

    def test_json_round_trip(self):
        for layers, dim in ((SMALL, 16), (RESIDUAL, 16), (((8, 7, 2), (0, 3, 2)), None)):
            architecture = Architecture(3, layers, 2, dim)
            again = Architecture.from_json(json.loads(json.dumps(dataclasses.asdict(architecture))))
            assert again == architecture and again.shapes() == architecture.shapes()

    def test_ids_are_pinned(self):
        shipped = Encoder.load(WEIGHTS / "mnist.safetensors", device="cpu")
        assert shipped.id == "2c6b183b80cc46e5a75b9fabfc864892716225a8e6792fd7f559661c30c9e753"
        zeros = {name: np.zeros(shape, np.float16) for name, shape in Architecture(1, SMALL, 2, 16).shapes().items()}
        assert Encoder(Architecture(1, SMALL, 2, 16), zeros).id.startswith("fbd188b7a4a5d8a6")


class TestFiles:
    @pytest.mark.parametrize("layers", [SMALL, RESIDUAL, ((8, 7, 2), (0, 3, 2), (12, 3, 2, 1))])
    def test_round_trip_of_layers(self, tmp_path, layers):
        encoder = random_encoder(3, layers)
        encoder.save(tmp_path / "a.safetensors")
        loaded = Encoder.load(tmp_path / "a.safetensors", device="cpu")
        assert loaded.id == encoder.id and loaded.architecture == encoder.architecture
        images = random_images(3, 20, 15, 3)
        np.testing.assert_array_equal(loaded.encode(images), encoder.encode(images))

    def test_round_trip(self, tmp_path):
        encoder = random_encoder(3, metadata={"recipe": {"epochs": 2}, "image_size": [32, 32]})
        encoder.save(tmp_path / "a.safetensors")
        loaded = Encoder.load(tmp_path / "a.safetensors", device="cpu")
        assert loaded.id == encoder.id and len(encoder.id) == 64
        assert (loaded.dim, loaded.channels, loaded.metadata) == (16, 3, encoder.metadata)
        images = random_images(4, 32, 32, 3)
        np.testing.assert_array_equal(loaded.encode(images), encoder.encode(images))
        loaded.save(tmp_path / "b.safetensors")
        assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]

    def test_id_is_of_weights_and_architecture(self):
        assert random_encoder(metadata={"note": 1}).id == random_encoder().id
        assert random_encoder(seed=1).id != random_encoder().id
        strided = ((8, 3, 1), (12, 3, 1))  # the same tensors, another function
        assert random_encoder(layers=strided).id != random_encoder().id

    def test_failed_save_leaves_nothing(self, tmp_path):
        with pytest.raises(OSError, match="missing"):
            random_encoder().save(tmp_path / "missing" / "a.safetensors")
        assert list(tmp_path.iterdir()) == []

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"encoder must be an existing file, got .*none\.safetensors"):
            Encoder.load(tmp_path / "none.safetensors")

    def test_not_safetensors(self, tmp_path):
        path = tmp_path / "a.safetensors"
        path.write_bytes(b"surely no tensors here")
        with pytest.raises(ValueError, match=r"encoder must be a whole safetensors file, got .*a\.safetensors"):
            Encoder.load(path)

    def test_truncated(self, tmp_path):
        path = tmp_path / "a.safetensors"
        random_encoder().save(path)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(ValueError, match="encoder must be a whole safetensors file"):
            Encoder.load(path)

    def test_altered(self, tmp_path):
        """Each way a file can be wrong inside, with its message."""
        path = tmp_path / "a.safetensors"
        random_encoder().save(path)
        good = load_file(path)
        header = {"format_version": 1, "architecture": {"channels": 1, "layers": SMALL, "pool": 2, "dim": 16}}

        def expect(message, tensors=good, header=header, raw=None):
            text = json.dumps(header) if raw is None else raw
            save_file(tensors, path, metadata={"npgen": text})
            with pytest.raises(ValueError, match=message):
                Encoder.load(path)

        nan = good["output.bias"].copy()
        nan[3] = np.nan
        expect("tensor 'output.bias' must be finite numbers, got '1 that are not'", {**good, "output.bias": nan})
        expect(
            r"tensor 'mean' must be float16 of shape \(1,\), got 'float16 of shape \(3,\)'",
            {**good, "mean": np.zeros(3, np.float16)},
        )
        expect("tensor 'mean' must be float16 .* got 'float32", {**good, "mean": np.zeros(1, np.float32)})
        expect("tensors must be only mean, .* got 'extra'", {**good, "extra": nan})
        missing = {name: tensor for name, tensor in good.items() if name != "layer1.bias"}
        expect("tensors must be complete, with 'layer1.bias', got", missing)
        expect(
            r"must be of format version 1 \(a newer npgen may read this file\), got 2",
            header={**header, "format_version": 2},
        )
        expect("a.safetensors' is damaged: architecture must be an object of", header={"format_version": 1})
        for change, message in [
            ({"channels": 2}, "channels must be 1 or 3, got 2"),
            ({"channels": True}, "channels must be 1 or 3, got True"),
            ({"layers": []}, "layers must be at least one"),
            ({"layers": [[8, 3]]}, r"layers must be tuples of positive whole numbers .*, got \(8, 3\)"),
            ({"layers": [[8, 4, 1]]}, "layers must be of odd kernel side, got"),
            ({"layers": [8, 4, 1]}, "architecture must be an object of channels, layers, pool and dim, got"),
            ({"pool": 0}, "pool must be a whole number in 1…64, got 0"),
            ({"pool": 10**9, "dim": None}, "pool must be a whole number in 1…64, got 1000000000"),
            ({"layers": [[0, 2**40 + 1, 1]]}, r"layers must be of numbers up to 65536, got \(0, 1099511627777, 1\)"),
            ({"dim": "wide"}, "dim must be a positive whole number or None, got 'wide'"),
        ]:
            expect(message, header={**header, "architecture": {**header["architecture"], **change}})
        expect("encoder must be a safetensors file written by npgen, got", raw="{}")
        expect("encoder must be a safetensors file written by npgen, got", raw="no json")
        expect("encoder must be a safetensors file written by npgen, got", raw="[1]")
        save_file(good, path)
        with pytest.raises(ValueError, match="encoder must be a safetensors file written by npgen, got"):
            Encoder.load(path)


class TestLoadEncoder:
    def test_pixels_fit_the_corpus(self):
        encoder = load_encoder("pixels", corpus_of(random_images(2, 9, 13, 3)))
        assert encoder.encode(random_images(2, 9, 13, 3)).shape == (2, 2 * 7 * 7 * 3 + 1)

    @pytest.mark.parametrize("name", list(SHIPPED))
    def test_auto_finds_the_shipped_one(self, name, monkeypatch):
        corpus = corpus_of(random_images(2, *SHIPPED[name]))
        monkeypatch.setattr("npgen.nn.shipped.known_data_set", lambda corpus: name)
        assert load_encoder("auto", corpus).id == load_encoder(name, corpus).id

    def test_auto_finds_the_one_for_its_images(self, tmp_path, monkeypatch):
        monkeypatch.setattr("npgen.nn.shipped.WEIGHTS", tmp_path)
        monkeypatch.setitem(SHIPPED, "banners", (32, 32, 3))
        own = random_encoder(3)
        own.save(tmp_path / "banners.safetensors")
        flags, others = (corpus_of(random_images(count, 32, 32, 3), "flags") for count in (2, 3))
        monkeypatch.setattr(
            "npgen.nn.shipped.known_data_set", lambda corpus: "banners" if corpus.hash == flags.hash else None
        )
        assert load_encoder("auto", flags).id == own.id
        assert load_encoder("banners", others).id == own.id
        with pytest.raises(ValueError, match="corpus 'flags' has none"):
            load_encoder("auto", others)

    def test_auto_prefers_the_one_in_the_folder(self, tmp_path):
        corpus = corpus_of(random_images(4), "mnist")
        corpus.save(tmp_path / "mnist")
        from npgen.corpus.names import load_corpus

        own = random_encoder()
        own.save(tmp_path / "mnist" / "encoder.safetensors")
        assert load_encoder("auto", load_corpus(tmp_path / "mnist")).id == own.id

    @pytest.mark.parametrize("images", [random_images(2, 32, 32, 3), random_images(2)])
    def test_auto_without_any(self, images):
        with pytest.raises(ValueError) as caught:
            load_encoder("auto", corpus_of(images, "flowers"))
        for part in ("corpus 'flowers' has none", "`npgen encoder train PATH`", 'encoder="pixels"'):
            assert part in str(caught.value)

    def test_auto_with_images_of_another_size(self):
        with pytest.raises(ValueError, match="corpus 'mnist' has none"):
            load_encoder("auto", corpus_of(random_images(2, 32, 32), "mnist"))

    def test_path_and_instance(self, tmp_path):
        corpus, encoder = corpus_of(random_images(2)), random_encoder()
        encoder.save(tmp_path / "a.safetensors")
        assert load_encoder(tmp_path / "a.safetensors", corpus).id == encoder.id
        assert load_encoder(str(tmp_path / "a.safetensors"), corpus, "cpu").device == "cpu"
        assert load_encoder(encoder, corpus) is encoder

    def test_errors(self, tmp_path):
        corpus = corpus_of(random_images(2))
        names = ", ".join(f'"{name}"' for name in ("auto", "pixels", *SHIPPED))
        message = f"encoder must be one of {names} or the path of a .safetensors file, got"
        with pytest.raises(ValueError, match=message + " 'resnet'"):
            load_encoder("resnet", corpus)
        with pytest.raises(TypeError, match="encoder must be a name, a path or an Encoder, got int"):
            load_encoder(3, corpus)
        with pytest.raises(FileNotFoundError, match="encoder must be an existing file"):
            load_encoder(tmp_path / "none.safetensors", corpus)
        with pytest.raises(ValueError, match="one for images of 1 channels, as corpus 'arrays' has, got"):
            load_encoder(random_encoder(3), corpus)
        with pytest.raises(ValueError, match=r"one for the corpus's images of shape \(28, 28, 1\), got"):
            load_encoder(PixelEncoder(9, 9, 1), corpus)


class TestShipped:
    @pytest.mark.parametrize(("name", "shape"), sorted(SHIPPED.items()))
    def test_file_and_its_description_agree(self, name, shape):
        path = WEIGHTS / f"{name}.safetensors"
        description = json.loads(path.with_suffix(".json").read_text())
        encoder = Encoder.load(path, device="cpu")
        assert path.stat().st_size <= 4_000_000
        assert hashlib.sha256(path.read_bytes()).hexdigest() == description["sha256"]
        assert encoder.id == description["id"]
        assert encoder.metadata["recipe"] == description["recipe"]
        assert encoder.metadata["accuracy"] == description["accuracy"]
        assert encoder.metadata["image_size"] == list(shape[:2])
        assert encoder.channels == shape[2] and 64 <= encoder.dim <= 256

    def test_accuracy(self, data_root: Path):
        from npgen.encoders.neighbours import knn_accuracy

        raw = Path(data_root) / "MNIST" / "raw"

        def read(name, offset):
            return np.frombuffer((raw / name).read_bytes(), np.uint8, offset=offset)

        images = read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1)
        labels = read("train-labels-idx1-ubyte", 8).astype(np.int64)
        test_images = read("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1)
        test_labels = read("t10k-labels-idx1-ubyte", 8).astype(np.int64)
        corpus = Corpus.from_arrays(images, labels, name="mnist")
        encoder = load_encoder("mnist", corpus)
        accuracy = knn_accuracy(encoder, corpus, test_images, test_labels)
        bar = {20: 0.96, 16: 0.95, 12: 0.88, 8: 0.60}
        assert all(accuracy[side] >= least for side, least in bar.items()), accuracy
        for side, claimed in encoder.metadata["accuracy"].items():
            assert accuracy[int(side)] == pytest.approx(claimed, abs=0.002)
