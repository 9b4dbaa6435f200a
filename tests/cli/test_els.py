"""`npgen els`: the files it writes, and one line for each error that a user can correct."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.els import generate as scores
from npgen.els.samples import load_score_samples


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stored(colours, tmp_path):
    colours.save(tmp_path / "corpus")
    return tmp_path / "corpus"


def test_els_writes_samples_trace_and_pictures(stored, tmp_path):
    out = tmp_path / "run"
    options = ["--windows", "3,3,5", "--steps", 3, "--label", "two", "--seed", 4, "--size", 10, 8, "-q"]
    result = run("els", stored, "-n", 3, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert "step  2  window  5" in result.stdout and str(out) in result.stdout
    corpus = npgen.load_corpus(stored)
    again = npgen.score_generate(
        corpus, 3, windows=[3, 3, 5], steps=3, label="two", seed=4, size=(10, 8), progress=False
    )
    made = load_score_samples(out)
    assert np.array_equal(made.images, again.images) and np.array_equal(made.sources, again.sources)
    assert json.loads((out / "manifest.json").read_text())["label"] == 1
    for name in ("samples.png", "mosaic.png"):
        with Image.open(out / name) as picture:
            assert picture.mode == "RGB"
        (facts,) = npgen.read_provenance(out / name)
        assert facts == made.provenance()
    # The same noise from a file, where classes go by number.
    noise = out / "00000000" / "noise.npy"
    result = run("els", "generate", stored, "-n", 3, "--out", tmp_path / "again", "--noise", noise, *options[:4],
                 "--label", 1, "--size", 10, 8, "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert np.array_equal(load_score_samples(tmp_path / "again").images, again.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--machine", "all"],
            "machine must be one of 'ideal', 'local', 'equivariant', 'equivariant-borders', got 'all'",
        ),
        (["--windows", "3,x"], "windows must be sides with commas between them, as 3,3,5, got '3,x'"),
        (["--windows", "imagenet"], "windows must be one of cifar10-resnet"),
        (["--label", "four"], "label must be a number, or one of one, two, three, got 'four'"),
        (["--tolerance", "2"], "tolerance must be at least 0, below 1, got 2"),
        (["--noise", "nothing.npy"], "nothing.npy"),
    ],
)
def test_an_error_of_els_is_one_line_and_leaves_no_files(stored, tmp_path, options, message):
    result = run("els", stored, "-n", 1, "--out", tmp_path / "run", "-q", "--windows", "3,3", "--steps", 2, *options)
    assert result.exit_code == (1 if "--noise" in options else 2)
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_els_overwrites_nothing(stored, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    result = run("els", stored, "--out", tmp_path / "run", "--windows", "3,3", "--steps", 2, "-q")
    assert result.exit_code == 2 and "out must be a new folder or that of an interrupted run" in result.stderr


def everything(folder):
    """Return the bytes of all files of a run, except the one with its times."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "seconds.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_interrupted_run_is_resumed_to_the_same_bytes(stored, tmp_path, monkeypatch):
    options = [stored, "-n", 5, "--windows", "3,3,5", "--steps", 3, "--seed", 4, "-q"]
    monkeypatch.setattr(scores, "SHARD", 2)
    assert run("els", *options, "--out", tmp_path / "whole").exit_code == 0
    append = scores.RunFolder.append

    def killed(self, samples):
        if self.done == 2:
            raise KeyboardInterrupt
        append(self, samples)

    monkeypatch.setattr(scores.RunFolder, "append", killed)
    assert run("els", *options, "--out", tmp_path / "run").exit_code == 130
    with pytest.raises(ValueError, match="must be of 5 samples .*, got 2"):
        load_score_samples(tmp_path / "run")
    monkeypatch.setattr(scores.RunFolder, "append", append)
    result = run("els", *options, "--out", tmp_path / "run", "--seed", 5)
    assert result.exit_code == 1 and "of seed 5, or another folder, got 4" in result.stderr
    assert run("els", *options, "--out", tmp_path / "run", "--batch-size", 1).exit_code == 0
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")
    # A finished run stays as it is, and its summary is printed again.
    assert run("els", *options, "--out", tmp_path / "run").exit_code == 0
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.pop("windows"), "must have a complete manifest, got one without 'windows'"),
        (lambda manifest: manifest.update(windows=[3, "3", 5]), "shape and windows must be 4 whole numbers"),
        (lambda manifest: manifest.update(format="npgen-run"), "a folder of format 'npgen-scores', got 'npgen-run'"),
        (lambda manifest: manifest.update(version=1), "a folder of version 2, got 1"),
        (lambda manifest: manifest["shards"][0].update(name=".."), "the name of a folder inside the run's, got '..'"),
        (lambda manifest: manifest["shards"][0]["sha256"].update(images="0"), "as it was written, got 'altered bytes'"),
        (lambda manifest: manifest["corpus"].update(name="../x"), "must have a complete manifest"),
    ],
)
def test_damaged_runs_are_refused(stored, tmp_path, change, message):
    run("els", stored, "-n", 1, "--windows", "3,3,5", "--steps", 3, "-q", "--out", tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        load_score_samples(tmp_path / "run")


@pytest.mark.xdist_group("time")
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_ctrl_c_ends_els_soon_and_leaves_a_run_that_can_be_resumed(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4000, 32, 32), dtype=np.uint8)
    npgen.Corpus.from_arrays(images).save(tmp_path / "corpus")
    command = [sys.executable, "-m", "npgen_command", "els", tmp_path / "corpus", "-n", "64", "--out", tmp_path / "run"]
    # A shell starts background jobs with Ctrl-C ignored, and child processes inherit that.
    restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=restore)
    for _ in process.stderr:  # the progress bar: the run has begun
        break
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors.endswith("npgen: interrupted\n")
    assert time.monotonic() - sent < 10
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["manifest.json"]
