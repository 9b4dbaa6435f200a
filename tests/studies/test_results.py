"""Results of studies as files, and rows that are stored one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from npgen.output import Column, Row, number
from npgen.studies.measures import mean_cells
from npgen.studies.results import StudyResult
from npgen.studies.rows import check_row, row_file, write_row


@dataclass(frozen=True)
class Heights(StudyResult):
    FORMAT: ClassVar[str] = "heights"
    VERSION: ClassVar[int] = 3

    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def columns(self):
        return [Column("name", lambda row: row["name"]), number("height", "height", ".1f")]


RESULT = Heights(({"name": "a", "height": 1.25}, {"name": "b", "height": 2}), ("In metres.",))


def test_tables_are_written_into_the_claimed_folder(tmp_path):
    folder = tmp_path / "new" / "out"
    Heights.claim(folder)
    assert json.loads((folder / "results.json").read_text()) == {"format": "heights", "version": 3}
    RESULT.save(folder)
    table = "| name | height |\n| --- | --: |\n| a | 1.2 |\n| b | 2.0 |\n\n- In metres.\n"
    assert (folder / "table.md").read_text() == table == RESULT.markdown() + "\n"
    assert (folder / "results.csv").read_text() == "name,height\na,1.25\nb,2\n"
    assert json.loads((folder / "results.json").read_text()) == RESULT.to_json() | {
        "rows": list(RESULT.rows),
        "notes": list(RESULT.notes),
    }
    Heights.claim(folder)  # of an earlier call
    assert (folder / "table.md").exists()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": "weights", "version": 3}, "out must be a folder of format 'heights', or a new one, got 'weights'"),
        ({"format": "heights", "version": 2}, "out must be of format version 3, or a new folder, got 2"),
    ],
)
def test_folders_of_other_studies_are_refused(tmp_path, facts, message):
    (tmp_path / "results.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=message):
        Heights.claim(tmp_path)


def test_folders_of_other_files_are_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="out must be a new folder or one of an earlier call, got"):
        Heights.claim(tmp_path)


def test_rows_are_named_by_the_facts_that_decide_them(tmp_path):
    file = row_file(tmp_path, {"a": 1, "b": [2]})
    assert file == row_file(tmp_path, {"b": [2], "a": 1}) != row_file(tmp_path, {"a": 1, "b": [3]})
    write_row(file, {"height": 1})
    assert check_row(file, json.loads(file.read_text()), {"height"}) == {"height": 1}
    for row in ({"width": 1}, None, [1]):
        with pytest.raises(ValueError, match="must be as it was written .delete it to have it made again., got"):
            check_row(file, row, {"height"})


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(5, 2, 100)
    cells = mean_cells("x", values)
    assert cells["x"] == values.mean()
    for bound, sign in (("x_low", -1), ("x_high", 1)):
        assert cells[bound] == pytest.approx(values.mean() + sign * 1.96 * values.std(ddof=1) / 10)
