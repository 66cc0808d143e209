"""Forest plots beside the answer's own: every pair of variants, the effects of the factors, and the
variants under every condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from analysis.figures.drawing import colours, style
from analysis.figures.forest import Line, draw
from analysis.stats import Difference
from analysis.stats.conditions import over_conditions
from analysis.stats.effects import Effect
from analysis.tables import Table, factors
from analysis.tables import pairs as all_pairs
from analysis.tables.conditions import Conditions
from analysis.tables.text import p_equals, quoted

MOST = 40  # lines that a figure has room for
COLOUR = "0.25"


def pairs(table: Table) -> Figure:
    """The difference of every pair of variants, in percentage points, with Tukey's intervals."""
    found = []
    for (a, b), difference in all_pairs.found(table).items():
        found.append((f"{b} - {a}", difference))
    kept, note = _fewer(found, [_p(d) for _, d in found])
    lines = [_line(name, d.mean, d.low, d.high, d.p) for name, d in kept]
    return _figure(lines, table, f"difference (percentage points){note}", all_pairs.method(table))


def effects(table: Table) -> Figure:
    """Main effects and interactions of a full grid, in percentage points."""
    found: list[tuple[str, Effect]] = []
    for source in factors.effects_of(table)[1]:
        found += [(effect.name, effect) for effect in source.effects]
    kept, note = _fewer(found, [effect.p for _, effect in found])
    lines = [_line(name, e.estimate, e.low, e.high, e.p) for name, e in kept]
    what = f"distance from what lesser effects predict (percentage points){note}"
    return _figure(lines, table, what, "within each effect")


def conditions(found: Conditions) -> Figure:
    """Each variant's difference to the baseline under each condition, in percentage points.

    The intervals are simultaneous within a condition; p are over all conditions, too.
    """
    table, lines = found.table, []
    colour = dict(zip((r.variant for r in table.rows), colours(table, table.rows), strict=True))
    every = []
    for name, compared in over_conditions(found.figures, table.sweep.baseline)[0].items():
        every += [(name, variant, d) for variant, d in compared.differences.items()]
    kept, note = _fewer(every, [found.p.get((name, variant), 1.0) for name, variant, _ in every])
    for name, variant, d in kept:
        p = found.p.get((name, variant))
        line = _line(f"{name}: {variant}", d.mean, d.low, d.high, p)
        lines.append(replace(line, colour=colour[variant]))
    what = f"top-1 minus that of {quoted(table.sweep.baseline)} (percentage points){note}"
    return _figure(lines, table, what, "Dunnett, within each condition; p by Holm over them")


def _figure(lines: list[Line], table: Table, what: str, method: str) -> Figure:
    with style():
        figure, axes = draw(lines, table.sweep.question)
        axes.axvline(0, color="black", linewidth=1, zorder=1)
        axes.set_xlabel(f"{what}\n95 % intervals ({method}), {table.span}")
        return figure


def _line(name: str, mean: float, low: float | None, high: float | None, p: float | None) -> Line:
    said = f"{mean:+.2f}"
    if low is not None and high is not None:
        said += f"  ({low:+.2f} to {high:+.2f})"
    said += f"  p {p_equals(p)}" if p is not None else ""
    return Line(name, COLOUR, mean, low, high, said, [])


def _fewer(found: list, ps: Sequence[float]) -> tuple[list, str]:
    """At most MOST of them, in their order: those with the smallest p; and a note of the others."""
    if len(found) <= MOST:
        return found, ""
    ranked = sorted(range(len(found)), key=lambda i: ps[i])[:MOST]
    return [found[i] for i in sorted(ranked)], f"; the {MOST} of {len(found)} with the smallest p"


def _p(difference: Difference) -> float:
    return 1.0 if difference.p is None else difference.p
