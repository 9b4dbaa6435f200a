"""The report: one HTML file."""

from npgen.reports.page import ReportFile, report

__all__ = [
    "ReportFile",
    "report",
]
