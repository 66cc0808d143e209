"""A sweep's finished trials as tables, in every format that is written; knows no page or figure."""

from functools import lru_cache

from analysis.tables import conditions, factors, search, warnings
from analysis.tables.columns import Column, Grid
from analysis.tables.footer import footer
from analysis.tables.formats import markdown
from analysis.tables.latex import latex
from analysis.tables.table import Row, Table, read
from analysis.tables.variants import chosen, comparison, cost, paper, statistics, to_csv


def notes(table: Table) -> list[str]:
    """What a table rests on, and what it does not say, a sentence a line."""
    return [*_notes(table)]


@lru_cache(4)
def _notes(table: Table) -> tuple[str, ...]:
    """Kept, since text, Markdown and page have the same."""
    lines = [*footer(table), *warnings.several_differences(table), *warnings.one_training(table)]
    lines += warnings.not_converged(table)
    lines += [*factors.sentences(table), *search.sentences(table)]
    if "conditions" in table.sweep.report:
        lines += conditions.notes(conditions.Conditions(table))
    return tuple(lines)


def under_conditions(table: Table) -> Grid | None:
    """The variants under every condition; None where the report has no such part."""
    if "conditions" not in table.sweep.report:
        return None
    return conditions.grid_of(conditions.Conditions(table))


__all__ = [
    "Column",
    "Grid",
    "Row",
    "Table",
    "chosen",
    "comparison",
    "cost",
    "footer",
    "latex",
    "markdown",
    "notes",
    "paper",
    "read",
    "statistics",
    "to_csv",
    "under_conditions",
]
