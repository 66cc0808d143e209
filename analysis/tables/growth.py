"""A sweep whose seeds grow: after each block its comparisons are judged, and those that are decided
cost no more seeds.

What came of it is read from the trials alone, so that every reader of the store finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from analysis.stats import Comparison, Scores
from analysis.stats.growing import Rule, follow
from analysis.tables.measure import Measure
from runners.plan import Sweep, Trial
from runners.store import Evaluation, Record, Store


@dataclass(frozen=True)
class Grown:
    """How far a sweep's seeds have come.

    Attributes:
        sweep: with as many seeds of each variant as its comparisons have asked for.
        comparison: each difference as it stood when it was looked at last.
        ended: the records of its trials that have ended.
    """

    sweep: Sweep
    comparison: Comparison
    ended: dict[str, Record]


def grow(
    sweep: Sweep,
    store: Store,
    ended: Mapping[str, Record] | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
) -> Grown:
    """Follow the looks as far as all trials of a block have ended.

    Args:
        ended: the records of its trials, where they have been read.
        evaluations: of its trials, where they have been read.
    """
    assert sweep.growth
    found: dict[str, Record] = {}

    def look(variants: list[str], n: int) -> Scores | None:
        planned = replace(sweep, grown=dict.fromkeys(sweep.variants, n))
        trials = [t for t in planned.trials if t.variant in variants]
        found.update(store.records(trials) if ended is None else _among(trials, ended))
        read = store.evaluations(trials) if evaluations is None else evaluations
        return _scores(trials, found, Measure(sweep, "", read))

    rule = Rule(sweep.growth.looks, sweep.margin_pp, sweep.growth.half_width)
    followed = follow([*sweep.variants], sweep.baseline, rule, look)
    return Grown(replace(sweep, grown=followed.seeds), followed.comparison, found)


def _among(trials: list[Trial], ended: Mapping[str, Record]) -> dict[str, Record]:
    return {t.id: ended[t.id] for t in trials if t.id in ended}


def _scores(trials: list[Trial], ended: Mapping[str, Record], measure: Measure) -> Scores | None:
    """Of the seeds that finished in every variant that has any; None: some have not ended."""
    scores: dict[str, dict[int, float]] = {t.variant: {} for t in trials}
    for trial in trials:
        record = ended.get(trial.id)
        if record is None:
            return None
        if record.result:
            score = measure.score(trial.variant, record)
            if score is None:
                return None
            scores[trial.variant][trial.seed] = score
    present = [set(found) for found in scores.values() if found]
    common = set.intersection(*present) if present else set()
    for variant, found in scores.items():
        scores[variant] = {seed: score for seed, score in found.items() if seed in common}
    return scores
