"""The evaluation of copies, noise and real images: its scores, its table, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from npgen.config import Config
from npgen.corpus.store import Corpus
from npgen.evaluation.classifier import ClassifierRecipe
from npgen.evaluation.evaluate import evaluate
from npgen.runs import RunFacts, Samples, Trace

SHAPE = (12, 12, 1)


def bars(count, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.integers(0, 60, (count, *SHAPE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[1 + 4 * label : 3 + 4 * label] += 150
    return images, labels


@pytest.fixture(scope="module")
def corpus():
    return Corpus.from_arrays(*bars(90, 0), name="bars", heldout=Corpus.from_arrays(*bars(40, 1)))


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    """Train a small network, on one thread, as several would be slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recipe = ClassifierRecipe(layers=((8, 3, 2), (16, 3, 2)), epochs=6, flip=0.0, batch_size=16)
    monkeypatch.setattr(ClassifierRecipe, "for_corpus", classmethod(lambda *_: recipe))
    yield
    torch.set_num_threads(threads)


def copies(corpus, ids, **changes):
    """Samples that are copies of whole images, whose 4×4 centre is the seed."""
    ids = np.asarray(ids, np.int32)
    config = Config(window=5, seed_size=4)
    facts = RunFacts("full", config, 0, 0, len(ids), corpus.name, corpus.hash)
    made = Samples.empty(facts, corpus.images.shape[1:])
    made.anchor[:] = ids
    made.place_seed(corpus.images[made.anchor], (0, 0, *corpus.images.shape[1:3]))
    made.trace.pool_size[:] = 1
    made.trace.pool_size[:, 4:8, 4:8] = 0
    return dataclasses.replace(made, **changes)


def test_copies_of_training_images_are_detected(corpus):
    result = evaluate(copies(corpus, range(30)), corpus, quiet=True)
    samples, heldout, training = result.samples, result.heldout, result.training
    assert samples.n == heldout.n == training.n == result.given == 30
    assert result.reference_size == 60 and heldout.draws == training.draws == 1
    for row in (samples, heldout, training):
        assert 1 <= row.inception_score.value <= 3
        assert row.frechet.value >= 0 and 0 <= row.precision.value <= 1 and 0 <= row.recall.value <= 1
        for score in (row.inception_score, row.frechet, row.kid, row.precision, row.recall):
            assert score.low <= score.value <= score.high
    assert result.kernel_reference_size == 60
    assert samples.regions == samples.class_purity == samples.sources_per_region == samples.largest_source == 1
    assert samples.multi_image == samples.part_whole == 0
    assert samples.class_entropy == samples.image_id_entropy == 0
    assert samples.nearest_distance == samples.nearest_ratio == samples.anchor_distance == 0
    assert samples.near_copies == samples.anchor_nearest == samples.largest_share == 1
    assert samples.longest_run == samples.largest_region == (128, 128)
    assert heldout.nearest_ratio == 1 and heldout.near_copies == 0
    assert training.nearest_distance > 0  # a training image is not its own neighbour
    assert heldout.anchor_distance is None and training.longest_run is None


def test_noise_scores_worse_than_real_images(corpus):
    made = copies(corpus, range(30))
    noise = np.random.default_rng(7).integers(0, 256, made.images.shape, np.uint8)
    result = evaluate(dataclasses.replace(made, images=noise), corpus, quiet=True)
    assert result.samples.frechet.value > 3 * max(result.heldout.frechet.value, result.training.frechet.value)
    assert result.samples.inception_score.value < result.heldout.inception_score.value
    assert result.samples.kid.low > result.heldout.kid.high
    assert result.samples.nearest_ratio > 1.5


def test_same_seed_same_scores_other_seed_other_real_images(corpus):
    made = copies(corpus, range(20))
    first, again = (evaluate(made, corpus, quiet=True, device="cpu") for _ in range(2))
    assert first == again
    other = evaluate(made, corpus, seed=1, quiet=True, device="cpu")
    assert other.heldout.frechet != first.heldout.frechet
    assert other.training.frechet != first.training.frechet
    assert other.samples.nearest_distance == first.samples.nearest_distance


def test_table_and_json(corpus, tmp_path):
    result = evaluate(copies(corpus, range(10)), corpus, quiet=True)
    table = result.markdown()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}
    assert rows[0] == "| | samples | real held-out | real training |"
    assert "| images | 10 | 4 × 10 | 4 × 10 |" in rows
    assert "| distance to anchor, median | 0 | – | – |" in rows
    assert "| longest verbatim run of 144 pixels | 128, 128 | – | – |" in rows
    assert "the 50 training images that are not in the last column" in table
    assert "in one split" in table and result.network_id in table and "Only the first" not in table
    result.save(tmp_path / "evaluation.json")
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["format"] == "npgen-evaluation"
    assert stored["samples"]["frechet"] == dataclasses.asdict(result.samples.frechet)
    assert stored["config"] == Config(window=5, seed_size=4).to_json()
    assert stored["training"]["anchor_distance"] is None


def test_more_samples_than_real_images(corpus):
    result = evaluate(copies(corpus, range(60)), corpus, quiet=True)
    assert (result.given, result.samples.n, result.heldout.n, result.training.n) == (60, 40, 40, 40)
    assert "Only the first 40 of 60 samples are scored" in result.markdown()


def test_heldout_given_and_without_labels(corpus):
    bare = Corpus.from_arrays(corpus.images, corpus.labels)
    heldout = Corpus.from_arrays(bars(12, 3)[0])
    result = evaluate(copies(bare, range(10)), bare, heldout=heldout, quiet=True)
    assert result.heldout.n == 10 and result.network_accuracy is None
    assert "accuracy" not in result.markdown()


def test_equal_images_have_no_ratio():
    images, labels = np.zeros((12, *SHAPE), np.uint8), np.arange(12) % 2
    flat = Corpus.from_arrays(images, labels)
    result = evaluate(copies(flat, range(4)), flat, heldout=Corpus.from_arrays(images[:6]), quiet=True)
    assert result.samples.nearest_ratio is None
    assert result.samples.near_copies == result.samples.copies == result.samples.exact_copies == 1
    assert result.samples.frechet.value == pytest.approx(0, abs=1e-9)
    assert "| … over held-out | – | – | – |" in result.markdown()


def refusals(corpus):
    bare = Corpus.from_arrays(corpus.images, corpus.labels)
    unlabelled = Corpus.from_arrays(corpus.images, heldout=Corpus.from_arrays(bars(12, 3)[0]))
    larger = Corpus.from_arrays(np.zeros((5, 12, 13, 1), np.uint8))
    made, other = copies(corpus, range(5)), copies(unlabelled, range(5))
    trace = Trace(*(np.zeros((5, 12, 13), part.dtype) for part in made.trace.arrays()))
    wide = dataclasses.replace(made, images=np.zeros((5, 12, 13, 1), np.uint8), trace=trace)
    one = Corpus.from_arrays(corpus.images[:3])
    tiny = Corpus.from_arrays(corpus.images[:7], corpus.labels[:7])
    return {
        "no labels": (other, unlabelled, {}, r"corpus must be one with labels, got .*Build it with labels"),
        "no heldout": (
            copies(bare, range(5)),
            bare,
            {},
            r"corpus must be one with held-out images, got .*npgen corpus build … --holdout 0.1.*heldout=Corpus",
        ),
        "other corpus": (other, corpus, {}, r"corpus must be the one the samples were made from .*got 'bars"),
        "few samples": (copies(corpus, range(3)), corpus, {}, "samples must be at least 4, got 3"),
        "shape": (wide, corpus, {}, r"samples must be images of shape \(12, 12, 1\), .*got \(12, 13, 1\)"),
        "heldout shape": (
            made,
            corpus,
            {"heldout": larger},
            r"heldout must be images of shape \(12, 12, 1\), as the corpus has, got \(12, 13, 1\)",
        ),
        "heldout is corpus": (
            made,
            corpus,
            {"heldout": Corpus.from_arrays(corpus.images, corpus.labels)},
            "heldout must be of other images than the corpus",
        ),
        "few heldout": (made, corpus, {"heldout": one}, "heldout must be at least 4 images, got 3"),
        "tiny corpus": (
            copies(tiny, range(4)),
            tiny,
            {"heldout": corpus.heldout},
            "corpus must be of at least 8 images, got 7",
        ),
        "seed": (made, corpus, {"seed": -1}, "seed must be at least 0, got -1"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "no labels",
        "no heldout",
        "other corpus",
        "few samples",
        "shape",
        "heldout shape",
        "heldout is corpus",
        "few heldout",
        "tiny corpus",
        "seed",
    ],
)
def test_refused_before_any_training(corpus, case, monkeypatch):
    monkeypatch.setattr("npgen.evaluation.classifier._train", None)
    samples, given, options, message = refusals(corpus)[case]
    with pytest.raises(ValueError, match=message):
        evaluate(samples, given, **options)


def test_the_command_writes_one_report_per_network(corpus, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from npgen.cli import app
    from npgen.evaluation import networks

    monkeypatch.setattr(networks, "_registered", {})
    networks.register_network("means", lambda _: networks.Network(lambda x: (x.mean((2, 3)), None), "means-1"))
    stored = corpus.save(tmp_path / "corpus")
    copies(corpus, range(12)).save(tmp_path / "run")
    command = ["evaluate", str(tmp_path / "run"), "--corpus", str(stored.path), "-q"]
    for options in ([], ["--network", "means"]):
        result = CliRunner().invoke(app, command + options)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("| | samples |")
    written = {path.name for path in (tmp_path / "run").glob("evaluation*")}
    assert written == {f"evaluation{end}" for end in (".json", ".md", "-means.json", "-means.md")}
    assert json.loads((tmp_path / "run" / "evaluation-means.json").read_text())["network_id"] == "means-1"
    refused = CliRunner().invoke(app, [*command, "--network", "inception"])
    assert (
        refused.exit_code == 1 and "npgen: weights must be given with network 'inception', got None" in refused.stderr
    )


def test_importing_it_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, npgen.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
