"""Part–whole tables: one row per sample, and the means of the run with quantiles."""

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app

FAST = npgen.Config(window=5, shortlist=20, seed_size=4)


@pytest.fixture
def stored(digits, tmp_path):
    corpus = digits.save(tmp_path / "corpus")
    npgen.generate(corpus, 5, "local", FAST, 2, progress=False).save(tmp_path / "run")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["partwhole", *map(str, arguments)])


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_a_table_of_samples_and_one_of_the_run(stored, digits):
    result = run(stored / "run", "--corpus", stored / "corpus")
    assert result.exit_code == 0, result.output
    found = npgen.part_whole(npgen.load_samples(stored / "run"), digits)
    rows = rows_of(stored / "run" / "partwhole.csv")
    assert list(rows[0]) == ["sample", *found.summary()]
    assert [int(row["sample"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [float(row["part_whole"]) for row in rows] == found.part_whole.tolist()
    assert [int(row["regions"]) for row in rows] == found.regions_per_sample.tolist()
    for key in set(found.summary()) - {"sources_per_region"}:  # a median over all pixels
        assert np.mean([float(row[key]) for row in rows]) == pytest.approx(found.summary()[key])
    low, median, high = np.quantile(found.class_purity, [0.05, 0.5, 0.95])
    purity = f"| class purity | {found.summary()['class_purity']:.1%} | {low:.1%} | {median:.1%} | {high:.1%} |"
    lines = result.stdout.splitlines()
    assert lines[0] == "|  | run | 5 % of samples below | median | 5 % above |"
    assert purity in lines
    assert lines[-1] == str(stored / "run" / "partwhole.csv")


def test_another_file_and_window(stored, digits):
    out = stored / "table.csv"
    result = run(stored / "run", "--corpus", stored / "corpus", "--out", out, "--window", 1)
    assert result.exit_code == 0, result.output
    assert [float(row["class_purity"]) for row in rows_of(out)] == [1] * 5  # by definition
    assert not (stored / "run" / "partwhole.csv").exists()


def test_errors_are_one_line(stored, digits):
    bare = npgen.Corpus.from_arrays(digits.images).save(stored / "bare")
    npgen.generate(bare, 1, "local", FAST, progress=False).save(stored / "plain")
    for arguments, status, message in [
        ((stored / "plain", "--corpus", stored / "bare"), 2, "corpus must be one with labels, got"),
        ((stored / "run", "--corpus", stored / "bare"), 2, "corpus must be the one the samples were made from"),
        ((stored / "run", "--corpus", stored / "corpus", "--window", 4), 2, "window must be odd, at least 1, got 4"),
        ((stored / "nowhere",), 1, "nowhere"),
    ]:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (status, "")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert not list((stored / "plain").glob("*.csv"))


def test_torch_is_not_imported(stored):
    code = "import sys; from npgen.cli import app; app(standalone_mode=False); sys.exit('torch' in sys.modules)"
    command = ["partwhole", stored / "run", "--corpus", stored / "corpus"]
    assert subprocess.run([sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL).returncode == 0
