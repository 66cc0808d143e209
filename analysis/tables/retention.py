"""Which variants keep the part of the baseline's accuracy that the sweep asks for (`at_least`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis import stats
from analysis.stats import Retention
from analysis.tables.columns import Column, Grid, grid
from analysis.tables.table import Table
from analysis.tables.text import listed, p_value, quoted, upper

# verdict, of one variant, of several
WORDS = (
    ("keeps", "{} keeps {}", "{} keep {}"),
    ("does not keep", "{} does not keep {}", "{} do not keep {}"),
    ("open", "whether {} keeps {} is open", "whether {} keep {} is open"),
)
Kept = tuple[str, Retention]


def retained(table: Table) -> dict[str, Retention]:
    """Variant -> what it keeps; empty where the sweep does not ask, or nothing can be judged."""
    if table.sweep.at_least is None:
        return {}
    judge, baseline = table.measure.right, table.sweep.baseline
    base = {r.seed: judge(baseline, r) for r in table.of(baseline)}
    right = {}
    for row in table.rows:
        mine = {r.seed: judge(row.variant, r) for r in row.records if r.seed in base}
        if mine and row.variant != table.sweep.baseline:
            ours = np.stack([*mine.values()])
            right[row.variant] = ours, np.stack([base[seed] for seed in mine])
    return stats.retention(right, table.sweep.at_least)


def grid_of(table: Table) -> Grid:
    """A line per variant that could be judged."""
    base = table.sweep.baseline
    columns = [
        _column("variant", "The variant's name.", "variant", lambda kept: kept[0]),
        _column("n", "Seeds that it and the baseline have.", "n", lambda kept: f"{kept[1].seeds}"),
        _column("ratio", f"Its mean accuracy, as a part of {base}'s.", "ratio", _ratio),
        _column(
            "interval",
            "Fieller's interval of the ratio.",
            "95 % (Fieller)",
            lambda kept: interval(kept[1]),
        ),
        _column(
            "contrast",
            "How much it is above the part that is asked for: mean and standard error, in points.",
            "above ± se",
            lambda kept: f"{kept[1].contrast:+.2f} ± {kept[1].error:.2f}",
        ),
        _column(
            "p",
            "One-sided, that the part is not kept; by Holm over the variants.",
            "p",
            lambda kept: p_value(kept[1].p),
        ),
        _column("verdict", "At one-sided 95 %.", "verdict", lambda kept: kept[1].verdict),
        _column(
            "shown",
            f"The ratio that this design shows with 80 % power for a variant as good as {base}.",
            "could show",
            lambda kept: f"{kept[1].shown:.3f}",
        ),
    ]
    return grid(columns, retained(table).items())


def asked(table: Table) -> str:
    """What is to be kept: "90 % of R34's accuracy"."""
    of = "accuracy" if table.measure.usual else table.measure.label
    return f"{100 * (table.sweep.at_least or 0):g} % of {quoted(table.sweep.baseline)}'s {of}"


def sentence(table: Table) -> str:
    """The verdicts in a sentence; empty where there is none."""
    found = retained(table)
    part = asked(table)
    clauses = []
    for verdict, one, several in WORDS:
        judged = [(quoted(v), kept) for v, kept in found.items() if kept.verdict == verdict]
        names = [f"{name} ({kept.ratio:.3f})" for name, kept in judged]
        if names:
            said = one if len(names) == 1 else several
            clauses.append(said.format(listed(names), part))
    alone = found and all(kept.seeds == 1 for kept in found.values())
    limit = ": one seed, so for other test images alone" if alone else ""
    # a name keeps its letters, also at the beginning
    text = "; ".join(clauses)
    text = upper(text) if text.startswith("whether ") else text
    return f"{text} (one-sided 95 %, Holm{limit})." if text else ""


def _column(key: str, means: str, header: str, text: Callable[[Kept], str]) -> Column[Kept]:
    return Column(key, means, header, text)


def _ratio(kept: Kept) -> str:
    return f"{kept[1].ratio:.3f}"


def interval(kept: Retention) -> str:
    """Of the ratio."""
    low = "0" if kept.low is None else f"{kept.low:.3f}"
    return f"{low} to {'∞' if kept.high is None else f'{kept.high:.3f}'}"
