"""The result of a study as files: tables in Markdown, CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from npgen.errors import invalid
from npgen.output import Column, Row, csv_table, markdown_table
from npgen.storage import read_json, write_bytes, write_json


class StudyResult:
    """Tables of a study; a base class of dataclasses that have at least these attributes.

    Attributes
    ----------
    rows
        Rows of the table: JSON-able values by name.
    notes
        Sentences below the table that explain it.
    FORMAT, VERSION
        Format of the folder, noted in `results.json`.
    CSV
        Name of the CSV file.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    FORMAT: ClassVar[str]
    VERSION: ClassVar[int]
    CSV: ClassVar[str] = "results.csv"

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        raise NotImplementedError

    def labels(self) -> int:
        """Return the number of leftmost columns that hold text."""
        return 1

    def markdown_rows(self) -> Sequence[Row]:
        """Return the rows of the Markdown table."""
        return self.rows

    def csv_rows(self) -> Sequence[Row]:
        """Return the rows of the CSV file."""
        return self.rows

    def markdown(self) -> str:
        """Return the rows as a Markdown table, with the notes below."""
        table = markdown_table(self.columns(), self.markdown_rows(), self.labels())
        return "\n".join([table, "", *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        assert dataclasses.is_dataclass(self)
        return {"format": self.FORMAT, "version": self.VERSION, **dataclasses.asdict(self)}

    def save(self, folder: Path) -> None:
        """Write `table.md`, the CSV file and `results.json` into a claimed folder."""
        write_bytes(folder / "table.md", f"{self.markdown()}\n".encode())
        write_bytes(folder / self.CSV, csv_table(self.csv_rows()))
        write_json(folder / "results.json", self.to_json())

    @classmethod
    def claim(cls, folder: Path) -> None:
        """Make the folder of a study; a folder of an earlier call of the same study is left as it is.

        Raises
        ------
        FileExistsError
            If the folder holds other files.
        ValueError
            If it is the folder of another study, or of another format version.
        """
        marker = folder / "results.json"
        if marker.exists():
            facts = read_json(marker)
            if facts.get("format") != cls.FORMAT:
                raise invalid("out", f"a folder of format {cls.FORMAT!r}, or a new one", facts.get("format"))
            if facts.get("version") != cls.VERSION:
                raise invalid("out", f"of format version {cls.VERSION}, or a new folder", facts.get("version"))
            return
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"out must be a new folder or one of an earlier call, got {str(folder)!r}")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, {"format": cls.FORMAT, "version": cls.VERSION})  # replaced by `save`
