"""`scripts/gpu_check.py`: its steps on few images and the CPU, and what becomes of those that fail or take too long."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import npgen

SCRIPTS = Path(__file__).parents[2] / "scripts"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    yield importlib.import_module("gpu_check")
    for name in [name for name in sys.modules if name.split(".")[0] in ("gpu_check", "gpu_steps")]:
        del sys.modules[name]


@pytest.fixture
def check(gpu_check, tmp_path):
    (tmp_path / "work").mkdir()
    return gpu_check.Check("cpu", True, "", "", str(tmp_path), str(tmp_path / "work"), train_seconds=0.5)


def test_all_steps_on_few_images(gpu_check, check, monkeypatch):
    compare, encoder, images = (
        importlib.import_module(f"gpu_steps.{name}") for name in ("compare", "encoder", "images")
    )
    monkeypatch.setattr(images, "TINY", 72)
    monkeypatch.setattr(images, "TINY_HELD", 20)
    monkeypatch.setattr(compare, "CPU_SECONDS", 0.001)
    monkeypatch.setattr(compare, "BATCHES", (8,))
    monkeypatch.setattr(encoder, "NEIGHBOURS", (5,))
    monkeypatch.setattr(encoder, "SQUARES", (32, 8))
    images.made_up(check.images)
    corpus = check.corpus()
    assert len(corpus) == 72 and len(corpus.heldout) == 20 and corpus.images.shape[1:] == (32, 32, 3)

    embedded = compare.embed(check)
    assert embedded["images"] == 64 and embedded["repeats"] and embedded["order"]
    assert embedded["whole"]["largest"] == 0 and embedded["whole"]["least cosine"] == pytest.approx(1, abs=1e-5)
    listed = compare.shortlist(check)
    assert all(row["other images"] == 0 for by in listed["lists"].values() for row in by.values())
    generated = compare.generate(check)
    assert [row["samples"] for row in generated["beside the CPU"].values()] == [0, 0] and not generated["failed"]

    trained = encoder.train(check)
    loaded = npgen.load_encoder(check.weights, corpus, "cpu")
    assert loaded.id == trained["id"] and loaded.metadata["time_limit"] == 0.5
    judged = encoder.judge(check)["encoders"]
    assert set(judged) == {"shipped", "trained"}
    names = ["20-NN at 32", "20-NN at 8", "purity of 5", "CPU, ms per image", "MB"]
    assert all(list(row) == names and 0 <= row["20-NN at 8"] <= 1 for row in judged.values())
    for step in ("embed", "shortlist", "generate", "train", "judge"):
        assert check.text(step).read_text().strip()


def test_differences_are_counted(gpu_check):
    compare = importlib.import_module("gpu_steps.compare")
    expected = np.eye(3, 4, dtype=np.float32)
    found = expected.copy()
    found[1, 1] = 0.75
    counted = compare.difference(expected, found)
    assert counted == {"numbers": 12, "other bytes": 1 / 12, "largest": 0.25, "median": 0, "least cosine": 0.75}
    lists = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int32)
    others = np.array([[1, 2, 3], [5, 4, 6], [1, 2, 9]], np.int32)
    assert compare._lists(lists, others) == {"other order": 2, "other images": 1, "largest": 2}


def test_the_trained_encoder_can_be_shipped(gpu_check):
    encoder = importlib.import_module("gpu_steps.encoder")
    recipe = npgen.encoders.Recipe(**{**encoder.WIDE, "whitened": True, "pool": 1})
    shapes = recipe.architecture(3).shapes().values()
    assert 4.5e6 < 2 * sum(int(np.prod(shape)) for shape in shapes) < 5e6


def test_a_step_that_fails_or_lasts_leaves_its_log(gpu_check, check):
    judge = next(step for step in gpu_check.STEPS if step.name == "judge")
    failed = gpu_check.attempt(judge, check, 60)
    assert failed["status"] == "failed with exit status 1" and "Error" in failed["end of the log"]
    lasting = gpu_check.attempt(judge, check, 0.05)
    assert lasting["status"] == "stopped after 0 s, its limit"
    assert "judge: failed with exit status 1" in gpu_check.section("judge", failed)


def outcomes(gpu_check, check, monkeypatch, fails=(), seconds=0.0, **options):
    """Run all steps, each of which takes `seconds` and does nothing; return outcomes, and the seconds allowed."""
    now, allowed = [0.0], {}

    def attempt(step, check, limit):
        now[0] += seconds
        allowed[step.name] = limit
        return {"status": "failed" if step.name in fails else "done", "seconds": seconds, "text": "| a |", "values": {}}

    monkeypatch.setattr(gpu_check, "attempt", attempt)
    monkeypatch.setattr(gpu_check.time, "monotonic", lambda: now[0])
    settings = {"budget": 560.0, "train_seconds": 240.0, "steps": None, **options}
    return gpu_check.run(check, SimpleNamespace(**settings)), allowed


def test_training_and_judging_get_their_time_first(gpu_check, check, monkeypatch):
    check.tiny = False
    done, allowed = outcomes(gpu_check, check, monkeypatch, seconds=20)
    assert [*done] == [step.name for step in gpu_check.STEPS] == [*allowed]
    assert allowed["environment"] == 60 and allowed["install"] == 150 and check.train_seconds == 240
    assert allowed["train"] == 300 and allowed["judge"] == 75
    _, allowed = outcomes(gpu_check, check, monkeypatch, seconds=30)
    assert check.train_seconds == 560 - 7 * 30 - 75 - 60  # less judging, and what training takes besides
    late, allowed = outcomes(gpu_check, check, monkeypatch, seconds=90)
    assert {name: outcome["status"] for name, outcome in late.items() if outcome["status"] != "done"} == {
        **dict.fromkeys(("tests", "embed"), "left out: 0 s are left for it of 560 s"),
        **dict.fromkeys(("shortlist", "generate"), "left out: it needs embed"),
    }
    assert check.train_seconds == 560 - 3 * 90 - 75 - 60 and allowed["judge"] == 75


def test_a_step_that_fails_loses_no_other(gpu_check, check, monkeypatch):
    done, _ = outcomes(gpu_check, check, monkeypatch, fails=("tests", "embed"))
    missing = {name: outcome["status"] for name, outcome in done.items() if outcome["status"] != "done"}
    lost = "left out: it needs embed"
    assert missing == {"tests": "failed", "embed": "failed", "shortlist": lost, "generate": lost}
    report = (Path(check.out) / "report.md").read_text()
    assert re.findall(r"## (\w+): (\w+)", report)[:3] == [
        ("environment", "done"),
        ("install", "done"),
        ("corpus", "done"),
    ]
    assert json.loads((Path(check.out) / "report.json").read_text())["steps"]["embed"]["status"] == "failed"


def test_chosen_steps_bring_what_they_need(gpu_check):
    assert gpu_check.chosen(["generate"]) == {"generate", "embed", "corpus", "install"}
    assert gpu_check.chosen(None) == {step.name for step in gpu_check.STEPS}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--budget", "0"], "budget and train-seconds must be above 0, got 0.0, 240.0"),
        (["--steps", "sleep"], "steps must be among environment, .*, judge, got sleep"),
    ],
)
def test_bad_arguments(gpu_check, monkeypatch, capsys, tmp_path, given, message):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path / "out"), *given])
    with pytest.raises(SystemExit) as caught:
        gpu_check.main()
    assert re.search(message, f"{caught.value.code} {capsys.readouterr().err}")
    assert not (tmp_path / "out").exists()


def test_nothing_is_found_without_images(gpu_check, check):
    images = importlib.import_module("gpu_steps.images")
    check.tiny, check.data = False, "/nowhere/cifar10.tar"
    assert images.corpus(check) == {"failed": True}
    assert "No images: none of /nowhere/cifar10.tar" in check.text("corpus").read_text()
