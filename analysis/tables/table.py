"""A sweep's finished trials as rows: measurements, conclusions, and the paper's figures."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analysis import stats
from analysis.stats import Comparison, Difference, Summary
from analysis.tables.growth import grow
from analysis.tables.measure import Measure
from analysis.tables.planned import Planned, planned
from analysis.tables.text import count
from runners.plan import Sweep, reference
from runners.search import searching as search
from runners.search.study import Study
from runners.store import Evaluation, Record, Result, Store

# an interval wider than ± this cannot confirm a printed figure: the paper's own effects are about
# one point
ENOUGH_PP = 0.5
OTHER_PROTOCOL = "other protocol"
PRIMARY = "top1"  # the score that a table is about before any trial has finished


@dataclass(frozen=True)
class Row:
    """One variant: its finished trials in figures.

    Attributes:
        missing: why a trial has no result -> how many.
        unfinished: records of trials that ended without a result.
        score: the primary score over the seeds.
        images: the same mean, with an interval for other seeds and other test images.
        against_paper: the verdict, and what it rests on.
    """

    variant: str
    planned: int
    records: list[Record]
    missing: Counter[str]
    unfinished: list[Record]
    score: Summary | None
    images: Summary | None
    difference: Difference | None
    printed: reference.Printed | None
    against_paper: tuple[str, str]

    @property
    def result(self) -> Result | None:
        """Of the first finished trial: for what all of them have in common, such as counts."""
        return self.records[0].result if self.records else None

    def summary(self, name: str) -> Summary | None:
        """A score or a cost over the trials that have it."""
        return stats.summarise(self._figures(name))

    def mean(self, name: str) -> float | None:
        """The mean of a score or a cost."""
        values = self._figures(name)
        return statistics.fmean(values) if values else None

    def _figures(self, name: str) -> list[float]:
        figures = [r.result.scores | r.result.costs for r in self.records if r.result]
        return [found[name] for found in figures if name in found]


@dataclass(frozen=True, eq=False)
class Table:
    """A sweep's rows, in its order, and how they were compared.

    Attributes:
        scores: variant -> seed -> the measure.
        measure: what the variants are compared by.
        studies: of the sweep's search.
        planned: the sweep files that its trials were planned by.
    """

    sweep: Sweep
    rows: list[Row]
    comparison: Comparison
    scores: dict[str, dict[int, float]]
    measure: Measure
    reference: reference.Reference
    studies: list[Study] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [r for row in self.rows for r in row.records]

    def of(self, variant: str) -> list[Record]:
        """Its finished trials; none of a variant that the table does not have."""
        return [r for row in self.rows if row.variant == variant for r in row.records]

    @property
    def primary(self) -> str:
        """The name of the score that a record is about."""
        return self.measure.primary

    @cached_property
    def conditions(self) -> list[str]:
        """The names of the conditions that any trial was evaluated under, the whole images
        first.
        """
        found: dict[str, None] = {}
        for row in self.rows:
            for record in row.records:
                found |= dict.fromkeys(self.measure.conditions(row.variant, record))
        return [*found]

    @property
    def retrained(self) -> bool:
        """Whether any variant was trained as the paper did, so that its figure can be judged."""
        return any(row.against_paper[0] not in ("", OTHER_PROTOCOL) for row in self.rows)

    @property
    def planned_trials(self) -> int:
        return sum(row.planned for row in self.rows)

    @property
    def seeds(self) -> int:
        """The fewest seeds that a variant with any has."""
        return min((len(row.records) for row in self.rows if row.records), default=0)

    @property
    def span(self) -> str:
        """ "3 seeds"; "2 to 6 seeds" where they grew."""
        most = max((len(row.records) for row in self.rows), default=0)
        fewest = f"{self.seeds} to " if self.comparison.looks and self.seeds < most else ""
        return f"{fewest}{count(most if fewest else self.seeds, 'seed')}"

    @cached_property
    def best(self) -> str:
        """The variant with the highest mean, if its simultaneous interval excludes the next."""
        ranked = sorted(
            (row for row in self.rows if row.score),
            key=lambda row: -row.score.mean if row.score else 0,
        )
        # a variant without a trial could be the best one
        enough = len(ranked) == len(self.rows) >= 2 and self.seeds >= stats.SCREENING
        # a variant that was decided early has fewer seeds, and was looked at more than once
        if not enough or self.comparison.method != "Dunnett" or self.sweep.growth:
            return ""
        # adjusted for all pairs, since the two were chosen by their means
        a, b = ranked[0].variant, ranked[1].variant
        return a if stats.apart(self.scores, a, b) else ""


def read(
    sweep: Sweep,
    store: Store,
    ended: Mapping[str, Record] | None = None,
    studies: list[Study] | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
) -> Table:
    """Every trial of the sweep from the store.

    Only finished ones enter a mean; all others are counted in `missing`.

    Args:
        ended: the records of its trials, where they have been read.
        studies: of its search, where they are open.
        evaluations: of its trials, where they have been read.

    Raises:
        SweepError: a record of another version, or a search that found nothing.
    """
    # what a search found is compared like the variants of the file
    if sweep.search:
        studies = studies or search.open_studies(sweep, store)
        sweep = search.conclude(sweep, store, studies)
    if sweep.growth:
        found = grow(sweep, store, ended, evaluations)
        return _table(found.sweep, store, found.ended, studies, evaluations, found.comparison)
    ended = store.records(sweep.trials) if ended is None else ended
    return _table(sweep, store, ended, studies, evaluations, None)


def _table(
    sweep: Sweep,
    store: Store,
    ended: Mapping[str, Record],
    studies: list[Study] | None,
    evaluations: Mapping[str, Evaluation] | None,
    grown: Comparison | None,
) -> Table:
    printed = reference.load(sweep)
    measure = _measure(sweep, store, ended, evaluations)
    records, unfinished, missing = _records(sweep, ended, measure)
    scores = {v: _scores(v, finished, measure) for v, finished in records.items()}
    compared = grown or stats.compare(scores, sweep.baseline, sweep.margin_pp)
    rows = []
    for v in sweep.variants:
        score = stats.summarise([*scores[v].values()])
        row = Row(
            v,
            sweep.seeds_of(v),
            records[v],
            missing[v],
            unfinished[v],
            score,
            _images(v, records[v], measure),
            compared.differences.get(v),
            printed.rows.get(v),
            _against_paper(records[v], score, printed, measure, v),
        )
        rows.append(row)
    files = planned(itertools.chain(*records.values()), store)
    return Table(sweep, rows, compared, scores, measure, printed, studies or [], files)


def _scores(variant: str, finished: list[Record], measure: Measure) -> dict[int, float]:
    return {r.seed: measure.score(variant, r) or 0.0 for r in finished}


def _measure(
    sweep: Sweep,
    store: Store,
    ended: Mapping[str, Record],
    evaluations: Mapping[str, Evaluation] | None,
) -> Measure:
    primary = next((r.primary for r in ended.values() if r.result), PRIMARY)
    evaluations = store.evaluations(sweep.trials) if evaluations is None else evaluations
    return Measure(sweep, primary, evaluations)


Records = dict[str, list[Record]]


def _records(
    sweep: Sweep, ended: Mapping[str, Record], measure: Measure
) -> tuple[Records, Records, dict[str, Counter[str]]]:
    """By variant: the records with a result, those without, and why trials have none."""
    records: Records = {v: [] for v in sweep.variants}
    unfinished: Records = {v: [] for v in sweep.variants}
    missing: dict[str, Counter[str]] = {v: Counter() for v in sweep.variants}
    for trial in sweep.trials:
        record = ended.get(trial.id)
        if record and record.result:
            if measure.score(trial.variant, record) is None:
                missing[trial.variant]["not evaluated"] += 1
            else:
                records[trial.variant].append(record)
            continue
        missing[trial.variant][_why(record)] += 1
        if record:
            unfinished[trial.variant].append(record)
    return records, unfinished, missing


def _why(record: Record | None) -> str:
    """Why a trial has no result, in a line."""
    if record is None:
        return "not finished"
    # a reason is text of a trial's own: its line breaks would break every format that it enters
    reason = " ".join(record.reason.split())
    return f"{record.status} ({reason[:100]})" if reason else record.status


def _images(variant: str, records: list[Record], measure: Measure) -> Summary | None:
    """None where the trials were not all tested on the same images."""
    if len({(r.provenance["test_images"], r.provenance["data"]) for r in records}) != 1:
        return None
    return stats.seeds_by_images(100.0 * np.stack([measure.right(variant, r) for r in records]))


def _against_paper(
    records: list[Record],
    score: Summary | None,
    printed: reference.Reference,
    measure: Measure,
    variant: str,
) -> tuple[str, str]:
    """reproduced, differs, underpowered or other protocol, and why; empty without a printed row."""
    row = printed.rows.get(variant)
    if row is None or score is None:
        return "", ""
    departures: dict[str, None] = {} if measure.usual else {f"measure {measure.label}": None}
    for r in records:
        images = int(r.provenance["train_images"])
        departures |= dict.fromkeys(printed.departures(r.config, images))
    if departures:
        return OTHER_PROTOCOL, "; ".join(departures)
    if score.low is None or score.high is None:
        return "underpowered", "one seed" if score.n == 1 else "the seeds do not differ"
    interval = f"printed {row.top1:.2f}, interval {score.low:.2f} to {score.high:.2f}"
    # the printed figure is rounded
    if not score.low - 0.005 <= row.top1 <= score.high + 0.005:
        return "differs", interval
    if (score.high - score.low) / 2 > ENOUGH_PP:
        return "underpowered", f"{interval}, wider than ±{ENOUGH_PP:g}"
    return "reproduced", interval
