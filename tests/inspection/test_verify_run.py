"""Verification: a good run passes; any changed byte of a run or its corpus is found, and its pixel is named."""

import dataclasses
import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from stored_runs import change, check, edit_manifest, places, rewrite
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import MODELS
from npgen.inspection.verify_run import verify_run

module = importlib.import_module("npgen.inspection.verify_run")  # the package's name is the function


FAST = npgen.Config(window=5, shortlist=20, seed_size=4)
ARRAYS = ("images", "anchor", "image_id", "y", "x", "distance", "pool_size", "queries", "labels", "manifest")


def make(corpus, path, n=4, model="full", config=FAST, first=3):
    samples = npgen.generate(corpus, n, model, config, 5, first=first, encoder="pixels", progress=False)
    samples.save(path)
    return samples


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A corpus and a run of it; tests copy them before they change anything."""
    folder = tmp_path_factory.mktemp("whole")
    corpus = digits.save(folder / "corpus")
    make(corpus, folder / "run")
    return folder


@pytest.fixture
def stored(whole, tmp_path):
    for name in ("corpus", "run"):
        shutil.copytree(whole / name, tmp_path / name)
    return tmp_path


SETTINGS = [("full", FAST)] + [
    ("full", dataclasses.replace(FAST, **some))
    for some in (
        {"quota": 4}, {"sweeps": 1}, {"exclude_seed_image": False}, {"seed_at": (0, 9)}, {"candidates": "all"},
        {"semantic": "threshold"}, {"anchor_weight": 1}, {"k_min": 3, "stage_pixels": 7},
        {"max_share": 0.1}, {"max_share": 0.1, "sweeps": 1, "quota": 3}, {"select": 3},
        {"seams": True, "quota": 6}, {"seams": True, "sweeps": 1},
    )
]  # fmt: skip
SETTINGS += [(model, FAST) for model in MODELS if model != "full"]
SETTINGS += [("texture", dataclasses.replace(FAST, size=(9, 21), quota=2))]
SETTINGS += [(model, dataclasses.replace(FAST, max_copy=0.3)) for model in ("texture", "full")]
SETTINGS += [("conditional", dataclasses.replace(FAST, seams=True, max_share=0.2))]


@pytest.mark.parametrize(("model", "config"), SETTINGS)
@pytest.mark.parametrize("corpus", ["digits", "colours"])
def test_good_runs_pass(corpus, model, config, tmp_path, request):
    source = request.getfixturevalue(corpus)
    if config.seed_at is not None and corpus == "colours":
        config = dataclasses.replace(config, seed_at=(1, 8))
    samples = make(source, tmp_path / "run", 3, model, config)
    report = verify_run(tmp_path / "run", source)
    assert report.ok, str(report)
    pixels = samples.trace.image_id.size
    assert str(report) == f"3 samples, {pixels:,} pixels replayed, all equal"


@pytest.mark.parametrize("key", ["images", *npgen.runs.TRACE_DTYPES])
@pytest.mark.parametrize("model", ["full", "local", "class", "texture"])
def test_any_changed_byte_of_images_and_traces_names_its_pixel(digits, tmp_path, key, model):
    digits.save(tmp_path / "corpus")
    make(npgen.load_corpus(tmp_path / "corpus"), tmp_path / "run", 2, model)
    file = tmp_path / "run" / "00000003" / f"{key}.npy"
    original = file.read_bytes()
    array = np.load(file)
    random = np.random.default_rng(0)
    for _ in range(6):
        at = int(random.integers(array.nbytes))
        change(file, at - array.nbytes, 1 << int(random.integers(8)))
        report = check(tmp_path)
        pixel = tuple(int(part) for part in np.unravel_index(at // array.itemsize, array.shape)[:3])
        assert pixel in places(report), str(report)
        assert any(f"{key}.npy must have sha256" in problem for problem in report.problems)
        file.write_bytes(original)
    assert check(tmp_path).ok


def test_a_changed_byte_is_reported_with_value_and_source(stored):
    samples = npgen.load_samples(stored / "run")
    change(stored / "run" / "00000003" / "images.npy", -1, 9)
    report = check(stored)
    value, address = int(samples.images[3, 15, 15, 0]), [int(part[3, 15, 15]) for part in samples.trace.arrays()[:3]]
    (found,) = report.differences
    assert found == module.Difference(3, 15, 15, (value ^ 9,), tuple(address), (value,), found.reasons)
    assert str(found) == (
        f"sample 3, y 15, x 15: value {value ^ 9}; source image {address[0]}, y {address[1]}, x {address[2]}: "
        f"value {value}; the values differ; generated again it has value {value}"
    )
    assert str(report).endswith("4 samples, 1,024 pixels replayed, 1 differ")


def test_a_changed_byte_of_the_corpus_names_the_pixels_that_use_it(stored):
    samples = npgen.load_samples(stored / "run")
    address = tuple(part[2, 7, 1] for part in samples.trace.arrays()[:3])
    expected = np.logical_and.reduce(
        [part == one for part, one in zip(samples.trace.arrays(), address, strict=False)]
    )  # (n, H, W)
    offset = int(np.ravel_multi_index(address, (60, 16, 16))) - 60 * 16 * 16
    change(stored / "corpus" / "images.npy", offset)
    report = check(stored)
    assert places(report) == [tuple(at) for at in np.argwhere(expected).tolist()][: module.NAMED]
    assert report.different == expected.sum()
    assert "images.npy must have sha256" in report.problems[0]
    assert all(one.value != one.source_value and one.reasons == ("the values differ",) for one in report.differences)


def test_changed_bytes_that_belong_to_no_pixel_are_reported(stored, digits, tmp_path):
    change(stored / "corpus" / "labels.npy", -8)
    report = check(stored)
    assert (report.ok, report.different) == (False, 0)
    assert "labels.npy must have sha256" in str(report)
    for key in ("queries", "anchor"):
        shutil.rmtree(stored / "corpus")
        digits.save(stored / "corpus")
        file = stored / "run" / "00000003" / f"{key}.npy"
        original = file.read_bytes()
        change(file, -1)
        report = check(stored)
        assert f"{key}.npy must have sha256" in report.problems[0]
        assert (report.different == 0) == (key == "queries")
        file.write_bytes(original)


def test_every_byte_flip_is_reported_and_none_ends_in_a_traceback(stored):
    """Headers and manifests included; a damaged manifest may be refused with a message."""
    files = [file for folder in ("run", "corpus") for file in (stored / folder).rglob("*") if file.is_file()]
    files = [file for file in files if file.parent.name not in ("keys", "heldout")]
    assert set(ARRAYS) <= {file.stem for file in files}
    random = np.random.default_rng(1)
    for file in files:
        original = file.read_bytes()
        for at in [8, 60, *random.integers(len(original), size=6).tolist()]:
            change(file, at, 1 << int(random.integers(8)))
            try:
                report = check(stored)
            except (ValueError, FileNotFoundError):
                assert file.suffix == ".json" or file.parent.name == "corpus"
            else:
                assert not report.ok or file.suffix == ".json", (file, at)
            file.write_bytes(original)
    assert check(stored).ok


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("image_id", -1, "there is no such pixel in the corpus"),
        ("image_id", 60, "there is no such pixel in the corpus"),
        ("y", 2**31 - 1, "there is no such pixel in the corpus; it must be within 1 pixels of its source, got 2147483"),
        ("x", -(2**31), "there is no such pixel in the corpus; it must be within 1 pixels of its source, got 2147483"),
        ("y", 10, "it must be within 1 pixels of its source, got 10"),
        ("pool_size", 0, "its pool size must be in 1…20, got 0"),
        ("pool_size", 21, "its pool size must be in 1…20, got 21"),
        ("distance", np.nan, "its distance must be at least 0, got nan"),
        ("distance", -0.5, "its distance must be at least 0, got -0.5"),
    ],
)
def test_a_rule_broken_at_a_drawn_pixel(stored, key, value, reason):
    rewrite(stored, key, lambda array: array.__setitem__((1, 0, 15), value))
    report = check(stored)
    assert (places(report), report.problems) == ([(1, 0, 15)], ())
    assert reason in str(report)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("image_id", "the seed patch has image {}, y 6, x 7 there"),
        ("y", "the seed patch has image {}, y 6, x 7 there"),
        ("pool_size", "its pool size must be 0 in the seed patch, got"),
        ("distance", "its distance must be 0, got"),
    ],
)
def test_a_rule_broken_in_the_seed_patch(stored, key, reason):
    anchor = npgen.load_samples(stored / "run").anchor[2]
    rewrite(stored, key, lambda array: array.__setitem__((2, 6, 7), array[2, 6, 7] + 1))
    report = check(stored)
    assert (places(report), report.problems) == ([(2, 6, 7)], ())
    assert reason.format(anchor) in str(report)


def test_a_source_of_an_image_that_is_not_allowed(stored, digits, tmp_path):
    anchor = npgen.load_samples(stored / "run").anchor[0]
    rewrite(stored, "image_id", lambda array: array.__setitem__((0, 0, 0), anchor))
    assert "its image is barred: the seed patch comes from it" in str(check(stored))

    shutil.rmtree(stored / "run")
    samples = make(npgen.load_corpus(stored / "corpus"), stored / "run", model="class")
    other = int(np.flatnonzero(digits.labels != digits.labels[samples.anchor[0]])[0])
    rewrite(stored, "image_id", lambda array: array.__setitem__((0, 0, 0), other))
    labels = digits.labels[samples.anchor[0]], digits.labels[other]
    assert "its source must be of the seed's label, {}, got {}".format(*labels) in str(check(stored))

    shutil.rmtree(stored / "run")
    samples = make(npgen.load_corpus(stored / "corpus"), stored / "run", config=dataclasses.replace(FAST, quota=2))
    rewrite(stored, "image_id", lambda array: array.__setitem__((0, 0, slice(0, 5)), (samples.anchor[0] + 1) % 60))
    assert "pixels of its window already; the quota is 2" in str(check(stored))


def test_patches_of_a_larger_canvas_lie_where_the_seed_draws_them(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    config = dataclasses.replace(FAST, size=(20, 20))
    samples = make(npgen.load_corpus(tmp_path / "corpus"), tmp_path / "run", 2, "texture", config)
    rewrite(tmp_path, "x", lambda array: array.__setitem__((1, 9, 9), (array[1, 9, 9] + 1) % 16))
    expected = [samples.anchor[1], samples.trace.y[1, 9, 9], samples.trace.x[1, 9, 9]]
    report = check(tmp_path)
    assert places(report) == [(1, 9, 9)]
    assert "the seed patch has image {}, y {}, x {} there".format(*expected) in str(report)


def test_only_the_first_differences_are_named(stored):
    rewrite(stored, "images", lambda array: np.add(array, 1, out=array))
    report = check(stored)
    assert (len(report.differences), report.different) == (module.NAMED, 4 * 256)
    assert "… and 1,004 pixels more" in str(report)


def test_shards_and_blocks_make_no_difference(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("npgen.runs.facts.SHARD", 3)
    monkeypatch.setattr("npgen.runs.facts.SLOW_SHARD", 3)
    monkeypatch.setattr(module, "BLOCK_PIXELS", 2 * 256)
    digits.save(tmp_path / "corpus")
    make(npgen.load_corpus(tmp_path / "corpus"), tmp_path / "run", 8, "local")
    assert check(tmp_path).ok
    monkeypatch.setattr(module, "BATCH", 2)
    for name, sample in (("00000003", 2), ("00000009", 7)):
        change(tmp_path / "run" / name / "pool_size.npy", -4)
        assert (sample, 15, 15) in places(check(tmp_path))


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_damaged_files_are_named_and_the_rest_is_replayed(digits, tmp_path, monkeypatch, damage):
    monkeypatch.setattr("npgen.runs.facts.SHARD", 2)
    monkeypatch.setattr("npgen.runs.facts.SLOW_SHARD", 2)
    digits.save(tmp_path / "corpus")
    make(npgen.load_corpus(tmp_path / "corpus"), tmp_path / "run", 4, "local")
    file = tmp_path / "run" / "00000003" / "y.npy"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    report = check(tmp_path)
    assert (report.ok, report.samples, report.different) == (False, 2, 0)
    assert "y.npy" in str(report)
    assert "the 2 samples of shard 00000003 could not be replayed" in str(report)


def test_samples_that_cannot_be_generated_again_are_reported(stored, digits):
    file = stored / "run" / "00000003" / "pool_size.npy"
    change(file, -4)
    shutil.rmtree(stored / "corpus" / "keys")
    report = check(stored)
    assert (report.ok, report.different) == (False, 0)
    assert "samples from 0 on can't be generated again: corpus must be one with keys of encoder" in str(report)
    change(stored / "corpus" / "labels.npy", -8)
    assert "can't be generated again: the corpus was altered" in str(check(stored))
    change(stored / "corpus" / "labels.npy", -8)
    change(stored / "run" / "00000003" / "queries.npy", -1)
    assert "can't be generated again: its queries were altered" in str(check(stored))
    edit_manifest(stored, lambda manifest: manifest.update(seed=6))
    change(stored / "run" / "00000003" / "queries.npy", -1)
    assert "can't be generated again: their seeds were drawn in another way" in str(check(stored))
    edit_manifest(stored, lambda manifest: (manifest.update(seed=5), manifest["shards"][0]["sha256"].pop("queries")))
    assert "can't be generated again: the run has no queries" in str(check(stored))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(format="zip"), "must be a folder of format 'npgen-run', got 'zip'"),
        (lambda m: m.update(version=99), r"\(a newer npgen may read it\), got 99"),
        (lambda m: m.update(n=5), r"must be of 5 samples \(generate resumes an interrupted run\), got 4"),
        (lambda m: m.update(n="4"), "got one in which n must be a whole number, got '4'"),
        (lambda m: m.update(seed=-1), "got one in which seed must be in 0…2⁶⁴ − 1, got -1"),
        (lambda m: m.pop("model"), "must have a complete manifest, got one without 'model'"),
        (lambda m: m.update(model="huge"), "model must be one of"),
        (lambda m: m.update(model=["full"]), r"model must be one of 'full', .*, got \['full'\]"),
        (
            lambda m: m["config"].update(window="9"),
            "a complete manifest, got one in which window must be a whole number",
        ),
        (lambda m: m["corpus"].update(name="../secret"), "name must be one path component, got '../secret'"),
        (lambda m: m.update(encoder="\ud800"), "must be a JSON file, got one that cannot be read"),
        (lambda m: m.update(shards=7), "must be of a complete manifest, with shards of name, n and sha256, got 7"),
        (lambda m: m.update(corpus=None), "must be of a corpus with name and hash, got None"),
        (lambda m: m["config"].update(window=4), "window must be odd, at least 3, got 4"),
        (lambda m: m["config"].update(window=17), "window must be odd, in 3..=16"),
        (lambda m: m["config"].update(seed_at=[9, 14]), "seed rectangle must be inside the 16×16 frame"),
        (lambda m: m["shards"][0].update(name=".."), "shard must be the name of a folder inside the run's, got '..'"),
        (lambda m: m["shards"][0]["sha256"].pop("y"), "must have a complete manifest, got one without 'y'"),
    ],
)
def test_a_damaged_manifest_is_refused(stored, edit, message):
    edit_manifest(stored, edit)
    with pytest.raises(ValueError, match=message):
        check(stored)


def test_refusals(stored, digits, colours):
    with pytest.raises(ValueError, match=r"corpus must be the one the samples were made from \('arrays', "):
        verify_run(stored / "run", colours)
    with pytest.raises(ValueError, match="corpus must be one of mnist-5k, mnist, "):
        verify_run(stored / "run")  # made in memory: there is no corpus of that name
    with pytest.raises(FileNotFoundError, match="nowhere"):
        verify_run(stored / "nowhere", digits)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        verify_run(stored / "run", stored / "nowhere")
    bare = npgen.Corpus.from_arrays(digits.images)
    edit_manifest(stored, lambda m: m.update(model="class", corpus={"name": "bare", "hash": bare.hash}))
    with pytest.raises(ValueError, match="corpus must be one with labels, for the model 'class', got 'arrays'"):
        verify_run(stored / "run", bare)
    edit_manifest(stored, lambda m: (m.update(model="texture"), m["config"].update(seed_size=18, size=[20, 20])))
    with pytest.raises(ValueError, match=r"seed_size must be in 1..=16 \(the corpus's images\), got 18"):
        verify_run(stored / "run", bare)


def test_the_command_prints_the_report_and_exits_with_1_if_anything_differs(stored):
    command = ["verify", str(stored / "run"), "--corpus", str(stored / "corpus")]
    result = CliRunner().invoke(app, [*command, "--quiet"])
    assert (result.exit_code, result.stdout) == (0, "4 samples, 1,024 pixels replayed, all equal\n")
    change(stored / "run" / "00000003" / "images.npy", -1)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "sample 3, y 15, x 15: value" in result.stdout
    (stored / "run" / "manifest.json").unlink()
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("npgen: ") and "manifest.json" in result.stderr


def test_ctrl_c_is_one_line(stored, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Verification, "check", interrupt)
    result = CliRunner().invoke(app, ["verify", str(stored / "run"), "--corpus", str(stored / "corpus")])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "npgen: interrupted")


def test_torch_is_not_imported(stored):
    change(stored / "run" / "00000003" / "images.npy", -1)  # generated again, without an encoder
    code = (
        "import sys; from npgen.inspection.verify_run import verify_run; report = verify_run(*sys.argv[1:]); "
        "assert report.different == 1, report; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, stored / "run", stored / "corpus"]).returncode == 0
