"""Arrays and rows become pictures, plots and tables."""

from npgen.output.notebook import sample_maps, sample_sheets, samples_html, samples_png
from npgen.output.pictures import (
    GAP,
    class_colours,
    colours_of_classes,
    enlarged,
    fitting,
    grid,
    image_colours,
    labelled_rows,
    png_bytes,
    save_png,
    side_by_side,
    stacked,
)
from npgen.output.provenance import KEY, provenance_text, read_provenance
from npgen.output.style import (
    COLOURS,
    GREY,
    MARKERS,
    STYLE,
    WIDTH,
    figure_bytes,
    interval_bars,
    own_style,
    save_figure,
)
from npgen.output.tables import Column, Row, csv_table, markdown_table, number, quality_columns
from npgen.output.text import readable

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
    "colours_of_classes",
    "csv_table",
    "enlarged",
    "figure_bytes",
    "fitting",
    "grid",
    "image_colours",
    "interval_bars",
    "labelled_rows",
    "markdown_table",
    "number",
    "own_style",
    "png_bytes",
    "provenance_text",
    "quality_columns",
    "read_provenance",
    "readable",
    "sample_maps",
    "sample_sheets",
    "samples_html",
    "samples_png",
    "save_figure",
    "save_png",
    "side_by_side",
    "stacked",
]
