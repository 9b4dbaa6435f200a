"""The command line: the files it writes, and one line for each error that a user can correct."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(*arguments):
    """Run a command that must fail, and return what it prints to stderr."""
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    return result.stderr


@pytest.fixture
def stored(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    return tmp_path / "corpus"


def test_generate_writes_a_run_with_its_settings(stored, tmp_path):
    out = tmp_path / "run"
    options = ["--encoder", "pixels", "--window", 5, "--shortlist", 9, "--seed-at", 1, 2, "--include-seed-image", "-q"]
    result = run("generate", stored, "-n", 3, "--seed", 8, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert "image-ID entropy" in result.stdout
    assert str(out / "overview.png") in result.stdout
    samples = npgen.load_samples(out)
    assert samples.config == npgen.Config(window=5, shortlist=9, seed_at=(1, 2), exclude_seed_image=False)
    with Image.open(out / "samples.png") as picture:
        assert json.loads(picture.text["npgen"])["config"] == json.loads(json.dumps(samples.config.to_json()))
    again = npgen.generate(npgen.load_corpus(stored), 3, "full", samples.config, 8, encoder="pixels", progress=False)
    np.testing.assert_array_equal(again.images, samples.images)


def test_settings_come_from_a_file_and_options_override_it(stored, tmp_path):
    (tmp_path / "config.json").write_text('{"window": 5, "locality": 1}')
    options = ["--model", "local", "--config", tmp_path / "config.json", "--locality", 0, "-q"]
    assert run("generate", stored, "-n", 1, "--out", tmp_path / "run", *options).exit_code == 0
    assert npgen.load_samples(tmp_path / "run").config == npgen.Config(window=5, locality=0)
    (tmp_path / "config.json").write_text("{")
    assert "config must be a JSON file, got" in error_of("generate", stored, *options)
    (tmp_path / "config.json").write_text("[1]")
    assert "config must be a JSON object of settings, got [1]" in error_of("generate", stored, *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "huge"],
            "model must be one of 'full', 'local', 'texture', 'semantic', 'class', 'conditional', got 'huge'",
        ),
        (["-n", "0"], "n must be in 1…2⁶⁴ − 1, got 0"),
        (["--window", "4"], "window must be odd, at least 3, got 4"),
        (["--shortlist", "60", "--encoder", "pixels"], "shortlist must be in 1..=59"),
        (["--shortlist", "9"], "npgen encoder train"),
        (["--shortlist", "9", "--encoder", "resnet"], "encoder must be one of"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_files(stored, tmp_path, options, message):
    message_line = error_of("generate", stored, "--out", tmp_path / "run", "-q", *options)
    assert message in message_line
    assert message_line.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_masked_epochs_follow_from_epochs(colours, tmp_path):
    colours.save(tmp_path / "corpus")
    recipe = {"epochs": 10, "masked_epochs": 3, "layers": [[4, 3, 2]], "dim": 4, "projection": 4, "batch_size": 32}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    for options, expected in ((["--epochs", 1], (1, 0)), (["--epochs", 3], (3, 1)), (["--masked-epochs", 0], (10, 0))):
        options += ["--seed", 4, "--recipe", tmp_path / "recipe.json", "--out", tmp_path / "a.safetensors"]
        result = run("encoder", "train", tmp_path / "corpus", *options, "--no-resume", "-q")
        assert result.exit_code == 0, result.output
        stored_recipe = json.loads((tmp_path / "a.json").read_text())["recipe"]
        assert tuple(stored_recipe[name] for name in ("epochs", "masked_epochs", "seed")) == (*expected, 4)
    options = ["--out", tmp_path / "b.safetensors", "-q"]
    message = error_of("encoder", "train", tmp_path / "corpus", "--epochs", 0, *options)
    assert "epochs must be at least 1, got 0" in message


def test_the_error_of_an_unknown_corpus_lists_the_known_ones():
    assert "corpus must be one of mnist-5k, mnist, " in error_of("generate", "minst")


def test_a_run_is_never_overwritten(stored, tmp_path):
    options = ["--model", "local", "--window", 5, "-n", 1, "-q", "--out", tmp_path / "run"]
    assert run("generate", stored, *options).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*")}
    assert "must be of seed 1, or another folder, got 0" in error_of("generate", stored, *options, "--seed", 1)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*")} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_leaves_a_run_that_can_be_resumed(stored, tmp_path):
    """A limit on file size makes a write fail half-way, as a full disk does."""
    code = (
        "import resource, signal, sys; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from npgen.cli import app; app()"
    )
    command = ["generate", stored, "--model", "local", "--window", "5", "-n", "20", "-q", "--out", tmp_path / "run"]
    result = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True)
    assert result.returncode == 1
    assert "npgen: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["manifest.json"]
    assert run(*command).exit_code == 0
    assert len(npgen.load_samples(tmp_path / "run")) == 20


def test_corpus_info_finds_an_altered_byte(stored):
    result = run("corpus", "info", stored)
    assert result.exit_code == 0
    assert "verified" in result.stdout
    path = stored / "images.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert "images.npy" in error_of("corpus", "info", stored)


def test_importing_npgen_does_not_import_torch():
    code = "import sys, npgen, npgen.cli, npgen.runs.pictures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
