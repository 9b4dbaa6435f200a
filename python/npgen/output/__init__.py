"""Arrays and rows become pictures, plots and tables."""

from npgen.output.notebook import sample_maps, sample_sheets, samples_html, samples_png
from npgen.output.pictures import (
    GAP,
    class_colours,
    enlarged,
    grid,
    image_colours,
    labelled_rows,
    png_bytes,
    save_png,
    side_by_side,
    stacked,
)
from npgen.output.provenance import KEY, provenance_text, read_provenance
from npgen.output.style import COLOURS, GREY, MARKERS, STYLE, WIDTH, interval_bars, save_figure
from npgen.output.tables import Column, Row, csv_table, markdown_table, number, quality_columns

__all__ = [
    "COLOURS",
    "GAP",
    "GREY",
    "KEY",
    "MARKERS",
    "STYLE",
    "WIDTH",
    "Column",
    "Row",
    "class_colours",
    "csv_table",
    "enlarged",
    "grid",
    "image_colours",
    "interval_bars",
    "labelled_rows",
    "markdown_table",
    "number",
    "png_bytes",
    "provenance_text",
    "quality_columns",
    "read_provenance",
    "sample_maps",
    "sample_sheets",
    "samples_html",
    "samples_png",
    "save_figure",
    "save_png",
    "side_by_side",
    "stacked",
]
