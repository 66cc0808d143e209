"""A report for programs: the answer and every figure behind it, as one value with a schema.

`python -m analysis.report SWEEP --json` prints it; runners/schemas/report-1.json describes it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from analysis import stats, tables
from analysis.answer import answer
from analysis.stats import Difference, Retention, Summary
from analysis.tables import Row, Table, retention
from analysis.tables.conditions import Conditions
from runners.store import Record

SCHEMA = "scconv-sweeps/report/1"


@dataclass(frozen=True)
class TrialFigures:
    """A finished trial: its id, its score on the test set, its evidence."""

    id: str
    seed: int
    score: float
    attempts: int
    commit: str
    device: str


@dataclass(frozen=True)
class ConditionFigures:
    """A variant under one condition of `evaluate`.

    Attributes:
        score: top-1 on the test set under the condition, in per cent, over seeds.
        p: that it is as the baseline under that condition; over all variants and conditions. None
            of the baseline itself, and where it cannot be judged.
        untrained: parameters that the condition rests on and no training image reached.
    """

    name: str
    score: Summary
    p: float | None
    untrained: list[str]


@dataclass(frozen=True)
class VariantFigures:
    """One variant over its seeds.

    Attributes:
        n: finished trials, of `planned`.
        missing: why a trial has no result -> how many.
        score: the measure; None before a trial has finished.
        difference: to the baseline, in percentage points, with its verdict; None of the baseline
            itself, and while it cannot be judged.
        conditions: of the trials that were evaluated under all of them.
        kept: the part of the baseline's accuracy that is kept, where the sweep asks for it.
        costs: name -> mean over the trials.
        paper: what the paper printed for it; empty where there is nothing.
    """

    variant: str
    n: int
    planned: int
    missing: dict[str, int]
    score: Summary | None
    difference: Difference | None
    kept: Retention | None
    costs: dict[str, float]
    paper: dict[str, Any]
    trials: list[TrialFigures]
    conditions: list[ConditionFigures] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """A sweep's answer.

    Attributes:
        sweep: the name of its results; `question` and `answer` are sentences.
        primary: the name of a trial's score, in per cent.
        measure: what is compared: `primary`, or a figure over conditions such as mean_top1.
        looks: the seeds at each look, where they grow until the comparisons are decided; the
            intervals hold over all of them.
        finished: trials, of `planned`.
        method: of the simultaneous intervals: "Dunnett" or "Welch"; empty while there are none,
            for the reason `why`.
        detectable: the true difference in points that this design shows with 80 % power.
        screening: whether the seeds are too few for more than a screening.
        notes: methods, data, device, code; a sentence each.
    """

    sweep: str
    question: str
    answer: str
    baseline: str
    primary: str
    finished: int
    planned: int
    seeds: list[int]
    overrides: list[str]
    margin_pp: float | None
    at_least: float | None
    method: str
    why: str
    detectable: float | None
    screening: bool
    variants: list[VariantFigures]
    measure: str = ""
    looks: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    schema: Literal["scconv-sweeps/report/1"] = SCHEMA


def report_of(table: Table) -> Report:
    """The table as one value."""
    sweep, found = table.sweep, table.comparison
    kept, under = retention.retained(table), Conditions(table)
    return Report(
        sweep=sweep.label,
        question=sweep.question,
        answer=answer(table),
        baseline=sweep.baseline,
        primary=table.primary,
        finished=len(table.records),
        planned=table.planned_trials,
        seeds=[*sweep.seeds[: max(map(sweep.seeds_of, sweep.variants))]],
        overrides=[*sweep.overrides],
        margin_pp=sweep.margin_pp,
        at_least=sweep.at_least,
        method=found.method,
        why=found.why,
        detectable=found.detectable,
        screening=table.seeds < stats.SCREENING,
        variants=[_variant(row, kept.get(row.variant), under) for row in table.rows],
        measure=table.measure.name,
        looks=[*found.looks],
        notes=tables.footer(table),
    )


def _conditions(variant: str, under: Conditions) -> list[ConditionFigures]:
    if variant not in under.variants:
        return []
    return [
        ConditionFigures(
            name,
            under.summary(variant, lambda scores, name=name: scores[name].top1),
            under.p.get((name, variant)),
            under.untrained(variant, name),
        )
        for name in under.table.conditions
    ]


def _variant(row: Row, kept: Retention | None, under: Conditions) -> VariantFigures:
    costs = {}
    for name in row.result.costs if row.result else ():
        mean = row.mean(name)
        if mean is not None:
            costs[name] = mean
    printed = asdict(row.printed) if row.printed else {}
    return VariantFigures(
        variant=row.variant,
        n=len(row.records),
        planned=row.planned,
        missing={reason: n for reason, n in row.missing.items() if n},
        score=row.score,
        difference=row.difference,
        kept=kept,
        costs=costs,
        paper=printed,
        trials=[_trial(record) for record in row.records],
        conditions=_conditions(row.variant, under),
    )


def _trial(record: Record) -> TrialFigures:
    assert record.result
    return TrialFigures(
        id=record.id,
        seed=record.seed,
        score=record.result.score,
        attempts=int(record.provenance.get("attempts", 1)),
        commit=str(record.provenance["commit"]),
        device=str(record.provenance["device"]),
    )
