"""Runs on disk: what was saved comes back, and what was damaged is named."""

import dataclasses
import json

import numpy as np
import pytest

import npgen


@pytest.fixture
def samples(digits):
    return npgen.generate(digits, 5, "local", npgen.Config(window=5), seed=7, first=2, progress=False)


@pytest.fixture
def run(samples, tmp_path):
    samples.save(tmp_path / "run")
    return tmp_path / "run"


def edit(run, change):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_saved_samples_come_back(samples, run, digits):
    loaded = npgen.load_samples(run)
    for field in dataclasses.fields(samples):
        if field.name not in ("images", "trace", "anchor", "fallbacks"):
            assert getattr(loaded, field.name) == getattr(samples, field.name)
    for ours, theirs in zip(samples.trace.arrays(), loaded.trace.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.anchor, samples.anchor)
    np.testing.assert_array_equal(loaded.fallbacks, samples.fallbacks)
    np.testing.assert_array_equal(loaded.replay(digits), samples.images)


def test_many_samples_lie_in_shards(samples, tmp_path, monkeypatch):
    monkeypatch.setattr("npgen.runs.facts.SHARD", 2)
    monkeypatch.setattr("npgen.runs.facts.SLOW_SHARD", 2)
    samples.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "00000002", "00000004", "00000006", "manifest.json",
    ]  # fmt: skip
    np.testing.assert_array_equal(npgen.load_samples(tmp_path / "run").images, samples.images)


def test_a_folder_that_holds_a_run_is_left_alone(samples, run):
    before = (run / "manifest.json").read_bytes()
    with pytest.raises(FileExistsError, match="run"):
        samples.save(run)
    assert (run / "manifest.json").read_bytes() == before


def test_another_corpus_is_refused(samples, colours):
    with pytest.raises(ValueError, match=r"corpus must be the one the samples were made from \('arrays', "):
        samples.replay(colours)


def test_slices_are_views_with_their_own_indices(samples):
    part = samples[1:3]
    assert (len(part), part.first) == (2, 3)
    assert np.shares_memory(part.images, samples.images)
    with pytest.raises(ValueError, match="step of a slice of samples must be 1, got 2"):
        samples[::2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="zip"), "must be a folder of format 'npgen-run', got 'zip'"),
        (lambda m: m.update(version=4), r"must be of format version 1 to 3 \(a newer npgen may read it\), got 4"),
        (lambda m: m.update(n=6), r"must be of 6 samples \(generate resumes an interrupted run\), got 5"),
        (lambda m: m.pop("model"), "must have a complete manifest, got one without 'model'"),
        (lambda m: m.update(shards=[]), "must be of 5 samples .*, got 0"),
        (lambda m: m["config"].update(window=4), "window must be odd, at least 3, got 4"),
        (lambda m: m["shards"][0].update(name="../run"), "must be the name of a folder inside the run's"),
        (lambda m: m["shards"][0].update(name=".."), "must be the name of a folder inside the run's"),
        (lambda m: m["shards"][0].update(name="/etc"), "must be the name of a folder inside the run's"),
        (lambda m: m["shards"][0].update(name=5), "with shards of name, n and sha256"),
        (lambda m: m["shards"][0].update(sha256=[]), "with shards of name, n and sha256"),
        (lambda m: m["shards"][0].update(n=True), "with shards of name, n and sha256"),
        (lambda m: m["shards"].append({"name": "x", "n": -5, "sha256": {}}), "with shards of name, n and sha256"),
        (
            lambda m: m.update(model=["local"]),
            r"a complete manifest, got one in which model must be one of .*, got \['local'\]",
        ),
        (lambda m: m.update(seed="1"), "got one in which seed must be a whole number, got '1'"),
        (
            lambda m: m.update(first=2**64),
            "got one in which first must be in 0…2⁶⁴ − 1, got 18446744073709551616",
        ),
        (lambda m: m.update(n=None), "got one in which n must be a whole number, got None"),
        (lambda m: m.update(encoder=1), "got one in which encoder_id must be of type str or None, got int"),
        (lambda m: m.update(config=[]), r"must be of a config, an object of settings, got \[\]"),
        (lambda m: m.update(corpus={"name": "x"}), "must be of a corpus with name and hash, got {'name': 'x'}"),
        (lambda m: m["corpus"].update(name="../x"), r"name must be one path component, got '\.\./x'"),
        (lambda m: m["corpus"].update(name="a\0b"), "name must be one path component, got"),
    ],
)
def test_a_damaged_manifest_is_named(run, change, message):
    edit(run, change)
    with pytest.raises(ValueError, match=message):
        npgen.load_samples(run)


def test_damaged_arrays_are_named(run):
    path = run / "00000002" / "y.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"y\.npy"):
        npgen.load_samples(run)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"y\.npy' must be as it was written, got 'altered bytes'"):
        npgen.load_samples(run)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        npgen.load_samples(tmp_path / "nowhere")
