"""The script that kills runs: it distinguishes complete runs from damaged ones."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import npgen

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals to process groups are POSIX")


def test_a_run_survives(colours, tmp_path):
    colours.save(tmp_path / "corpus")
    options = ["-n", "130", "--model", "local", "--window", "5", "--kills", "2", "--seed", "1", "--disk", "limit"]
    command = [sys.executable, SCRIPT, tmp_path / "corpus", *options, "--work", tmp_path / "work"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("undisturbed: 3 shards, ")
    assert [line[:7] for line in lines[1:3]] == ["kill  1", "kill  2"]
    assert lines[3] == "killed 2 times: every byte as undisturbed"
    assert lines[4].startswith("disk full: 0 shards named, all whole; said: npgen: [Errno 27] File too large; ")
    assert lines[5].startswith("disk full once (files of at most ")
    assert lines[5].endswith(": every byte as undisturbed")
    assert len(npgen.load_samples(tmp_path / "work" / "killed")) == 130


@pytest.fixture
def torture(colours, tmp_path, monkeypatch):
    """Return a torture whose undisturbed run has been made, of three shards."""
    specification = importlib.util.spec_from_file_location("torture", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "torture", module)  # dataclasses look the module up there
    specification.loader.exec_module(module)
    monkeypatch.setattr("npgen.runs.facts.SLOW_SHARD", 2)
    config = npgen.Config(window=3, seed_size=8)
    for name in ("whole", "run"):
        npgen.generate(colours, 6, "local", config, out=tmp_path / name, progress=False)
    manifest = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    return module._Torture([], tmp_path, random.Random(0), module._files(tmp_path / "whole"), manifest)


def rewrite(run, change):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_half_written_files_are_no_fault(torture, tmp_path):
    run = tmp_path / "run"
    assert torture.check(run, 3) == (3, [])
    (run / ".00000004.0123456789abcdef.partial").mkdir()
    rewrite(run, lambda manifest: manifest["shards"].pop())
    assert torture.check(run, 2) == (2, [".00000004.0123456789abcdef.partial", "00000004"])
    assert torture.check(tmp_path / "not yet", 0) == (0, [])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "00000002" / "y.npy").write_bytes(b""), "y.npy must be as the manifest has it, got other"),
        (lambda run: rewrite(run, lambda manifest: manifest["shards"].pop()), "must name 3 shards, as before, got 2"),
        (lambda run: rewrite(run, lambda manifest: manifest["shards"].pop(0)), "must name the shards .*, as undistur"),
        (lambda run: (run / "00000006").mkdir(), "00000006 must be as undisturbed, got something else"),
    ],
)
def test_damage_is_a_fault(torture, tmp_path, damage, message):
    damage(tmp_path / "run")
    with pytest.raises(Exception, match=message) as caught:
        torture.check(tmp_path / "run", 3)
    assert type(caught.value).__name__ == "FaultError"


@pytest.mark.parametrize(
    ("n", "kills", "message"), [(0, 1, "n must be at least 1, got 0"), (1, -1, "kills must be at")]
)
def test_bad_values_are_named(n, kills, message):
    command = [sys.executable, SCRIPT, "corpus", "-n", str(n), "--kills", str(kills)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, message in result.stderr) == (1, True)


def test_differences_are_faults(torture, tmp_path):
    torture.compare(tmp_path / "run")
    (tmp_path / "run" / "more").touch()
    with pytest.raises(Exception, match="more must be as undisturbed, got other bytes"):
        torture.compare(tmp_path / "run")
    (tmp_path / "run" / "more").unlink()
    (tmp_path / "run" / "00000000" / "x.npy").unlink()
    with pytest.raises(Exception, match="x.npy must be as undisturbed, got nothing"):
        torture.compare(tmp_path / "run")
