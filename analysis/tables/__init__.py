"""A sweep's finished trials as a table, in every format that is written."""

from analysis.tables.table import (
    Row,
    Table,
    comparison,
    correct,
    cost,
    latex,
    markdown,
    read,
    to_csv,
)

__all__ = [
    "Row",
    "Table",
    "comparison",
    "correct",
    "cost",
    "latex",
    "markdown",
    "read",
    "to_csv",
]
