"""A search over a sweep's space: what is proposed is trained, judged by validation alone, and what
is found enters the comparison.

Modes: "front" looks for the most validation accuracy per multiply-add; "tune" gives every variant
    the same number of trials to find its own
recipe; "screen" stops unpromising trials early. The test set is read by the comparison's trials
alone. Optuna proposes (runners/study.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from runners.plan import Sweep, Trial, space
from runners.plan.space import Cell
from runners.search.proposal import Proposal
from runners.search.queue import Work
from runners.search.study import Cost, Study, told, trainable
from runners.store import Epoch, Record, Store


class Searching(Work):
    """The trials of a sweep's search: what is proposed is trained, and what came of it is told to
    the next proposal.
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        cost: Cost,
        proposed: Callable[[Proposal], None] = lambda proposal: None,
    ):
        super().__init__([], store)
        self.studies = open_studies(sweep, store, cost)
        self.proposed = proposed
        self.taken: set[str] = set()
        for study in self.studies:
            for p in study.proposals:
                self._take(p)

    def _take(self, p: Proposal) -> None:
        # two variants may come to the same trial
        if p.trial and p.trained and p.trial.id not in self.taken:
            self.taken.add(p.trial.id)
            self.trials.append(p.trial)
            self.proposed(p)
            if p.record:
                self.records[p.trial.id] = p.record

    def learn(self, trial: Trial, record: Record) -> None:
        super().learn(trial, record)
        heeded = [study.learn(record) for study in self.studies]
        if not all(heeded):
            del self.records[trial.id]
            self.waiting.append(trial)

    @property
    def widest(self) -> int:
        return sum(study.written.ahead for study in self.studies)

    @property
    def over(self) -> bool:
        return not self.waiting and all(study.over for study in self.studies)

    def next(self) -> Trial | None:
        """What is waiting; else a new proposal, of the study that has made the fewest."""
        if trial := self.take():
            return self._kept(trial)
        for study in sorted(self.studies, key=lambda s: s.spent):
            while not study.over and (p := study.next()):
                new = p.trial is not None and p.trial.id not in self.taken
                self._take(p)
                if new and p.trained and p.record is None and p.trial:
                    self.waiting.append(p.trial)
                    if trial := self.take():
                        return self._kept(trial)
        return None

    def _kept(self, trial: Trial) -> Trial:
        """With copies of the user's files that no edit changes."""
        return replace(trial, own=self.store.keep_own(trial.own, trial.config))

    def mark(self, trial: Trial) -> dict[str, str]:
        return {"study": self._of(trial)[0].name}

    def _of(self, trial: Trial) -> tuple[Study, Proposal]:
        return next(
            (s, p)
            for s in self.studies
            for p in s.proposals
            if p.trained and p.trial and p.trial.id == trial.id
        )

    def judge(self, trial: Trial, epochs: list[Epoch]) -> str:
        study, p = self._of(trial)
        return study.judge(p, epochs) if study.written.mode == "screen" else ""


def open_studies(sweep: Sweep, store: Store, cost: Cost | None = None) -> list[Study]:
    """The sweep's studies: one, or one of every variant that is tuned. Without `cost` they are for
    reading.
    """
    assert sweep.search
    variants = [*sweep.variants] if sweep.search.written.mode == "tune" else [""]
    return [Study(sweep, variant, store, cost) for variant in variants]


def front(proposals: Iterable[Proposal]) -> list[Proposal]:
    """The trained cells that no other beats in accuracy without costing more; from cheap to dear, a
    tie's first.
    """
    best, found = float("-inf"), []
    judged = [
        (p.cost["macs_m"], -p.score, p.number, p)
        for p in proposals
        if p.trained and p.score is not None
    ]
    for _, minus, _, p in sorted(judged, key=lambda row: row[:3]):
        if -minus > best:
            best = -minus
            found.append(p)
    return found


def hypervolume(
    points: Sequence[tuple[float, float]], among: Sequence[tuple[float, float]]
) -> float:
    """The area that (cost, accuracy) points dominate, down to the dearest and the worst `among`
    all, a tenth of the range beyond.
    """
    costs, scores = [cost for cost, _ in among], [score for _, score in among]
    dearest = max(costs) + 0.1 * ((max(costs) - min(costs)) or 1)
    best = min(scores) - 0.1 * ((max(scores) - min(scores)) or 1)
    area = 0.0
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > best and cost < dearest:
            area += (score - best) * (dearest - cost)
            best = score
    return area


def picks(study: Study) -> list[Proposal]:
    """What a search found for the comparison: of a front the most accurate, then those that
    dominate most; else the best.
    """
    n = 1 if study.written.mode == "tune" else study.written.confirm
    if study.written.mode != "front":
        ranked = sorted(
            (p for p in study.proposals if p.trained and p.score is not None),
            key=lambda p: (-(p.score or 0), p.cost["macs_m"], p.number),
        )
        return ranked[:n]
    left = front(study.proposals)
    among = [_point(p) for p in left]
    chosen = [left.pop()] if left else []  # the most accurate
    while left and len(chosen) < n:
        best = max(left, key=lambda p: hypervolume([_point(q) for q in [*chosen, p]], among))
        chosen.append(best)
        left.remove(best)
    return sorted(chosen, key=lambda p: p.cost["macs_m"])


def _point(p: Proposal) -> tuple[float, float]:
    return p.cost["macs_m"], p.score or 0.0


def conclude(sweep: Sweep, store: Store, studies: list[Study] | None = None) -> Sweep:
    """The sweep with what its search found as variants of the comparison; as it is while the search
    has not ended, or found nothing.

    Args:
        studies: the sweep's, where they are open.
    """
    if sweep.search is None or sweep.settled:
        return sweep
    studies = studies or open_studies(sweep, store)
    if not all(study.done for study in studies):
        return sweep
    variants = dict(sweep.variants)
    for study in studies:
        if not (best := picks(study)):
            return sweep
        for p in best:
            config = sweep.candidate(p.cell, study.variant, searching=False)
            if study.variant:
                variants[study.variant] = config
            elif config not in variants.values():  # else it stands there by a name of its own
                name = space.name(p.cell)
                variants[f"{name} (found)" if name in variants else name] = config
    return replace(
        sweep,
        variants=variants,
        settled=True,
        found=tuple(v for v in variants if v not in sweep.variants),
    )


def fruitless(studies: list[Study]) -> str:
    """Why a search that has ended found nothing for the comparison; empty where it did, or has not
    ended.
    """
    for study in studies:
        if study.done and not picks(study):
            of = f" of {study.variant}" if study.variant else ""
            why = Counter(
                p.why or (p.record.reason if p.record else "") for p in study.proposals
            ).most_common(1)[0][0]
            return (
                f"search: no trial{of} finished; most often: {why}; "
                "--retry-failed runs failed ones again"
            )
    return ""


@dataclass(frozen=True)
class Survey:
    """Which cells of a space can be trained: `possible` has their multiply-adds in millions,
    `refused` why how many cannot.
    """

    cells: int
    possible: list[float]
    refused: Counter[str]

    @property
    def checked(self) -> int:
        return len(self.possible) + self.refused.total()


def survey(study: Study, cells: list[Cell], cost: Cost, seconds: float) -> Survey:
    """Build the network of as many cells as time allows."""
    found, deadline = Survey(len(cells), [], Counter()), time.monotonic() + seconds
    for cell in cells:
        if time.monotonic() > deadline:
            break
        try:
            config = trainable(study.sweep, cell, study.variant)
            counted = cost(config, study.sweep.own(config))
            if study.search.beyond(counted)[1]:
                found.refused["out of bounds"] += 1
            else:
                found.possible.append(counted["macs_m"])
        except Exception as error:  # a convolution of the user's own may raise anything
            found.refused[told(error)] += 1
    return found
