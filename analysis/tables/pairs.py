"""Every pair of variants."""

from __future__ import annotations

from analysis import stats
from analysis.stats import Difference
from analysis.tables import text
from analysis.tables.columns import Column, Grid, grid
from analysis.tables.table import Table

Pair = tuple[tuple[str, str], Difference]


def method(table: Table) -> str:
    """Whose intervals: Tukey's, or Games and Howell's where the table has Welch's."""
    return "Games-Howell" if table.comparison.method == "Welch" else "Tukey"


def found(table: Table) -> dict[tuple[str, str], Difference]:
    """(a, b) -> the mean of b minus that of a, with its simultaneous interval."""
    return stats.all_pairs(table.scores, unequal=table.comparison.method == "Welch")


def pairs(table: Table) -> Grid:
    """Every pair with simultaneous intervals."""
    columns: list[Column[Pair]] = [
        Column("pair", "The two variants.", "pair", lambda pair: f"{pair[0][1]} - {pair[0][0]}"),
        Column("n", "Seeds that all variants have.", "n", lambda pair: f"{pair[1].n}"),
        Column("mean", "Percentage points.", "Δ", lambda pair: f"{pair[1].mean:+.2f}"),
        Column(
            "interval",
            "Of the difference, adjusted for the number of pairs.",
            f"95 % ({method(table)})",
            lambda pair: text.interval(pair[1]),
        ),
        Column("p", "Adjusted for the number of pairs.", "p", lambda pair: _p(pair[1])),
    ]
    return grid(columns, found(table).items())


def _p(difference: Difference) -> str:
    return "-" if difference.p is None else f"{difference.p:.3f}"
