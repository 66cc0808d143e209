"""Variants under conditions: their accuracies, which of them differ, and what was never trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from analysis import stats
from analysis.stats import Summary
from analysis.stats.conditions import guessing, over_conditions
from analysis.tables import text
from analysis.tables.columns import Column, Grid, csv_text, grid
from analysis.tables.measure import Measure
from analysis.tables.table import Table
from runners.store.evaluation import Scores, measured

DIFFERS, RESTS = "*", "†"
MOST = 3  # names of parameters that a sentence has

# condition -> variant -> seed -> per cent
Figures = dict[str, dict[str, dict[int, float]]]


@dataclass(frozen=True)
class Conditions:
    """What a table's trials came to under the sweep's conditions."""

    table: Table

    @property
    def measure(self) -> Measure:
        return self.table.measure

    @cached_property
    def trials(self) -> dict[str, dict[int, dict[str, Scores]]]:
        """variant -> seed -> condition -> scores, of the trials that have all conditions."""
        found: dict[str, dict[int, dict[str, Scores]]] = {}
        for row in self.table.rows:
            found[row.variant] = {}
            for record in row.records:
                scores = self.measure.conditions(row.variant, record)
                if [*scores] == self.table.conditions:
                    found[row.variant][record.seed] = scores
        return found

    @cached_property
    def figures(self) -> Figures:
        found: Figures = {}
        for name in self.table.conditions:
            found[name] = {}
            for variant, seeds in self.trials.items():
                found[name][variant] = {seed: s[name].top1 for seed, s in seeds.items()}
        return found

    @cached_property
    def p(self) -> Mapping[tuple[str, str], float]:
        """(condition, variant) -> that it is as the baseline; over the whole table."""
        return over_conditions(self.figures, self.table.sweep.baseline)[1]

    def summary(self, variant: str, figure: Callable[[dict[str, Scores]], float | None]) -> Summary:
        """A figure of a variant's trials, over the seeds."""
        values = [figure(scores) for scores in self.trials[variant].values()]
        found = stats.summarise([value for value in values if value is not None])
        assert found
        return found

    @property
    def variants(self) -> list[str]:
        """Those with a trial that was evaluated."""
        return [variant for variant, seeds in self.trials.items() if seeds]

    def fill(self, variant: str) -> str:
        """What stood for its absent channels; "" where none was absent, or nothing is known."""
        for scores in self.trials.get(variant, {}).values():
            return next((s.fill for s in scores.values() if not all(s.mask)), "")
        return ""

    @property
    def sizes(self) -> set[int]:
        """How many channels are there under the conditions."""
        found = set()
        for seeds in self.trials.values():
            for scores in seeds.values():
                found |= {sum(s.mask) for s in scores.values()}
        return found

    def untrained(self, variant: str, name: str) -> list[str]:
        """Parameters that a condition rests on and that no training image reached, of any seed."""
        found: dict[str, None] = {}
        for scores in self.trials[variant].values():
            found |= dict.fromkeys(scores[name].untrained)
        return [*found]


def grid_of(found: Conditions) -> Grid:
    """A line per variant, a column per condition; empty without conditions."""
    columns: list[Column[str]] = [
        Column("variant", "The variant's name.", "variant", lambda variant: variant),
        Column("n", "Trials that were evaluated.", "n", lambda v: f"{len(found.trials[v])}"),
    ]
    for name in found.table.conditions:
        columns.append(_condition(found, name))
    whole = found.table.conditions[:1]
    for key, means in (("mean", "The mean"), ("worst", "In each trial the lowest")):
        columns.append(_figure(found, key, f"{means} of the conditions.", f"{key} %"))
    columns.append(
        Column(
            "retained",
            f"The mean of the conditions as a part of {'/'.join(whole)}, in per cent.",
            "retained %",
            lambda variant: text.mean_sd(found.summary(variant, retained)),
        )
    )
    return grid(columns, found.variants if whole else [])


def retained(scores: dict[str, Scores]) -> float | None:
    """The mean of the conditions as a part of the whole images' score, in per cent."""
    whole = next(s.top1 for s in scores.values() if s.whole)
    mean = measured(scores, "mean")
    return 100 * mean / whole if whole and mean is not None else None


def _condition(found: Conditions, name: str) -> Column[str]:
    def cell(variant: str) -> str:
        summary = found.summary(variant, lambda scores: scores[name].top1)
        p = found.p.get((name, variant))
        differs = DIFFERS if p is not None and p < 1 - stats.LEVEL else ""
        rests = RESTS if found.untrained(variant, name) else ""
        return f"{text.mean_sd(summary)}{differs}{rests}"

    return Column(name, f"Top-1 in per cent under {name}: mean and deviation.", name, cell)


def _figure(found: Conditions, key: str, means: str, header: str) -> Column[str]:
    def cell(variant: str) -> str:
        return text.mean_sd(found.summary(variant, lambda scores: measured(scores, key)))

    return Column(key, means, header, cell)


def notes(found: Conditions) -> list[str]:
    """What the table's marks mean, what guessing would reach, and what was never trained."""
    if not found.variants:
        return []
    table = found.table
    record = next(r for r in table.records if r.id in found.measure.evaluations)
    done = found.measure.evaluations[record.id]
    images = len(done.labels())
    chance, low, high = guessing(done.classes, images)
    lines = [
        f"Conditions: guessing is {chance:.1f} % right, and on {images:,} images within "
        f"{low:.1f} to {high:.1f} % (95 %).",
        f"{DIFFERS}: differs from {text.quoted(table.sweep.baseline)} under that condition "
        "(p below 0.05 by Dunnett over the variants, and by Holm over the conditions).",
        *_fills(found),
    ]
    return [*lines, *_untrained(found)]


def _untrained(found: Conditions) -> list[str]:
    """What was never trained, and under which conditions a variant rests on it."""
    lines = []
    for variant in found.variants:
        by: dict[tuple[str, ...], list[str]] = {}
        for name in found.table.conditions:
            if parameters := found.untrained(variant, name):
                by.setdefault(tuple(parameters), []).append(name)
        for parameters, under in by.items():
            shown = ", ".join(parameters[:MOST]) + (", ..." if parameters[MOST:] else "")
            many = text.count(len(parameters), "parameter")
            lines.append(
                f"{RESTS} {text.quoted(variant)} under {text.listed(under)} rests on {shown} "
                f"({many}), never trained."
            )
    return lines


def _fills(found: Conditions) -> list[str]:
    """What stood for the absent channels of each variant."""
    by: dict[str, list[str]] = {}
    for variant in found.variants:
        if fill := found.fill(variant):
            by.setdefault(fill, []).append(text.quoted(variant))
    said = {"none": "nothing (the stem takes what is there)"}
    parts = [f"{said.get(fill, fill)} in {text.listed(names)}" for fill, names in by.items()]
    return [f"In place of an absent channel: {'; '.join(parts)}."] if parts else []


def to_csv(found: Conditions) -> str:
    """A line per variant and condition, in full precision."""
    compared = over_conditions(found.figures, found.table.sweep.baseline)[0]
    lines = [(variant, name) for variant in found.variants for name in found.table.conditions]

    def scores(line: tuple[str, str]) -> Scores:
        return next(iter(found.trials[line[0]].values()))[line[1]]

    def summary(line: tuple[str, str]) -> Summary:
        return found.summary(line[0], lambda scores: scores[line[1]].top1)

    def difference(line: tuple[str, str]) -> float | None:
        judged = compared[line[1]].differences.get(line[0])
        return judged.mean if judged else None

    fields: dict[str, Callable[[tuple[str, str]], object]] = {
        "variant": lambda line: line[0],
        "condition": lambda line: line[1],
        "channels": lambda line: sum(scores(line).mask),
        "size": lambda line: scores(line).size,
        "fill": lambda line: scores(line).fill,
        "n": lambda line: summary(line).n,
        "top1_mean": lambda line: summary(line).mean,
        "top1_sd": lambda line: summary(line).sd,
        "difference": difference,
        "p": lambda line: found.p.get((line[1], line[0])),
        "untrained": lambda line: " ".join(found.untrained(*line)),
    }
    return csv_text([Column("conditions", "", fields=fields)], lines)
