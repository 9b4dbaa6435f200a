"""The classifier of a corpus: what it learns, how it is stored, what is refused."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil

import numpy as np
import pytest
import torch

from npgen.corpus.names import load_corpus
from npgen.corpus.store import Corpus
from npgen.evaluation import classifier as module
from npgen.evaluation import classifier_recipe
from npgen.evaluation.classifier import load_classifier
from npgen.evaluation.classifier_recipe import ClassifierRecipe, classifier_id
from npgen.nn.tensors import write_safetensors


def bars(count, *, shape=(12, 10, 1), classes=3, seed=0):
    """Noise with a bright bar whose place is the class; labels 0, 2, 4, …: values with gaps."""
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % classes
    images = random.integers(0, 60, (count, *shape), np.uint8)
    for image, kind in zip(images, kinds, strict=True):
        image[1 + 3 * kind : 3 + 3 * kind] += 150
    return images, 2 * kinds


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def corpus_of(count=96, *, heldout=24, seed=0, **options):
    images, labels = bars(count, seed=seed, **options)
    rest = Corpus.from_arrays(*bars(heldout, seed=seed + 100, **options)) if heldout else None
    return Corpus.from_arrays(images, labels, heldout=rest)


def recipe_for(corpus, **changes):
    small = {"layers": ((8, 3, 2), (16, 3, 2)), "epochs": 8, "batch_size": 16, "side": 16}
    return dataclasses.replace(ClassifierRecipe.for_corpus(corpus), **{**small, **changes})


@pytest.mark.parametrize("shape", [(12, 10, 1), (11, 13, 3), (22, 17, 1)])
def test_learns_a_corpus_of_any_size(shape):
    corpus = corpus_of(shape=shape)
    classifier = load_classifier(corpus, recipe_for(corpus, shift=0.0), quiet=True)
    assert classifier.metadata["heldout_accuracy"] > 0.9
    images, labels = bars(300, shape=shape, seed=2)  # more than one batch
    probabilities, features = classifier.predict(images)
    assert probabilities.shape == (300, 3) and probabilities.dtype == np.float64
    assert features.shape == (300, 64) and features.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    assert classifier.labels.tolist() == [0, 2, 4]
    assert (classifier.labels[probabilities.argmax(1)] == labels).mean() > 0.9
    assert classifier.accuracy(Corpus.from_arrays(images, labels)) > 0.9
    assert classifier.accuracy(Corpus.from_arrays(images)) is None


def test_training_is_deterministic_and_leaves_torch_random_state_alone():
    corpus, again = corpus_of(), corpus_of()
    state = torch.random.get_rng_state()
    first = load_classifier(corpus, recipe_for(corpus), quiet=True, device="cpu")
    second = load_classifier(again, recipe_for(again), quiet=True, device="cpu")
    assert torch.equal(state, torch.random.get_rng_state())
    assert first is not second and first.id == second.id
    for ours, theirs in zip(first.predict(corpus.images), second.predict(corpus.images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_trained_once_in_memory(monkeypatch):
    corpus = corpus_of()
    first = load_classifier(corpus, recipe_for(corpus), quiet=True)
    monkeypatch.setattr(module, "_train", None)
    assert load_classifier(corpus, recipe_for(corpus), quiet=True) is first


def test_trained_once_on_disk(tmp_path, monkeypatch):
    corpus = corpus_of().save(tmp_path / "corpus")
    recipe = recipe_for(corpus)
    first = load_classifier(corpus, recipe, quiet=True)
    kept = tmp_path / "corpus" / "classifier" / f"{first.id}.safetensors"
    assert [kept] == list(kept.parent.iterdir())
    monkeypatch.setattr(module, "_train", None)
    second = load_classifier(load_corpus(corpus.path), recipe, quiet=True)
    assert second is not first and second.metadata == first.metadata
    for ours, theirs in zip(first.predict(corpus.images), second.predict(corpus.images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_id_depends_on_recipe_and_corpus():
    corpus, other = corpus_of(), corpus_of(seed=5)
    recipe = recipe_for(corpus)
    ids = {
        classifier_id(recipe, corpus),
        classifier_id(dataclasses.replace(recipe, seed=1), corpus),
        classifier_id(recipe, other),
    }
    assert len(ids) == 3
    assert classifier_id(recipe, corpus) == classifier_id(recipe_for(corpus_of()), corpus_of())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder, recipe and file of a saved corpus and its classifier, for copies only."""
    folder = tmp_path_factory.mktemp("saved") / "corpus"
    corpus = corpus_of().save(folder)
    recipe = dataclasses.replace(recipe_for(corpus), epochs=1)
    made = load_classifier(corpus, recipe, quiet=True)
    return folder, recipe, f"classifier/{made.id}.safetensors"


@pytest.mark.parametrize("damage", ["cut", "pipe", "empty", "text", "other recipe", "other tensors"])
def test_damaged_file_is_refused_with_a_remedy(saved, tmp_path, damage):
    folder, recipe, name = saved
    copy = tmp_path / "corpus"
    shutil.copytree(folder, copy)
    path = copy / name
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("classifier")
    elif damage == "pipe":  # reading it would wait forever
        path.unlink()
        os.mkfifo(path)
    elif damage == "other recipe":
        other = dataclasses.replace(recipe, seed=3)
        corpus = load_corpus(copy)
        load_classifier(corpus, other, quiet=True)
        path.write_bytes((path.parent / f"{classifier_id(other, corpus)}.safetensors").read_bytes())
    else:
        path.write_bytes(data.replace(b"output.bias", b"output.cute"))
    with pytest.raises(ValueError, match=r"classifier file must be whole and of this corpus, got .*Delete it"):
        load_classifier(load_corpus(copy), recipe, quiet=True)


def test_a_file_of_release_0_1_is_read(saved, tmp_path):
    folder, recipe, name = saved
    copy = tmp_path / "corpus"
    shutil.copytree(folder, copy)
    made = load_classifier(load_corpus(folder), recipe, quiet=True)
    counts = {f"layers.{layer}.norm.num_batches_tracked": np.array(7) for layer in range(2)}
    header = {"format": "npgen-classifier", "version": 2, **made.metadata}
    write_safetensors(copy / name, header, made._network.tensors | counts)
    before = (copy / name).read_bytes()
    again = load_classifier(load_corpus(copy), recipe, quiet=True)
    assert again.metadata == made.metadata and (copy / name).read_bytes() == before
    images = bars(20)[0]
    for ours, theirs in zip(made.predict(images), again.predict(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    write_safetensors(copy / name, {**header, "version": 1}, made._network.tensors | counts)
    with pytest.raises(ValueError, match=r"classifier file must be whole and of this corpus, got .*Delete it"):
        load_classifier(load_corpus(copy), recipe, quiet=True)


def test_corpus_folder_that_cannot_be_written_warns(tmp_path, monkeypatch):
    corpus = corpus_of().save(tmp_path / "corpus")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("npgen.nn.stored.write_safetensors", full)
    with pytest.warns(UserWarning, match="classifier held in memory only, as .*No space"):
        first = load_classifier(corpus, recipe_for(corpus), quiet=True)
    assert load_classifier(corpus, recipe_for(corpus), quiet=True) is first


def test_interrupted_training_leaves_nothing(tmp_path, monkeypatch):
    corpus = corpus_of().save(tmp_path / "corpus")
    before = sorted(tmp_path.rglob("*"))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_augmented", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_classifier(corpus, recipe_for(corpus), quiet=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_quiet_is_quiet(capfd):
    corpus = corpus_of(24)
    load_classifier(corpus, recipe_for(corpus), quiet=True)
    assert capfd.readouterr() == ("", "")
    load_classifier(corpus, dataclasses.replace(recipe_for(corpus), seed=1), quiet=False)
    assert "classifier" in capfd.readouterr().err


def test_heldout_accuracy_is_none_without_heldout_images():
    corpus = corpus_of(heldout=0)
    assert load_classifier(corpus, recipe_for(corpus), quiet=True).metadata["heldout_accuracy"] is None


def test_corpus_without_labels_is_refused():
    corpus = Corpus.from_arrays(bars(8)[0])
    with pytest.raises(ValueError, match=r"corpus must be one with labels, got .*Build it with labels"):
        load_classifier(corpus)


def test_corpus_of_one_class_is_refused():
    corpus = Corpus.from_arrays(bars(8)[0], np.full(8, 3))
    with pytest.raises(ValueError, match="corpus must be labelled with at least 2 classes, got 1"):
        load_classifier(corpus)


def test_recipe_suits_the_corpus():
    small, large = corpus_of(24), corpus_of(24, shape=(12, 10, 3))
    assert ClassifierRecipe.for_corpus(small).flip == 0
    assert ClassifierRecipe.for_corpus(large).flip == 0.5
    assert classifier_recipe._epochs(240_000, 60_000) == 4
    assert classifier_recipe._epochs(240_000, 24) == 40
    assert classifier_recipe._epochs(240_000, 10_000_000) == 1


def test_default_recipe_runs():
    corpus = corpus_of(24)
    recipe = dataclasses.replace(ClassifierRecipe.for_corpus(corpus), epochs=1)
    assert load_classifier(corpus, recipe, quiet=True).predict(corpus.images)[1].shape == (24, 64)


def test_variation_moves_whole_images_by_whole_pixels():
    recipe = ClassifierRecipe(layers=((8, 3, 1),), epochs=1, flip=1.0, shift=0.1)
    images = np.random.default_rng(0).integers(0, 256, (50, 20, 20, 1), np.uint8)
    varied = module._augmented(images, recipe, np.random.default_rng(1))
    assert varied.shape == images.shape and varied.dtype == np.uint8
    shifts = set()
    for image, result in zip(images[:, :, ::-1], varied, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "edge")
        found = [(y, x) for y in range(5) for x in range(5) if (padded[y : y + 20, x : x + 20] == result).all()]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 10


RESIDUAL = ((8, 3, 2), (8, 3, 1), (8, 3, 1, 2), (16, 3, 2))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_residual_layers_learn_and_are_kept(tmp_path, precision):
    corpus = corpus_of(shape=(12, 10, 3)).save(tmp_path / "corpus")
    recipe = recipe_for(corpus, layers=RESIDUAL, precision=precision)
    made = load_classifier(corpus, recipe, quiet=True, device="cpu")
    native = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert made.metadata["bfloat16"] == (precision == "bfloat16" and native)
    assert made.metadata["heldout_accuracy"] > 0.9
    again = load_classifier(load_corpus(corpus.path), recipe, quiet=True)
    for ours, theirs in zip(made.predict(corpus.images), again.predict(corpus.images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bfloat16_is_left_where_the_processor_emulates_it(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    corpus = corpus_of(24, shape=(12, 10, 3))
    made = load_classifier(corpus, recipe_for(corpus, precision="bfloat16", epochs=1), quiet=True, device="cpu")
    assert made.metadata["bfloat16"] is False


def test_impossible_layers_are_refused():
    with pytest.raises(ValueError, match="layers must be of odd kernel side"):
        ClassifierRecipe(layers=((8, 2, 1),), epochs=1, flip=0.0)
