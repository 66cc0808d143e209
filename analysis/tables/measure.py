"""What variants are compared by: the score on the whole test set, or one over conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from runners.plan import Sweep
from runners.plan.evaluating import TOP1
from runners.store import Evaluation, Record, label
from runners.store.evaluation import Scores, measured


@dataclass(frozen=True)
class Measure:
    """The measure of a sweep, read from its trials.

    Attributes:
        primary: the score that a record is about.
        evaluations: trial id -> what it came to under conditions.
    """

    sweep: Sweep
    primary: str
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)

    @property
    def usual(self) -> bool:
        """Whether it is the record's own score, which needs no conditions."""
        return self.sweep.measure == TOP1

    @property
    def name(self) -> str:
        """In the CSV and in MLflow: top1, mean_top1, RG_top1."""
        return self.primary if self.usual else f"{self.sweep.measure}_{self.primary}"

    @property
    def label(self) -> str:
        """For readers: top-1, mean top-1, RG top-1."""
        return label(self.primary) if self.usual else f"{self.sweep.measure} {label(self.primary)}"

    def conditions(self, variant: str, record: Record) -> dict[str, Scores]:
        """Name -> scores of the trial under the sweep's conditions, as the variant fills them."""
        done = self.evaluations.get(record.id)
        if done is None or done.weights_sha256 != record.weights_sha256:
            return {}
        return done.of(self.sweep.evaluate, self.sweep.fill(variant))

    def score(self, variant: str, record: Record) -> float | None:
        """In per cent; None for a trial that has not been evaluated."""
        if self.usual:
            return record.score
        return measured(self.conditions(variant, record), self.sweep.measure)

    def right(self, variant: str, record: Record) -> np.ndarray:
        """How far the trial has each test image right, (images,) from 0 to 1: over the conditions'
        mean their share, else 0 or 1.
        """
        if self.usual:
            return correct(record).astype(float)
        found, measure = self.conditions(variant, record), self.sweep.measure
        if measure == "mean":
            return np.mean([self.hits(record, scores) for scores in found.values()], axis=0)
        if measure == "worst":
            measure = min(found, key=lambda name: found[name].top1)
        return self.hits(record, found[measure]).astype(float)

    def hits(self, record: Record, scores: Scores) -> np.ndarray:
        """Which test images the trial has right under a condition: (images,) booleans."""
        done = self.evaluations[record.id]
        return done.predictions(scores) == done.labels()


def correct(record: Record) -> np.ndarray:
    """Which test images the trial has right: (images,) booleans, in the data set's order."""
    assert record.result
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record.result.correct), np.uint8))
    return bits[: int(record.provenance["test_images"])].astype(bool)
