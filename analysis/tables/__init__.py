"""A sweep's finished trials as tables, in every format that is written; knows no page or figure."""

from analysis.tables.columns import Column, Grid
from analysis.tables.footer import footer
from analysis.tables.formats import latex, markdown
from analysis.tables.table import Row, Table, read
from analysis.tables.variants import comparison, cost, paper, statistics, to_csv

__all__ = [
    "Column",
    "Grid",
    "Row",
    "Table",
    "comparison",
    "cost",
    "footer",
    "latex",
    "markdown",
    "paper",
    "read",
    "statistics",
    "to_csv",
]
