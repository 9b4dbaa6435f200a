"""The benchmark: everybody does the same work and is held to it, and the table has every row."""

import json
import sys

import numpy as np
import pytest
import reference
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import MODELS
from npgen_bench import rivals as bench_rivals
from npgen_bench import scan as bench_scan
from npgen_bench import table as bench
from npgen_bench import task as bench_task
from npgen_bench import worker as bench_worker

SMALL = {"window": 5, "shortlist": 20, "seed_size": 4}


def has_faiss():
    try:
        bench_rivals._load_faiss()
    except ModuleNotFoundError:
        return False
    return True


FORMS = [form for form in bench_rivals.FORMS if form.library != "FAISS" or has_faiss()]
LIBRARIES = [name for name in bench_rivals.LIBRARIES if name != "FAISS" or has_faiss()]


@pytest.fixture
def stored(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    return tmp_path / "corpus"


@pytest.fixture(autouse=True)
def torch_threads():
    """The benchmark sets torch's number of threads, for its own process."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scan():
    corpus = bench_scan.synthetic_corpus(count=310)
    scene = bench_scan.find_scene(corpus, npgen.load_encoder("pixels", corpus), threads=1)
    return bench_scan._Scan(scene)


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def task(corpus, section="scan", **changes):
    values = {"encoder": "pixels", "config": npgen.Config(**SMALL), "threads": 1, "seconds": 0.01, "batch_size": 2}
    return bench_task.Task(section, str(corpus), **(values | changes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_all_forms_compute_the_distances_of_the_definition(form, channels):
    random = np.random.default_rng(channels)
    images = random.integers(0, 256, (7, 9, 8, channels), dtype=np.uint8)
    canvas = random.integers(0, 256, (9, 8, channels), dtype=np.uint8)
    config = npgen.Config(window=5, locality=1)
    made = form()
    made.prepare(bench_rivals.extended(images, bench_rivals.margin(config)))
    for pixel in [(4, 4), (0, 0), (8, 3), (2, 7)]:
        known = random.random((9, 8)) < 0.7
        known[pixel] = False
        aim = bench_rivals.take_aim(known, pixel, channels, config)
        made.aim(aim)
        found = made.distances(canvas.reshape(-1)[aim.context].astype(np.float32))
        rows = reference.distances(images, canvas, known, pixel, 5, config.gaussian_sigma, 1)
        expected = np.array([row[0] for row in rows]).reshape(-1, len(images))
        assert aim.sources.tolist() == [list(row[2:]) for row in rows[:: len(images)]]
        np.testing.assert_allclose(found, expected, atol=bench_scan.TOLERANCE[form.exact])


def test_the_scene_is_the_setting(scan):
    assert len(scan.aims) == bench_scan.PIXELS
    assert all(len(aim.sources) * 300 == 7500 and len(aim.context) == 120 for aim in scan.aims)
    assert len(scan.scene.shortlist) == 300


@pytest.mark.parametrize("form", FORMS)
def test_rivals_get_npgens_pool(scan, form):
    made = scan.prepared(form)
    assert len(scan.time_form(made, 1)) == bench_task.VISIT
    assert scan.time_cold(form) > 0


def test_npgen_is_timed_on_the_same_pools(scan):
    for prune in (True, False):
        assert len(scan.time_own(0, prune)) == bench_task.VISIT
    scan.sizes[0] += 1
    with pytest.raises(RuntimeError, match=r"npgen's timed pool must have \d+ members, got \d+"):
        scan.time_own(0, True)
    scan.sizes[0] -= 1


def test_a_rival_with_another_pool_is_refused(scan):
    class Wrong(bench_rivals.FORMS[0]):
        def distances(self, context):
            return -super().distances(context)

    with pytest.raises(RuntimeError, match=r"the pool of NumPy \(windows\) is not npgen's"):
        scan.prepared(Wrong)


@pytest.mark.parametrize(
    ("near", "sources", "right"),
    [
        ([1, 0], [1, 0], True),
        ([0, 1], [0, 1], True),
        ([1], [1], False),  # 0 is missing
        ([1, 0, 2], [1, 0, 0], False),  # 2 is too far
        ([1, 0], [0, 0], False),  # not the best of image 1
        ([1, 0, 0], [1, 0, 0], False),
        ([], [], False),
    ],
)
def test_what_counts_as_the_same_pool(near, sources, right):
    distances = np.array([[10.4, 12.0, 11.4], [20.0, 10.0, 30.0]])
    assert bench_scan.agrees(distances, np.array(near, int), np.array(sources, int), 0.01) is right


def test_a_pool_may_differ_where_rounding_decides():
    distances = np.array([[10.0, 11.001]])
    for near in ([0], [0, 1]):
        assert bench_scan.agrees(distances, np.array(near), np.zeros(len(near), int), 0.01)


@pytest.mark.parametrize("library", LIBRARIES)
def test_rivals_get_npgens_shortlist(library):
    random = np.random.default_rng(0)
    keys, queries = (random.standard_normal((n, 16)).astype(np.float32) for n in (200, 5))
    expected = np.argsort(-(queries @ keys.T), axis=1)[:, :9]
    bench_rivals.use_threads(library, 1)
    found = bench_rivals.shortlist_form(library, keys, 9)(queries)
    np.testing.assert_array_equal(found, expected)
    assert bench_worker.same_ids(keys, queries, expected, found)
    farther = np.argsort(queries @ keys.T, axis=1)[:, :1]
    assert not bench_worker.same_ids(keys, queries, expected, np.concatenate([found[:, 1:], farther], 1))
    assert not bench_worker.same_ids(keys, queries, expected, found[:, [0, 0, *range(2, 9)]])


@pytest.mark.parametrize("section", ["scan", "shortlist"])
def test_without_faiss_its_row_says_so(stored, monkeypatch, section):
    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = bench_worker.measure(task(stored, section))
    for row in rows:
        absent = row.who.startswith("FAISS")
        assert (row.seconds is None) is absent
        assert ('not installed (faiss): pip install "npgen[bench]"' in row.remark) is absent
    assert sum(row.seconds is None for row in rows) == 1
    bench._compare(rows)
    measured = bench.Bench(bench._machine(), "corpus", task(stored).to_json(), rows)
    (line,) = [line for line in measured.markdown().splitlines() if "not installed (faiss)" in line]
    assert "| – | – |" in line


def _rows_of_models():
    for name, model in MODELS.items():
        weights = ", anchor weight 1", ", anchor weight 0.5"
        yield from [name + weight for weight in weights] if model.semantics == "embedding" else [name]


def test_the_table_has_every_row(stored, tmp_path):
    out = tmp_path / "bench.json"
    options = ["--config", tmp_path / "config.json", "--seconds", 0.05, "--batch-size", 2, "--threads", 1, "--out", out]
    result = run(stored, *options)
    assert result.exit_code == 0, result.output
    assert "measuring full, anchor weight 0.5, everybody, 1 thread" in result.stderr
    table = [line.split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")][1:]
    first = [row[0].removeprefix("| ") for row in table]
    assert sum(name.startswith("scan") for name in first) == 2 + len(bench_rivals.FORMS)
    assert sum(name.startswith("shortlist") for name in first) == 1 + len(bench_rivals.LIBRARIES)
    for name in _rows_of_models():
        assert first.count(name) == 1
    assert "- Scan: the best of all rivals, " in result.stdout
    saved = json.loads(out.read_text())
    assert len(saved["rows"]) == len(table)
    assert saved["machine"]["instruction_set"] in saved["machine"]["instruction_sets"]
    for row in saved["rows"]:
        assert row["peak"] > 1e6
        if row["unit"] == "sample":
            assert row["pixels"] == 16 * 16 - 4 * 4
            compares = not row["what"].startswith("semantic")
            assert (row["skipped"] is not None and 0 <= row["skipped"] < 1) == compares
            assert (row["terms"] > 0) == compares


def test_threads_are_compared(stored, tmp_path):
    options = ["--config", tmp_path / "config.json", "--seconds", 0.05, "--batch-size", 2, "--threads", 2, "-q"]
    result = run(stored, *options, "--only", "local")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    one, two = (line.split(" | ") for line in result.stdout.splitlines() if line.startswith("| local"))
    assert (one[2], two[2]) == ("1", "2")
    assert one[8] == "–"
    assert float(two[8]) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "speed"], "only must be one of 'scan', 'shortlist', 'full', 'local'"),
        (["--seconds", "0"], "seconds must be a positive number, got 0.0"),
        (["--seconds", "nan"], "seconds must be a positive number, got nan"),
        (["--shortlist", "60"], "shortlist must be in 1..=59"),
        (["--encoder", "resnet"], "encoder must be one of"),
        (["--config", "nowhere.json"], "nowhere.json"),
    ],
)
def test_complaints_come_before_anything_is_measured(stored, options, message):
    result = run(stored, *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("batch_size", 0)])
def test_bad_numbers_are_named(stored, name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        bench.run_bench(stored, **{name: value})


def test_a_section_that_fails_says_why(tmp_path):
    message = r"local, everybody, 1 thread could not be measured: .*corpus must be .*nowhere"
    with pytest.raises(ChildProcessError, match=message):
        bench._in_a_process(task(tmp_path / "nowhere", "local"))


def test_an_encoder_of_its_own_is_used(mnist_5k, stored, tmp_path):
    assert bench._own_encoder(mnist_5k) == "auto"
    assert bench._own_encoder(npgen.load_corpus(stored)) == "pixels"
    (stored / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"encoder\.safetensors"):
        bench._own_encoder(npgen.load_corpus(stored))
