"""The effects of a sweep's factors, in sentences and as a table."""

from __future__ import annotations

from analysis.stats import effects
from analysis.stats.effects import Effect, Source
from analysis.tables import text
from analysis.tables.columns import Column, Grid, grid
from analysis.tables.table import Table


def sentences(table: Table) -> list[str]:
    """Trends over an ordered factor, or main effects and interactions of a full grid."""
    trends, sources = effects_of(table)
    lines = []
    for e in trends:
        unit = f"per unit of {_names(table)[0]}"
        if e.name != "linear":
            unit = f"per squared unit of {_names(table)[0]}, beyond the line"
        lines.append(
            f"{e.name.capitalize()} trend: {e.estimate:+.2f} points {unit} "
            f"(95 % {e.low:+.2f} to {e.high:+.2f}, p {text.p_equals(e.p)})."
        )
    for source in sources:
        widest = max(source.effects, key=lambda e: abs(e.estimate))
        lines.append(
            f"{source.name}: F = {source.f:.2f}, p {text.p_equals(source.p)}; "
            f"largest: {widest.name} {widest.estimate:+.2f} "
            f"(95 % {widest.low:+.2f} to {widest.high:+.2f})."
        )
    if lines and table.comparison.method == "Welch":
        lines.append("Trends and effects assume one variance for all variants.")
    return lines


def factors(table: Table) -> Grid:
    """Every level's main effect and every combination's interaction; no lines without a grid."""
    columns: list[Column[tuple[str, Effect]]] = [
        Column("effect", "A factor, or factors that act together.", "effect", lambda e: e[0]),
        Column("level", "The factors' values.", "level", lambda e: e[1].name),
        Column(
            "points",
            "The distance from what lesser effects predict, in percentage points.",
            "points",
            lambda e: f"{e[1].estimate:+.2f}",
        ),
        Column(
            "interval",
            "Adjusted for the number of levels of the effect.",
            "95 % (within the effect)",
            lambda e: f"{e[1].low:+.2f} to {e[1].high:+.2f}",
        ),
        Column("p", "Adjusted in the same way.", "p", lambda e: f"{e[1].p:.3f}"),
    ]
    items = []
    for source in effects_of(table)[1]:
        items += [(source.name, effect) for effect in source.effects]
    return grid(columns, items)


def effects_of(table: Table) -> tuple[list[Effect], list[Source]]:
    """(trends, sources): of the two, a sweep has one at most."""
    names = _names(table)
    cells = {v: cell for v, cell in table.sweep.cells.items() if table.scores.get(v)}
    if len(names) > 1:
        return [], effects.factorial({cell: table.scores[v] for v, cell in cells.items()}, names)
    # a trend needs numbers; True and False are none
    ordered = cells and all(
        isinstance(cell[0], int | float) and not isinstance(cell[0], bool)
        for cell in cells.values()
    )
    if not ordered:
        return [], []
    return effects.trend({v: float(cell[0]) for v, cell in cells.items()}, table.scores), []


def _names(table: Table) -> list[str]:
    return [key.removeprefix("options.") for key in table.sweep.factors]
