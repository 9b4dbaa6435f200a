"""`npgen bench`: the table has every row, and errors come before anything is measured."""

import json
import sys

import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import MODELS
from npgen_bench import libraries, rivals, table, worker


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.mark.parametrize("section", ["scan", "shortlist"])
def test_without_faiss_its_row_says_how_to_install_it(make_task, monkeypatch, section):
    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = worker.measure(make_task(section))
    for row in rows:
        absent = row.who.startswith("FAISS")
        assert (row.seconds is None) is absent
        assert ('not installed (faiss): pip install "npgen[bench]"' in row.remark) is absent
    assert sum(row.seconds is None for row in rows) == 1
    table._compare(rows)
    measured = table.Bench(table._machine(), "corpus", make_task(section).to_json(), rows)
    (line,) = [line for line in measured.markdown().splitlines() if "not installed (faiss)" in line]
    assert "| – | – |" in line


def _rows_of_models():
    for name, model in MODELS.items():
        weights = ", anchor weight 1", ", anchor weight 0.5"
        yield from [name + weight for weight in weights] if model.embedding else [name]


def test_the_table_has_every_row(stored, tmp_path):
    out = tmp_path / "bench.json"
    options = ["--config", tmp_path / "config.json", "--seconds", 0.05, "--batch-size", 2, "--threads", 1, "--out", out]
    result = run(stored, *options)
    assert result.exit_code == 0, result.output
    assert "measuring full, anchor weight 0.5, npgen, 1 thread" in result.stderr
    cells = [line.split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")][1:]
    first = [row[0].removeprefix("| ") for row in cells]
    assert sum(name.startswith("scan") for name in first) == 2 + len(rivals.FORMS)
    assert sum(name.startswith("shortlist") for name in first) == 1 + len(libraries.LIBRARIES)
    for name in _rows_of_models():
        assert first.count(name) == 1
    assert "- Scan: the best of all rivals, " in result.stdout
    saved = json.loads(out.read_text())
    assert len(saved["rows"]) == len(cells)
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
def test_errors_come_before_anything_is_measured(stored, options, message):
    result = run(stored, *options)
    assert result.exit_code == (1 if "--config" in options else 2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("batch_size", 0)])
def test_bad_numbers_are_named(stored, name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        table.run_bench(stored, **{name: value})


def test_the_error_of_a_section_is_passed_on(make_task, tmp_path):
    message = r"local, npgen, 1 thread could not be measured: .*corpus must be .*nowhere"
    with pytest.raises(ChildProcessError, match=message):
        table._in_a_process(make_task("local", tmp_path / "nowhere"))


def test_the_corpus_own_encoder_is_used(mnist_5k, stored, tmp_path):
    assert table._own_encoder(mnist_5k) == "auto"
    assert table._own_encoder(npgen.load_corpus(stored)) == "pixels"
    (stored / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"encoder\.safetensors"):
        table._own_encoder(npgen.load_corpus(stored))
