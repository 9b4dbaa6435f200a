"""Networks to score in: what they may answer, how their answers are kept, what is refused."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
import torch

import npgen
from npgen.corpus.names import load_corpus
from npgen.corpus.store import Corpus
from npgen.evaluation import features, networks
from npgen.evaluation.evaluate import evaluate
from npgen.evaluation.features import corpus_outputs, outputs_of
from npgen.evaluation.networks import Network, NetworkRequest, load_network, register_network
from npgen.runs import RunFacts, Samples


def images_of(count, seed=0, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, channels), np.uint8)


@pytest.fixture
def corpus():
    return Corpus.from_arrays(images_of(50), name="noise", heldout=Corpus.from_arrays(images_of(20, 1), name="heldout"))


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(networks, "_registered", {})


def thumbnails(images):
    small = images[:, ::3, ::3].reshape(len(images), -1) / 255
    return small, small / small.sum(1, keepdims=True)


class Counting:
    """Thumbnails, and how many images were asked about."""

    def __init__(self):
        self.count = 0

    def __call__(self, images):
        self.count += len(images)
        return thumbnails(images)


def copies(corpus, n):
    config = npgen.Config(window=5, seed_size=4)
    made = Samples.empty(RunFacts("full", config, 3, 0, n, corpus.name, corpus.hash), corpus.images.shape[1:])
    made.anchor[:] = range(n)
    made.place_seed(corpus.images[made.anchor], (0, 0, 8, 8))
    return made


# --- A registered network, from end to end ------------------------------------------------------------------------


def test_a_registered_network_scores_an_unlabelled_corpus(corpus, registry):
    asked = []

    def factory(request):
        asked.append(request)
        return Network(thumbnails)

    npgen.register_network("thumbnails", factory)
    made = copies(corpus, 12)
    result = evaluate(made, corpus, network="thumbnails", weights="w", device="cpu", quiet=True)
    assert (asked[0].corpus, str(asked[0].weights), asked[0].device) == (corpus, "w", "cpu")
    assert result.network == "thumbnails" and result.network_id is None and result.network_accuracy is None
    assert result.samples.inception_score.value > 1 and result.samples.class_purity is None
    text = result.markdown()
    assert "in network thumbnails, not in Inception-v3" in text
    assert "| class purity of regions | – | – | – |" in text
    again = evaluate(made, corpus, network=Network(thumbnails), device="cpu", quiet=True)
    assert again.samples == result.samples and again.network == "unnamed"


def test_a_network_without_probabilities_has_no_inception_score(corpus):
    result = evaluate(copies(corpus, 12), corpus, network=Network(lambda x: (thumbnails(x)[0], None)), quiet=True)
    assert result.samples.inception_score is None
    row = result.row()
    assert row["inception_score"] is row["inception_score_low"] is row["inception_score_over_heldout"] is None
    assert "| Inception Score | – | – | – |" in result.markdown()


def test_accuracy_is_of_the_held_out_images(corpus):
    heldout = Corpus.from_arrays(images_of(20, 1), np.arange(20) % 2)
    sure = Network(lambda x: (thumbnails(x)[0], np.tile([0.1, 0.9], (len(x), 1))), labels=np.array([0, 1]))
    result = evaluate(copies(corpus, 12), corpus, heldout=heldout, network=sure, quiet=True)
    assert result.network_accuracy == 0.5
    assert "accuracy on held-out images 50.00%" in result.markdown()


def test_rows_are_flat_and_have_the_same_keys(corpus):
    result = evaluate(copies(corpus, 12), corpus, network=Network(thumbnails), quiet=True)
    row = result.row()
    assert list(row) == list(result.heldout_row()) == list(result.training_row())
    assert all(value is None or isinstance(value, int | float) for value in row.values())
    expected = """
        n draws inception_score inception_score_low inception_score_high inception_score_over_heldout frechet
        frechet_low frechet_high frechet_over_training kid kid_low kid_high precision precision_low
        precision_high recall recall_low recall_high nearest_distance nearest_ratio near_copies copies
        exact_copies class_entropy
        image_id_entropy anchor_distance anchor_nearest largest_share effective_sources effective_sources_mean
        feature_likelihood feature_likelihood_gap
        longest_run longest_run_max largest_region largest_region_max
        regions class_purity sources_per_region largest_source multi_image part_whole
    """
    assert list(row) == expected.split()
    assert row["longest_run"] == row["longest_run_max"] == 0 and result.heldout_row()["longest_run_max"] is None
    assert row["frechet_over_training"] == result.samples.frechet.value / result.training.frechet.value
    assert result.training_row()["frechet_over_training"] == result.heldout_row()["inception_score_over_heldout"] == 1


# --- What is kept -------------------------------------------------------------------------------------------------


def test_outputs_for_a_corpus_are_stored_in_its_folder(corpus, tmp_path):
    stored = corpus.save(tmp_path / "corpus")
    counting = Counting()
    network = Network(counting, "thumbnails-1", batch_size=8)
    first = corpus_outputs(network, stored)
    assert counting.count == 50
    folder = tmp_path / "corpus" / "features" / "thumbnails-1"
    assert sorted(path.name for path in folder.iterdir()) == ["features.npy", "manifest.json", "probabilities.npy"]
    again = corpus_outputs(network, load_corpus(stored.path))
    assert counting.count == 50 and again.features.dtype == np.float32
    for name in ("features", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    plain = outputs_of(network, stored.images)
    np.testing.assert_array_equal(plain.features, first.features)
    assert corpus_outputs(Network(lambda x: (thumbnails(x)[0], None), "thumbnails-2"), stored).probabilities is None


def test_outputs_for_a_corpus_in_memory_stay_in_memory(corpus):
    counting = Counting()
    for _ in range(2):
        corpus_outputs(Network(counting, "thumbnails"), corpus)
    assert counting.count == 50
    corpus_outputs(Network(counting), corpus)  # nothing is kept without an id
    assert counting.count == 100


@pytest.mark.parametrize("damage", ["bytes", "shape", "corpus", "manifest"])
def test_damaged_outputs_are_refused(corpus, tmp_path, damage):
    stored = corpus.save(tmp_path / "corpus")
    network = Network(thumbnails, "thumbnails")
    corpus_outputs(network, stored)
    folder = tmp_path / "corpus" / "features" / "thumbnails"
    path = folder / ("features.npy" if damage in ("bytes", "shape") else "manifest.json")
    data = path.read_bytes()
    changed = {
        "bytes": data[:-1] + b"\x01",
        "shape": data[:-4],
        "corpus": data.replace(stored.hash.encode(), b"0" * 64),
        "manifest": b"{",
    }
    path.write_bytes(changed[damage])
    with pytest.raises(ValueError, match=r"delete it to have it computed again|must be a JSON file"):
        corpus_outputs(network, load_corpus(stored.path))


@pytest.mark.parametrize("arrays", [None, [], {}, {"../../images": {}}, {"features": {}, "../x": {}}, {"features": 1}])
def test_stored_outputs_name_no_other_files(corpus, tmp_path, arrays):
    stored = corpus.save(tmp_path / "corpus")
    network = Network(thumbnails, "thumbnails")
    corpus_outputs(network, stored)
    path = tmp_path / "corpus" / "features" / "thumbnails" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"arrays": arrays}))
    with pytest.raises(ValueError, match=r"must be of arrays features and probabilities \(delete it"):
        corpus_outputs(network, load_corpus(stored.path))


def test_an_interrupted_network_leaves_nothing(corpus, tmp_path):
    stored = corpus.save(tmp_path / "corpus")
    before = sorted(tmp_path.rglob("*"))
    counting = Counting()

    def interrupted(images):
        if counting.count >= 16:
            raise KeyboardInterrupt
        return counting(images)

    with pytest.raises(KeyboardInterrupt):
        corpus_outputs(Network(interrupted, "thumbnails", batch_size=8), stored)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_warns(corpus, tmp_path, monkeypatch):
    stored = corpus.save(tmp_path / "corpus")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(features, "new_folder", refuse)
    counting = Counting()
    with pytest.warns(UserWarning, match="features held in memory only, as .*Permission denied"):
        corpus_outputs(Network(counting, "thumbnails"), stored)
    corpus_outputs(Network(counting, "thumbnails"), stored)
    assert counting.count == 50


# --- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: (np.zeros((n + 1, 3)), None), r"a network's output must be of shape \(20, F\) for 20 images"),
        (lambda n: (np.zeros(n), None), r"a network's output must be of shape \(20, F\)"),
        (lambda n: (np.full((n, 3), np.nan), None), "a network's output must be finite numbers"),
        (lambda n: (None, np.ones((n, 1))), r"features must be an array \(n, F\), got None"),
        (lambda n: (np.zeros((n, 3)), np.full((n, 2), 0.7)), "probabilities must be at least 0, of sum 1"),
        (lambda n: (np.zeros((n, 3)), np.tile([1.5, -0.5], (n, 1))), "probabilities must be at least 0, of sum 1"),
    ],
)
def test_bad_outputs_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        outputs_of(Network(lambda images: answer(len(images))), images_of(20))


def test_batches_must_agree():
    network = Network(lambda images: (np.zeros((len(images), len(images))), None), batch_size=15)
    with pytest.raises(ValueError, match=r"of widths \(15, None\) for all batches, got \(5, None\)"):
        outputs_of(network, images_of(20))


def request_for(corpus, weights=None):
    return NetworkRequest(corpus, weights, "cpu", True)


def test_names_and_ids(corpus, registry, tmp_path):
    with pytest.raises(ValueError, match=r"network must be one of corpus, inception \(npgen.register_network adds"):
        load_network("resnet", request_for(corpus))
    with pytest.raises(ValueError, match="name must be another than npgen's own networks corpus, inception"):
        register_network("inception", lambda request: Network(thumbnails))
    with pytest.raises(ValueError, match="name must be one path component, got 'a/b'"):
        register_network("a/b", lambda request: Network(thumbnails))
    with pytest.raises(TypeError, match="factory must be callable, got 3"):
        register_network("three", 3)
    register_network("none", lambda request: thumbnails)
    with pytest.raises(TypeError, match=r"network 'none' must be made as an npgen.Network, got function"):
        load_network("none", request_for(corpus))
    with pytest.raises(ValueError, match="id must be one path component, got '../x'"):
        Network(thumbnails, "../x")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Network(thumbnails, batch_size=0)
    with pytest.raises(ValueError, match="weights must be given with a network that has use for them"):
        load_network("corpus", request_for(corpus, tmp_path / "w.pth"))
    with pytest.raises(ValueError, match="weights must be given with the name of a network, .*got 'w'"):
        evaluate(copies(corpus, 12), corpus, network=Network(thumbnails), weights="w")


# --- Inception-v3 -------------------------------------------------------------------------------------------------


def test_inception_needs_weights(corpus):
    with pytest.raises(ValueError, match=r"weights must be given with network 'inception', got None.*--weights PATH"):
        load_network("inception", request_for(corpus))


def test_inception_needs_torch_fidelity(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs torch-fidelity: pip install 'npgen\[eval\]'"):
        load_network("inception", request_for(corpus, tmp_path / "weights.pth"))


def test_inception_refuses_other_files(corpus, tmp_path):
    pytest.importorskip("torch_fidelity", reason="extra `eval` is not installed")
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError):
        load_network("inception", request_for(corpus, path))

    class Harmful:
        def __reduce__(self):
            return print, ("harm",)

    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ValueError, match=r"weights must be safetensors, or a file of torch.save that needs no code"):
        load_network("inception", request_for(corpus, path))
    torch.save([1], path)
    with pytest.raises(ValueError, match="weights must be those of Inception-v3, got .*Missing key"):
        load_network("inception", request_for(corpus, path))
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="weights must be those of Inception-v3, got .*Missing key"):
        load_network("inception", request_for(corpus, path))


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Random weights of the right shapes."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="extra `eval` is not installed")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = module.FeatureExtractorInceptionV3("random", ["2048"])
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def test_inception_takes_grey_as_rgb(corpus, inception_file):
    network = load_network("inception", request_for(corpus, inception_file))
    grey = images_of(2)
    outputs = outputs_of(network, grey)
    assert outputs.features.shape == (2, 2048) and outputs.probabilities.shape == (2, 1008)
    colour = outputs_of(network, np.repeat(grey, 3, axis=3))
    np.testing.assert_array_equal(outputs.features, colour.features)
    assert network.id.startswith("inception-") and network.labels is None
    assert load_network("inception", request_for(corpus, inception_file)).id == network.id


def test_inception_reads_safetensors(corpus, inception_file, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file(torch.load(inception_file, weights_only=True), path)
    theirs, ours = (load_network("inception", request_for(corpus, file)) for file in (inception_file, path))
    np.testing.assert_array_equal(outputs_of(ours, images_of(1)).features, outputs_of(theirs, images_of(1)).features)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"weights must be safetensors, or a file of torch.save"):
        load_network("inception", request_for(corpus, path))
