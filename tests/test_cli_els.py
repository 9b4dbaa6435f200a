"""`npgen els`: what it writes, and one clear line for what a user can mend."""

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
    assert np.array_equal(np.load(out / "images.npy"), again.images)
    assert np.array_equal(np.load(out / "sources.npy"), again.sources)
    assert json.loads((out / "manifest.json").read_text())["label"] == 1
    for name in ("samples.png", "mosaic.png"):
        with Image.open(out / name) as picture:
            assert picture.mode == "RGB"
    # The same noise from a file, where classes go by number.
    result = run("els", stored, "-n", 3, "--out", tmp_path / "again", "--noise", out / "noise.npy", *options[:4],
                 "--label", 1, "--size", 10, 8, "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.load(tmp_path / "again" / "images.npy"), again.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--machine", "all"], "machine must be one of ideal, local, equivariant, equivariant-borders, got 'all'"),
        (["--windows", "3,x"], "windows must be sides with commas between them, as 3,3,5, got '3,x'"),
        (["--windows", "imagenet"], "windows must be one of cifar10-resnet"),
        (["--label", "four"], "label must be a number, or one of one, two, three, got 'four'"),
        (["--tolerance", "2"], "tolerance must be at least 0, below 1, got 2"),
        (["--noise", "nothing.npy"], "nothing.npy"),
    ],
)
def test_els_complains_in_one_line_and_leaves_nothing(stored, tmp_path, options, message):
    result = run("els", stored, "-n", 1, "--out", tmp_path / "run", "-q", "--windows", "3,3", "--steps", 2, *options)
    assert result.exit_code == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_els_overwrites_nothing(stored, tmp_path):
    (tmp_path / "run").mkdir()
    result = run("els", stored, "--out", tmp_path / "run")
    assert result.exit_code == 1 and "out must be a path that does not exist yet" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_ctrl_c_ends_els_soon_and_leaves_nothing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4000, 32, 32), dtype=np.uint8)
    npgen.Corpus.from_arrays(images).save(tmp_path / "corpus")
    command = [sys.executable, "-m", "npgen.cli", "els", tmp_path / "corpus", "-n", "64", "--out", tmp_path / "run"]
    # A shell's background jobs ignore Ctrl-C, and so do their children.
    restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=restore)
    for _ in process.stderr:  # the progress bar: the run has begun
        break
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors.endswith("npgen: interrupted\n")
    assert time.monotonic() - sent < 10
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob(".run*"))
