"""Runs written as they are made: what stops them, and how they go on."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.runs.folder import RunFolder, merge, part_of
from npgen.sampling.pixel_run import PixelRun

CONFIG = npgen.Config(window=5, shortlist=20, seed_size=4)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("npgen.runs.facts.SHARD", 4)
    monkeypatch.setattr("npgen.runs.facts.SLOW_SHARD", 2)


def run(corpus, out, n=10, model="full", config=CONFIG, **options):
    options = {"encoder": "pixels", "seed": 3, "first": 7, "batch_size": 3, "progress": False} | options
    return npgen.generate(corpus, n, model, config, out=out, **options)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stop_after(monkeypatch, batches, error=KeyboardInterrupt):
    """Have the process stopped when it begins the batch after so many."""
    fill, calls = PixelRun.fill, []

    def stopping(self, batch, bar):
        calls.append(batch.first)
        if len(calls) > batches:
            raise error
        fill(self, batch, bar)

    monkeypatch.setattr(PixelRun, "fill", stopping)
    return calls


@pytest.mark.parametrize("model", ["full", "local"])
@pytest.mark.parametrize("batches", [0, 1, 2, 4])
def test_an_interrupted_run_goes_on_to_the_same_bytes(colours, tmp_path, model, batches):
    whole = run(colours, tmp_path / "whole", model=model)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, batches)
        run(colours, tmp_path / "cut", model=model)
    kept = json.loads((tmp_path / "cut" / "manifest.json").read_text())["shards"]
    assert sum(shard["n"] for shard in kept) < 10
    with pytest.MonkeyPatch.context() as patch:
        calls = stop_after(patch, 100)
        again = run(colours, tmp_path / "cut", model=model)
    assert calls[0] == 7 + sum(shard["n"] for shard in kept)  # what was there is not made again
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    alone = npgen.generate(colours, 10, model, CONFIG, 3, first=7, encoder="pixels", progress=False)
    for samples in (whole, again):
        np.testing.assert_array_equal(samples.images, alone.images)
        for ours, theirs in zip(samples.trace.arrays(), alone.trace.arrays(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_is_read_not_made_again(colours, tmp_path, monkeypatch):
    first = run(colours, tmp_path / "run")
    before = files(tmp_path / "run")
    calls = stop_after(monkeypatch, 0)
    again = run(colours, tmp_path / "run")
    assert (calls, files(tmp_path / "run")) == ([], before)
    np.testing.assert_array_equal(again.images, first.images)


def test_an_interrupted_run_is_not_read(colours, tmp_path, monkeypatch):
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(colours, tmp_path / "run")
    message = r"must be of 10 samples \(generate resumes an interrupted run\), got 4"
    with pytest.raises(ValueError, match=message):
        npgen.load_samples(tmp_path / "run")


def test_a_shard_that_the_manifest_does_not_name_is_made_again(colours, tmp_path):
    run(colours, tmp_path / "whole")
    run(colours, tmp_path / "torn")
    manifest = json.loads((tmp_path / "torn" / "manifest.json").read_text())
    manifest["shards"].pop()
    (tmp_path / "torn" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "torn" / "00000015" / "images.npy").write_bytes(b"torn")
    run(colours, tmp_path / "torn")
    assert files(tmp_path / "torn") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "must be of seed 4, or another folder, got 3"),
        ({"n": 11}, "must be of n 11, or another folder, got 10"),
        ({"first": 0}, "must be of first 0, or another folder, got 7"),
        ({"model": "local"}, "must be of model 'local', or another folder, got 'full'"),
        (
            {"config": dataclasses.replace(CONFIG, epsilon=0.5)},
            "must be of config: epsilon 0.5, or another folder, got 0.1",
        ),
    ],
)
def test_another_run_s_folder_is_refused(colours, tmp_path, change, message):
    run(colours, tmp_path / "run")
    before = files(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        run(colours, tmp_path / "run", **change)
    assert files(tmp_path / "run") == before


def test_another_corpus_is_refused(colours, tmp_path):
    run(colours, tmp_path / "run")
    other = npgen.Corpus.from_arrays(colours.images[::-1].copy(), colours.labels, colours.classes)
    with pytest.raises(ValueError, match="must be of corpus: hash"):
        run(other, tmp_path / "run")


def test_what_is_no_run_is_left_alone(colours, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        message = re.escape(f"out must be a new folder or that of an interrupted run, got '{tmp_path / name}'")
        with pytest.raises(FileExistsError, match=message):
            run(colours, tmp_path / name)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="must be a JSON file"):
        run(colours, tmp_path)


def test_a_damaged_list_of_shards_is_refused(colours, tmp_path):
    run(colours, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "shards": [{}]}))
    with pytest.raises(ValueError, match=r"must be of a complete manifest, with shards of name, .*, got \[\{\}\]"):
        run(colours, tmp_path / "run")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such locks")
def test_two_writers_of_one_run_are_one_too_many(colours, tmp_path, monkeypatch):
    fill = PixelRun.fill

    def filling(self, batch, bar):
        with monkeypatch.context() as patch:
            patch.setattr(PixelRun, "fill", fill)
            with pytest.raises(FileExistsError, match="is being written by another process"):
                run(colours, tmp_path / "run")
        fill(self, batch, bar)

    monkeypatch.setattr(PixelRun, "fill", filling)
    assert len(run(colours, tmp_path / "run")) == 10
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_full_disk_keeps_what_is_there(colours, tmp_path, monkeypatch):
    from npgen.storage import npy

    write, calls = npy.write_array, []

    def failing(path, array):
        calls.append(path)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        return write(path, array)

    monkeypatch.setattr(npy, "write_array", failing)
    with pytest.raises(OSError, match="No space left"):
        run(colours, tmp_path / "run")
    monkeypatch.setattr(npy, "write_array", write)
    run(colours, tmp_path / "run")
    run(colours, tmp_path / "whole")
    assert files(tmp_path / "run") == files(tmp_path / "whole")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    code = (
        "import sys, npgen\nnpgen.runs.facts.SHARD = 4\n"
        "config = npgen.Config(window=5, shortlist=20, seed_size=4)\n"
        "npgen.generate(npgen.load_corpus(sys.argv[1]), 2000, 'full', config, 3, encoder='pixels', "
        "batch_size=4, out=sys.argv[2], progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "corpus", tmp_path / "run"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "00000004").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    done = sum(shard["n"] for shard in manifest["shards"])
    assert 0 < done < 2000
    manifest["n"] = done + 6  # so that the rest is quickly made
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    corpus = npgen.load_corpus(tmp_path / "corpus")
    samples = run(corpus, tmp_path / "run", done + 6, first=0)
    alone = run(corpus, None, done + 6, first=0)
    np.testing.assert_array_equal(samples.images, alone.images)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".partial")]


def test_the_command_goes_on(digits, tmp_path, monkeypatch):
    digits.save(tmp_path / "corpus")
    command = [
        "generate",
        str(tmp_path / "corpus"),
        "-n",
        "10",
        "--encoder",
        "pixels",
        "--shortlist",
        "20",
        "--window",
        "5",
    ]
    command += ["--out", str(tmp_path / "run"), "-q", "--batch-size", "4"]
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr) == (130, "npgen: interrupted\n")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert len(npgen.load_samples(tmp_path / "run")) == 10
    assert (tmp_path / "run" / "overview.png").exists()


@pytest.mark.parametrize("count", [1, 3, 4])
def test_parts_merge_to_what_one_process_writes(colours, tmp_path, count):
    run(colours, tmp_path / "whole")
    parts = []
    for index in range(count):
        start, n = part_of(10, index, count)
        parts.append(tmp_path / f"part{index}")
        run(colours, parts[-1], n, first=7 + start)
    merge(parts[::-1], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


def test_an_interrupted_merge_goes_on(colours, tmp_path, monkeypatch):
    run(colours, tmp_path / "whole")
    run(colours, tmp_path / "a", 3)
    run(colours, tmp_path / "b", 7, first=10)
    append = RunFolder.append
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", lambda self, shard: (self.done and 1 / 0) or append(self, shard))
        with pytest.raises(ZeroDivisionError):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


def test_what_is_no_partition_is_refused(colours, tmp_path):
    parts = [tmp_path / name for name in "abc"]
    for part, first in zip(parts, (0, 4, 9), strict=True):
        run(colours, part, 4, first=first)

    def message(*parts):
        with pytest.raises(ValueError, match="must be") as caught:
            merge(parts, tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
        return str(caught.value)

    assert message() == "parts must be at least one run, got 0"
    gap = f"part '{parts[2]}' must be the one that begins with sample 8, got 9"
    assert message(*parts) == gap
    assert message(parts[0], parts[0]).endswith("must be the one that begins with sample 4, got 0")
    run(colours, tmp_path / "other", 4, first=4, seed=9)
    assert message(parts[0], tmp_path / "other").endswith(f"must be of the same seed as '{parts[0]}', 3, got 9")
    manifest = json.loads((parts[1] / "manifest.json").read_text())
    (parts[1] / "manifest.json").write_text(json.dumps({**manifest, "n": 5}))
    assert message(*parts[:2]) == f"part '{parts[1]}' must be finished, of 5 samples, got 4"


def test_bad_shards_are_refused():
    for index, count in ((3, 3), (-1, 3), (0, 0)):
        message = re.escape(f"shard must be I/N with I in 0…N − 1, got '{index}/{count}'")
        with pytest.raises(ValueError, match=message):
            part_of(10, index, count)
    with pytest.raises(ValueError, match="shard must be of at most 2 parts, as there are 2 samples, got '0/3'"):
        part_of(2, 0, 3)
    assert [part_of(10, index, 3) for index in range(3)] == [(0, 3), (3, 3), (6, 4)]


def test_the_commands_divide_and_merge(digits, tmp_path, monkeypatch):
    digits.save(tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    command = ["generate", "corpus", "-n", "7", "--encoder", "pixels", "--shortlist", "20", "--window", "5", "-q"]
    for index in range(2):
        result = CliRunner().invoke(app, [*command, "--shard", f"{index}/2"])
        assert result.exit_code == 0, result.output
    parts = [f"runs/arrays-full-0-{index}-of-2" for index in range(2)]
    result = CliRunner().invoke(app, ["merge", *parts, "--out", "merged"])
    assert (result.exit_code, result.stdout) == (0, "7 samples of 2 parts: merged\n"), result.output
    assert CliRunner().invoke(app, [*command, "--out", "whole"]).exit_code == 0
    for file, data in files(tmp_path / "merged").items():
        assert (tmp_path / "whole" / file).read_bytes() == data
    for text in ("2", "a/b", "1/2/3"):
        result = CliRunner().invoke(app, [*command, "--shard", text])
        assert result.stderr == f"npgen: shard must be I/N with I in 0…N − 1, got {text!r}\n"


def test_a_run_killed_before_its_first_manifest_is_begun_again(colours, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".lock", ".manifest.json.5bce98f75fe7f3a9.partial"):
        (tmp_path / "run" / name).write_text("{")
    assert len(run(colours, tmp_path / "run")) == 10
