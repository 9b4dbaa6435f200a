"""Evaluation of samples of a score machine: a pixel counts as of its source of largest weight."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.evaluation.novelty import largest_shares, nearest_sources
from npgen.evaluation.scores import novelty_table


def thumbnails(images):
    """Return 16 pixels of each image as its features."""
    return images[:, ::3, ::3].reshape(len(images), -1)[:, :16].astype(np.float32), None


THUMBNAILS = npgen.Network(thumbnails)


@pytest.fixture(scope="module")
def parted():
    """A labelled corpus of 40 small images with 20 held out."""
    random = np.random.default_rng(0)
    images = np.where(random.random((60, 10, 9)) < 0.2, 255, 0).astype(np.uint8)
    labels = np.arange(60) % 2
    heldout = npgen.Corpus.from_arrays(images[40:], labels[40:], ("a", "b"))
    return npgen.Corpus.from_arrays(images[:40], labels[:40], ("a", "b"), name="dots", heldout=heldout)


@pytest.fixture(scope="module")
def made(parted):
    return npgen.score_generate(parted, 6, "local", [3, 3, 5], 3, progress=False)


def test_the_trace_is_that_of_the_heaviest_patches(parted, made):
    assert np.array_equal(made.trace.image_id, made.sources[-1, ..., 0, 0])
    centres = parted.images[made.trace.image_id, made.trace.y, made.trace.x]
    assert np.array_equal(centres, made.mosaic(parted))
    entropies = npgen.entropy(made, parted)
    assert entropies.image_id[2] == pytest.approx(npgen.entropy_map(made.trace.image_id[2]).mean())
    assert npgen.part_whole(made, parted).summary()["regions"] > 0


def test_score_samples_are_scored_beside_real_images(parted, made):
    found = npgen.evaluate(made, parted, network=THUMBNAILS, quiet=True)
    _, squared = nearest_sources(made.pixels, parted.images)
    assert found.samples.nearest_distance == pytest.approx(np.median(np.sqrt(squared)))
    assert found.samples.image_id_entropy == npgen.entropy(made, parted).mean_image_id
    assert found.samples.largest_share == np.median(largest_shares(made.trace))
    assert found.samples.anchor_distance is None and found.samples.longest_run is None
    assert found.model == "els local" and found.model_seed == 0 and found.config["windows"] == [3, 3, 5]
    text = found.markdown()
    assert "the source that weighs most" in text and "| distance to anchor, median | – | – | – |" in text
    copied = npgen.generate(parted, 6, "local", npgen.Config(window=5), progress=False)
    both = novelty_table({"els": found, "local": npgen.evaluate(copied, parted, network=THUMBNAILS, quiet=True)})
    lines = both.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| els", "| local", "| real held-out", "| real training"]
    assert "image-ID entropy" in lines[0] and "near copies" in lines[0]
    other = npgen.evaluate(made[:5], parted, network=THUMBNAILS, quiet=True)
    with pytest.raises(ValueError, match="evaluation 'b' must be beside the same real images as the others, got 5"):
        novelty_table({"a": found, "b": other})
    with pytest.raises(ValueError, match="evaluations must be at least one, got 0"):
        novelty_table({})


def test_other_corpora_and_wrong_sources_are_refused(parted, made, colours):
    with pytest.raises(ValueError, match="corpus must be that of hash .*, dots of 10×9 pixels"):
        npgen.evaluate(made, colours, network=THUMBNAILS)
    forged = replace(made, sources=np.where(made.sources == made.sources.max(), 40, made.sources))
    with pytest.raises(ValueError, match=r"sources must be inside a corpus of shape \(40, 10, 9\)"):
        npgen.entropy(forged, parted)
    with pytest.raises(ValueError, match="step of a slice of samples must be 1, got 2"):
        made[::2]


def test_slices_are_saved_as_shorter_runs_are_written(parted, made, tmp_path):
    npgen.score_generate(parted, 3, "local", [3, 3, 5], 3, first=2, progress=False, out=tmp_path / "run")
    part = made[2:5]
    part.save(tmp_path / "saved")
    kept = npgen.load_score_samples(tmp_path / "run")
    assert kept.settings == part.settings and np.array_equal(kept.images, part.images)
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("run", "saved")]
    assert manifests[0] == manifests[1]


def test_evaluate_and_table_take_runs_of_either_kind(parted, tmp_path, monkeypatch):
    npgen.register_network("thumbnails", lambda request: THUMBNAILS)
    parted.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    npgen.score_generate(corpus, 5, "local", [3, 3], 2, size=8, progress=False, out=tmp_path / "small")
    npgen.score_generate(corpus, 5, "ideal", [3, 3], 2, progress=False, out=tmp_path / "ideal")
    npgen.generate(corpus, 4, "local", npgen.Config(window=5), progress=False, out=tmp_path / "copied")
    common = ["--corpus", str(tmp_path / "corpus"), "--network", "thumbnails", "-q"]
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "small"), *common])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "small" / "evaluation-thumbnails.md").exists()
    result = CliRunner().invoke(app, ["els", "table", str(tmp_path / "ideal"), str(tmp_path / "copied"), *common])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[2].startswith("| ideal | 4 |")
