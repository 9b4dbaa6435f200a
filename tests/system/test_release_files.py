"""Files as earlier releases wrote them: each is opened, verified, measured or gone on with.

`scripts/make_release_files.py` wrote the archives. Everything here goes through the public interface or the command
line, on a copy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import npgen
from npgen.runs.facts import settings_of

MODELS = ["full", "local", "texture", "semantic", "class"]
ARCHIVES = sorted((Path(__file__).parent.parent / "release").glob("*.zip"))
# Runs whose samples are copied pixels, or tokens that are decoded exactly: each with the corpus that it was made of.
EXACT = {
    **dict.fromkeys(("full", "local", "texture", "semantic", "class"), "grey"),
    **dict.fromkeys(("sweeps", "threshold", "tolerance", "part-0", "part-1", "tokens", "tokens-raster"), "grey"),
    "colours": "colours",
    "sized": "sized",
}


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.stem)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp(request.param.stem)
    with zipfile.ZipFile(request.param) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture
def copied(files: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may write to."""
    return Path(shutil.copytree(files, tmp_path / "files"))


@pytest.fixture(scope="module")
def grey(files: Path) -> npgen.Corpus:
    return npgen.load_corpus(files / "corpora" / "grey")


def command(*words: Any, status: int = 0) -> str:
    call = [sys.executable, "-m", "npgen_command", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def arrays(samples: npgen.Samples) -> dict[str, np.ndarray]:
    trace = {name: getattr(samples.trace, name) for name in ("image_id", "y", "x", "distance", "pool_size")}
    rest = {name: getattr(samples, name) for name in ("images", "anchor", "fallbacks", "queries", "codes")}
    return {name: array for name, array in {**trace, **rest}.items() if array is not None}


def assert_same(ours: npgen.Samples, theirs: npgen.Samples) -> None:
    mine, other = arrays(ours), arrays(theirs)
    assert list(mine) == list(other)
    for name, array in mine.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_there_are_archives() -> None:
    assert ARCHIVES


# Corpora and what is kept beside them


def test_corpora(files: Path) -> None:
    shapes = {"grey": (30, 8, 8, 1), "colours": (30, 8, 8, 3), "sized": (4, 11, 12, 3)}
    for name, shape in shapes.items():
        said = command("corpus", "info", files / "corpora" / name)
        corpus = npgen.load_corpus(files / "corpora" / name)
        assert corpus.hash in said and "verified" in said
        assert (corpus.name, corpus.images.shape) == (name, shape)
        if name == "sized":
            assert corpus.image(2).shape == (11, 7, 3)
            continue
        assert corpus.heldout is not None and len(corpus.heldout) == 12
        assert corpus.classes == (("spot", "bar", "frame") if name == "colours" else None)
        assert np.array_equal(corpus.labels, np.arange(30) % 3)


def test_keys_are_those_of_the_encoders(copied: Path) -> None:
    grey = npgen.load_corpus(copied / "corpora" / "grey")
    before = contents(copied / "corpora" / "grey" / "keys")
    trained = npgen.load_encoder("auto", grey, "cpu")
    assert isinstance(trained, npgen.Encoder)
    # The trained encoder computes in single precision, which differs a little from machine to machine.
    for encoder, close in ((npgen.PixelEncoder(8, 8, 1), 0.0), (trained, 1e-3)):
        kept = npgen.embed(grey, encoder, progress=False)
        np.testing.assert_allclose(kept, encoder.encode(np.asarray(grey.images)), rtol=0, atol=close)
    assert contents(copied / "corpora" / "grey" / "keys") == before and len(before) == 4


def test_tokens(files: Path, grey: npgen.Corpus) -> None:
    tokens = npgen.load_tokens("auto", grey, device="cpu")
    assert (len(tokens), tokens.bits, tokens.grid, tokens.stride) == (30, 6, (4, 4), 2)
    assert tokens.path == (files / "corpora" / "grey" / "tokens").absolute()
    own = npgen.load_autoencoder("auto", grey, "cpu")
    assert tokens.autoencoder is not None and tokens.autoencoder.id == own.id
    again = npgen.encode_tokens(grey, own, progress=False)
    assert np.mean(again.planes == tokens.planes) > 0.99  # a latent near 0 may be on either side elsewhere


def test_classifier_is_kept(copied: Path) -> None:
    grey, run = copied / "corpora" / "grey", copied / "runs" / "full"
    (classifier,) = (grey / "classifier").iterdir()
    before = classifier.read_bytes()
    shutil.rmtree(grey / "features")
    kept = read(run / "evaluation.json")
    command("evaluate", run, "--corpus", grey, "--quiet", "--device", "cpu")
    found = read(run / "evaluation.json")
    assert classifier.read_bytes() == before and len(list((grey / "classifier").iterdir())) == 1
    assert found["network_id"] == kept["network_id"] == f"classifier-{classifier.stem}"
    for row in ("samples", "heldout", "training"):
        assert found[row]["frechet"]["value"] == pytest.approx(kept[row]["frechet"]["value"], rel=1e-2, abs=1e-6)
        assert found[row]["nearest_distance"] == pytest.approx(kept[row]["nearest_distance"])


# Runs


@pytest.mark.parametrize("name", EXACT)
def test_runs_are_what_is_made_today(files: Path, name: str) -> None:
    corpus, run = npgen.load_corpus(files / "corpora" / EXACT[name]), files / "runs" / name
    kept = npgen.load_samples(run)
    assert npgen.verify_run(run, corpus).ok
    tokens = "auto" if name.startswith("tokens") else None
    options = {"first": kept.first, "encoder": "pixels", "tokens": tokens, "progress": False}
    assert_same(npgen.generate(corpus, len(kept), kept.model, kept.config, kept.seed, **options), kept)


@pytest.mark.parametrize("name", EXACT)
def test_runs_are_resumed(copied: Path, name: str) -> None:
    """A finished run is found to be finished, and stays as it is."""
    corpus, run = npgen.load_corpus(copied / "corpora" / EXACT[name]), copied / "runs" / name
    kept, before = npgen.load_samples(run), contents(run)
    tokens = "auto" if name.startswith("tokens") else None
    options = {"first": kept.first, "encoder": "pixels", "tokens": tokens, "progress": False, "out": run}
    if read(run / "manifest.json")["npgen"] != npgen.__version__:
        with pytest.raises(ValueError, match="of npgen "):
            npgen.generate(corpus, len(kept), kept.model, kept.config, kept.seed, **options)
    else:
        assert_same(npgen.generate(corpus, len(kept), kept.model, kept.config, kept.seed, **options), kept)
    assert contents(run) == before


def test_a_run_of_a_trained_encoder(files: Path, grey: npgen.Corpus) -> None:
    run = files / "runs" / "encoder"
    samples = npgen.load_samples(run)
    assert npgen.verify_run(run, grey).ok
    assert samples.encoder_id == npgen.load_encoder("auto", grey, "cpu").id
    found = npgen.explain(samples, grey, 1, (0, 7))
    trace = samples.trace
    assert found.pool.image_id[found.drawn] == trace.image_id[1, 0, 7] and len(found.pool) == trace.pool_size[1, 0, 7]


def test_the_command_line_reads_runs(copied: Path) -> None:
    grey, run = copied / "corpora" / "grey", copied / "runs" / "full"
    assert "all equal" in command("verify", run, "--corpus", grey, "--quiet")
    command("verify", copied / "runs" / "tokens", "--corpus", grey, "--quiet")
    command("report", run, "--corpus", grey, "--quiet")
    assert "corpus" in npgen.read_provenance(run / "samples.png")[0]
    parts = [copied / "runs" / f"part-{index}" for index in range(2)]
    command("merge", *parts, "--out", copied / "merged")
    assert_same(npgen.load_samples(copied / "merged"), npgen.load_samples(run))


def test_measures_of_runs(files: Path, grey: npgen.Corpus) -> None:
    samples, facts = npgen.load_samples(files / "runs" / "full"), read(files / "runs" / "full" / "entropy.json")
    found = npgen.entropy(samples, grey, facts["window"])
    assert found.mean_image_id == pytest.approx(facts["mean"]["image_id"])
    assert found.mean_class == pytest.approx(facts["mean"]["class"])
    summary = npgen.part_whole(samples, grey).summary()
    kept = read(files / "runs" / "full" / "evaluation.json")["samples"]
    assert {key: kept[key] for key in summary} == pytest.approx(summary)


def test_the_first_version_of_runs_opens_and_is_verified(files: Path, grey: npgen.Corpus) -> None:
    assert npgen.verify_run(files / "runs" / "version-1", grey).ok
    samples = npgen.load_samples(files / "runs" / "version-1")
    assert samples.queries is None and not samples.fallbacks.any()
    np.testing.assert_array_equal(samples.replay(grey), samples.images)


def test_an_interrupted_run_is_resumed(copied: Path, grey: npgen.Corpus, tmp_path: Path) -> None:
    run = copied / "runs" / "interrupted"
    manifest = read(run / "manifest.json")
    with pytest.raises(ValueError, match="of 66 samples"):
        npgen.load_samples(run)
    settings = npgen.Config.from_json(settings_of(manifest))
    options = {"config": settings, "seed": manifest["seed"], "progress": False}
    if manifest["npgen"] != npgen.__version__:
        with pytest.raises(ValueError, match="of npgen "):
            npgen.generate(grey, 66, manifest["model"], out=run, **options)
        return
    npgen.generate(grey, 66, manifest["model"], out=run, **options)
    npgen.generate(grey, 66, manifest["model"], out=tmp_path / "whole", **options)
    assert contents(run) == contents(tmp_path / "whole")
    assert npgen.verify_run(run, grey).ok


# Score machines


def test_score_machines(files: Path, grey: npgen.Corpus) -> None:
    kept = npgen.load_score_samples(files / "runs" / "els")
    settings = kept.settings
    again = npgen.score_generate(
        grey,
        len(kept),
        settings["machine"],
        settings["windows"],
        settings["steps"],
        seed=settings["seed"],
        every_step=settings["every_step"],
        progress=False,
    )
    for name in ("images", "noise", "weights", "entropy"):
        np.testing.assert_allclose(getattr(again, name), getattr(kept, name), rtol=1e-3, atol=1e-4, err_msg=name)
    assert again.settings == settings
    assert kept.mosaic(grey).shape == (3, 8, 8, 1)


def test_an_interrupted_score_machine_is_resumed(copied: Path) -> None:
    run, grey = copied / "runs" / "els-interrupted", copied / "corpora" / "grey"
    manifest, before = read(run / "manifest.json"), contents(run / "00000000")
    same = manifest["npgen"] == npgen.__version__
    options = ("-n", 18, "--size", 4, 4, "--machine", "local", "--windows", "3,3,5", "--steps", 3, "--quiet")
    command("els", grey, *options, "--out", run, status=0 if same else 1)
    if not same:
        return
    command("els", grey, *options[2:], "-n", 2, "--first", 16, "--out", copied / "rest")
    whole, rest = npgen.load_score_samples(run), npgen.load_score_samples(copied / "rest")
    assert contents(run / "00000000") == before and len(whole) == 18
    for name in ("images", "noise"):
        np.testing.assert_array_equal(getattr(whole[16:], name), getattr(rest, name))


def test_a_network_for_the_machines(copied: Path) -> None:
    """The comparison is found finished; its network takes part in another one."""
    grey, study = copied / "corpora" / "grey", copied / "studies" / "els"
    recipe, before = copied / "studies" / "recipe.json", contents(study)
    steps = ("--windows", "3,3,5", "--steps", 3, "--network-steps", 3, "-n", 2, "--quiet", "--device", "cpu")
    command("els", "compare", grey, *steps, "--machines", "local", "--recipe", recipe, "--out", study)
    after = contents(study)
    for name in before:
        if name.endswith((".safetensors", ".npy", "manifest.json")):
            assert after[name] == before[name], name
    network = study / "network.safetensors"
    said = command("els", "calibrate", grey, network, "-n", 1, "--steps", 3, "--largest", 3, "--quiet")
    assert said.strip().splitlines()[-1].count(",") == 2


# Studies


def options_of(kept: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a study: settings that its file does not name, or None for σ, meant something else then."""
    settings = npgen.Config.from_json(settings_of({"config": kept}))
    return {"config": settings, "encoder": "pixels", "device": "cpu", "quiet": True}


def runs_of(study: Path) -> dict[str, bytes]:
    """Return the files of a study's runs, without the scores beside them."""
    return {name: data for name, data in contents(study / "runs").items() if "/" in name}


def as_kept(value: Any, kept: Any) -> Any:
    """Leave out what earlier versions had not, and versions, notes, timings and intervals, which have another form."""
    if isinstance(kept, dict):
        names = [name for name in kept if name not in ("notes", "evaluation_version", "seconds_per_sample")]
        names = [name for name in names if not name.endswith(("_low", "_high"))]
        return {name: as_kept(value[name], kept[name]) for name in names}
    if isinstance(kept, list | tuple):
        return [as_kept(*pair) for pair in zip(value, kept, strict=True)]
    return value


def test_an_ablation_is_resumed(copied: Path) -> None:
    corpus, out = npgen.load_corpus(copied / "corpora" / "grey"), copied / "studies" / "ablation"
    kept, before = read(out / "results.json"), runs_of(out)
    again = json.loads(json.dumps(npgen.ablate(corpus, out, 4, models=MODELS, **options_of(kept["config"])).to_json()))
    again["config"]["sigma"] = kept["config"]["sigma"]  # None then meant what is now given as a number
    assert as_kept(again, kept) == as_kept(kept, kept)
    assert runs_of(out) == before
    # A run that is gone is made again, and is what it was.
    shutil.rmtree(out / "runs" / "class")
    npgen.ablate(corpus, out, 4, models=MODELS, **options_of(kept["config"]))
    after = runs_of(out)
    same = [name for name in before if name.startswith("class/") and name.endswith(".npy")]
    assert len(same) >= 8 and all(after[name] == before[name] for name in same)


def test_a_sweep_is_resumed(copied: Path) -> None:
    corpus, out = npgen.load_corpus(copied / "corpora" / "grey"), copied / "studies" / "sweep"
    kept, before = read(out / "results.json"), contents(out / "rows")
    grid = {"window": [3, 5], "images": [20, 30]}
    again = json.loads(
        json.dumps(npgen.sweep(corpus, out, grid, 4, keep=True, **options_of(kept["facts"]["config"])).to_json())
    )
    again["facts"]["config"]["sigma"] = kept["facts"]["config"]["sigma"]
    rows = ["image_id_entropy", "class_entropy", "images", "pool_50"]  # at another window σ is another one today
    assert [row[name] for row in again["rows"][1:] for name in rows if row["window"] == kept["rows"][1]["window"]]
    # Rows of an earlier evaluation stay, and are made again beside it.
    after = contents(out / "rows")
    assert before.items() <= after.items() and len(before) == 3 and len(after) == 6
    larger = npgen.sweep(
        corpus, out, {"window": [3, 5], "images": [20, 25, 30]}, 4, keep=True, **options_of(kept["facts"]["config"])
    )
    assert len(larger.rows) == 4 and len(contents(out / "rows")) == 7


def test_a_gamma_study_is_resumed(copied: Path) -> None:
    corpus, out = npgen.load_corpus(copied / "corpora" / "grey"), copied / "studies" / "gamma"
    kept, before = read(out / "results.json"), contents(out / "rows")
    options = {"kinds": ("pixels", "tokens"), "device": "cpu", "quiet": True}
    found = npgen.gamma_study(corpus, out, (1, None), 4, **options)
    rows = [row for row in kept["rows"] if row["kind"] in options["kinds"]]
    again = json.loads(json.dumps([row for row in found.rows if row["kind"] in options["kinds"]]))
    assert as_kept(again, rows) == as_kept(rows, rows)
    assert before.items() <= contents(out / "rows").items() and len(before) == 4
    assert len(npgen.gamma_study(corpus, out, (1, 2, None), 4, **options).rows) == len(found.rows) + 2
