"""Commands do the same whatever they are started by: the same bytes under odd environments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import npgen

# What differs between two runs of the same, by file: seconds that work took.
TIMES = {"manifest.json": rb'"seconds": [0-9.e+-]+'}
NPGEN = [sys.executable, "-m", "npgen"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12), np.uint8)
    corpus = npgen.Corpus.from_arrays(images, np.arange(40) % 3, ["käfer", "猫", "c"], name="c")
    corpus.save(folder / "c")
    return folder


def environment(**changes: str | None) -> dict[str, str]:
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        **{name: value for name, value in changes.items() if value is not None},
    }
    return {name: value for name, value in env.items() if changes.get(name, "") is not None}


def work(folder: Path, home: Path, program: list[str], env: dict[str, str], shell: str = "") -> dict[str, bytes]:
    """Generate, draw and report in a folder; return its files."""
    folder.mkdir()
    generate = ["generate", str(home / "c"), "-n", "3", "--encoder", "pixels", "--out", "run"]
    corpus = ["--corpus", str(home / "c")]
    for words in (generate, ["figures", "run", *corpus, "--sample", "0"], ["report", "run", *corpus]):
        command = [*program, *words]
        if shell:
            command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, errors="replace", timeout=300
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        found[str(path.relative_to(folder))] = re.sub(TIMES.get(path.name, rb"$^"), b"", data)
    return found


@pytest.fixture(scope="module")
def plain(home):
    return work(home / "plain", home, NPGEN, environment())


WAYS: dict[str, tuple[list[str], dict[str, str | None], str]] = {
    "ascii terminal": (NPGEN, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "LANG": "C"}, ""),
    "turkish": (NPGEN, {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}, ""),
    "optimised": ([sys.executable, "-O", "-m", "npgen"], {}, ""),
    "without docstrings": ([sys.executable, "-OO", "-m", "npgen"], {}, ""),
    "warnings are errors": ([sys.executable, "-W", "error", "-m", "npgen"], {}, ""),
    "no stderr": (NPGEN, {}, "2>&-"),
    "no stdout": (NPGEN, {}, ">&-"),
    "no streams": (NPGEN, {}, "<&- >&- 2>&-"),
    "inline backend": (NPGEN, {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, ""),
    "left over from torchrun": (NPGEN, {"WORLD_SIZE": "1"}, ""),
    "no home": (NPGEN, {"HOME": None, "NPGEN_HOME": None, "XDG_CACHE_HOME": None}, ""),
    "home that is not there": (NPGEN, {"HOME": "/nonexistent", "NPGEN_HOME": None}, ""),
    "many threads": (NPGEN, {"OMP_NUM_THREADS": "7", "RAYON_NUM_THREADS": "3"}, ""),
    "narrow and without colour": (NPGEN, {"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb", "FORCE_COLOR": None}, ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_bytes(way, home, plain, tmp_path):
    program, changes, shell = WAYS[way]
    found = work(tmp_path / "work", home, program, environment(**changes), shell)
    assert list(found) == list(plain)
    assert [name for name in plain if found[name] != plain[name]] == []


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become a user of no name"
)
def test_a_user_without_a_name_or_a_home(home, plain):
    """As in containers that are run under any number."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1"}
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
    probe = subprocess.run([*user, sys.executable, "-c", "import npgen"], env=env, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("such a user can't read this Python")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copytree(home, folder / "home")
        for path in (folder / "home").rglob("*"):
            path.chmod(path.stat().st_mode | (0o005 if path.is_dir() else 0o004))
        (folder / "home").chmod(0o755)
        call = [*user, *NPGEN, "corpus", "info", str(folder / "home" / "c")]
        done = subprocess.run(call, env=env, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        asked = subprocess.run([*call[:-1], "mnist"], env=env, cwd=folder, capture_output=True, text=True)
        assert asked.returncode == 1
        assert asked.stderr.startswith("npgen: NPGEN_HOME must be set to a folder") and asked.stderr.count("\n") == 1
        found = work_as(user, folder / "work", folder / "home", env)
    assert [name for name in plain if found.get(name) != plain[name]] == []


def work_as(user: list[str], folder: Path, home: Path, env: dict[str, str]) -> dict[str, bytes]:
    os.umask(0)
    return work(folder, home, [*user, *NPGEN], env)


def test_readers_may_leave(home):
    """`npgen … | head -1` ends without a word."""
    for words in (["--help"], ["generate", "--help"], ["corpus", "info", str(home / "c")]):
        command = ["bash", "-c", 'set -o pipefail; "$@" | true', "bash", *NPGEN, *words]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        assert done.stderr == ""
        assert done.returncode in (0, 1, 141)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437", "utf-8"])
def test_help_on_every_terminal(encoding):
    for words in (["--help"], ["generate", "--help"], ["els", "calibrate", "--help"]):
        env = environment(PYTHONUTF8="0", PYTHONIOENCODING=encoding, COLUMNS="120")
        done = subprocess.run([*NPGEN, *words], env=env, capture_output=True)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode(encoding)
        assert "Usage" in text and "\\u" not in text and "\ufffd" not in text
        if words[0] == "generate":
            assert ("epsilon" if encoding in ("ascii", "latin-1", "cp1252") else "ε") in text


def test_version_and_module():
    for program in (NPGEN, [sys.executable, "-m", "npgen_command"]):
        done = subprocess.run([*program, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"npgen {npgen.__version__}\n")


def test_odd_defaults_of_torch_have_no_influence(home):
    """A notebook may have set them for its own work."""
    program = """
import sys, numpy as np, npgen
def scores():
    corpus = npgen.load_corpus(sys.argv[1])
    digits = npgen.Corpus.from_arrays(np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8))
    encoder = npgen.load_encoder("mnist", digits, "cpu")
    return npgen.embed(digits, encoder, progress=False).tobytes()
before = scores()
import torch
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)
torch.set_default_device("meta") if sys.argv[2] == "meta" else None
assert scores() == before
"""
    for kind in ("dtype", "meta"):
        call = [sys.executable, "-c", program, str(home / "c"), kind]
        done = subprocess.run(call, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
