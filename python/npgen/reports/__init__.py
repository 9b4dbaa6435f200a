"""The report: one HTML file in which every pixel can be traced to its source.

Read `pools` (candidate pools of samples), `packing` (arrays and images as text), `data` (all data of a page), then
`page`, which renders `template.html` with `report.css` and the scripts in `js`.
"""

from npgen.reports.page import ReportFile, report

__all__ = [
    "ReportFile",
    "report",
]
