"""The report: charts and the page that says what a build made and how good it is."""

from groundup.report.page import write_report

__all__ = ["write_report"]
