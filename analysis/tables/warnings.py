"""What makes a comparison weaker than it looks: several differences at once, training cut short."""

from __future__ import annotations

import statistics

from analysis.tables.conditions import Conditions
from analysis.tables.table import Row, Table
from analysis.tables.text import listed, quoted
from runners.plan import Config
from runners.plan.kinds import KINDS
from runners.store import Record

GAIN_PP = 0.5  # over the last tenth of the epochs; less is taken for converged
BESIDE = ("test", "data", "compile_version")


def several_differences(table: Table) -> list[str]:
    """A line for each variant that differs from the baseline in more than one setting."""
    sweep = table.sweep
    base = sweep.variants.get(sweep.baseline)
    if base is None:
        return []
    under, lines = Conditions(table), []
    for variant, config in sweep.variants.items():
        found = _differing(base, config)
        if under.fill(variant) != under.fill(sweep.baseline):
            found.append("fill")
        if len(found) > 1:
            lines.append(
                f"{quoted(variant)} differs from {quoted(sweep.baseline)} in {listed(found)}: its "
                "difference is that of all of them together."
            )
    return lines


def one_training(table: Table) -> list[str]:
    """A line for the variants that are one training, evaluated in several ways."""
    by: dict[str, list[str]] = {}
    for variant, config in table.sweep.variants.items():
        by.setdefault(config.canonical, []).append(quoted(variant))
    return [
        f"{listed(names)} are one training that was evaluated "
        f"{len(names)} times: their errors go together, which the model of the differences does "
        "not know."
        for names in by.values()
        if len(names) > 1
    ]


def _differing(base: Config, config: Config) -> list[str]:
    """The settings in which two configs differ; options go with what they are of."""
    ours, theirs = config.plain(), base.plain()
    apart = {kind.key: kind for kind in KINDS}
    dropped = {*BESIDE, *(k.digest for k in KINDS), *(k.version for k in KINDS)}
    for kind in apart.values():
        if ours[kind.key] != theirs[kind.key]:
            dropped.add(kind.options)
    return [key for key in ours if key not in dropped and ours[key] != theirs[key]]


def not_converged(table: Table) -> list[str]:
    """A line for the variants that were still gaining when their training ended."""
    gaining = []
    for row in table.rows:
        if (gain := _gain(row)) is not None and gain > GAIN_PP:
            gaining.append(f"{quoted(row.variant)} ({gain:+.1f})")
    if not gaining:
        return []
    return [
        f"Not converged: {listed(gaining)} points over the last tenth of the epochs, in every "
        "seed; with more epochs the differences may be others."
    ]


def _gain(row: Row) -> float | None:
    """The mean gain over the last tenth of the epochs; None unless every seed gained."""
    gains = []
    for record in row.records:
        gain = _of(record)
        if gain is not None and gain <= 0:
            return None
        if gain is not None:
            gains.append(gain)
    return statistics.fmean(gains) if gains else None


def _of(record: Record) -> float | None:
    """Of one trial: its last tenth of the epochs against the tenth before."""
    tenth = max(1, round(record.trained / 10))
    if record.trained < 2 * tenth:
        return None
    last = record.last_epochs(2 * tenth)
    scores = [e.train_score if e.val_score is None else e.val_score for e in last]
    return statistics.fmean(scores[tenth:]) - statistics.fmean(scores[:tenth])
