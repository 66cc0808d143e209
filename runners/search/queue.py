"""What there is to train: a list of trials, and how those ended that have.

A search (runners/search/searching.py) adds to its own as it goes.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from runners.plan import Trial
from runners.store import Epoch, Evaluation, Record, State, Store
from runners.store.evaluations import lacks

LOOK_S = 1.0  # between two looks at trials that other processes train


class Work:
    """Trials to run. Whether one has ended is read from the store, when its worker is gone.

    Args:
        records: of the trials that had ended before.
        evaluations: of those that had been evaluated.
    """

    def __init__(
        self,
        trials: list[Trial],
        store: Store,
        records: Mapping[str, Record] | None = None,
        evaluations: Mapping[str, Evaluation] | None = None,
    ):
        self.trials, self.store = list(trials), store
        # trial id -> how it ended: in a bucket each look at the store is a request
        self.records = dict(records or {})
        self.evaluations = dict(evaluations or {})
        self.unevaluated: set[str] = set()  # trials whose evaluation failed at this start
        self.waiting: list[Trial] = []
        # trials that wait for other processes, such as another sweep's workers: name -> which
        self.elsewhere: dict[str, str] = {}
        self.in_vain_at = float("-inf")
        self.seconds: dict[str, list[float]] = {}  # variant -> seconds of its epochs so far
        self.suspicions: Mapping[str, int] = Counter()

    def left(self) -> list[Trial]:
        """The trials known so far that have not ended."""
        return [t for t in self.trials if t.id not in self.records]

    def ended(self, trial: Trial) -> Record | None:
        """How the trial ended, read from the store unless that is known; None: it has not, or it is
        still to be evaluated.
        """
        known = trial.id in self.records
        if not known and (record := self.store.record(trial.id)) and self._evaluated(trial, record):
            self.store.drop_left([record])  # its worker may have been killed before it did so
            self.learn(trial, record)
        return self.records.get(trial.id)

    def _evaluated(self, trial: Trial, record: Record) -> bool:
        """Whether nothing is left to evaluate, read from the store where something was asked."""
        if trial.evaluate is None or trial.id in self.unevaluated:
            return True
        done = self.store.evaluation(trial.id)
        if lacks(trial, record, done):
            return False
        if done:
            self.evaluations[trial.id] = done
        return True

    def learn(self, trial: Trial, record: Record) -> None:
        """The trial has ended."""
        self.records[trial.id] = record

    def saw(self, trial: Trial, epochs: list[Epoch]) -> None:
        """The trial has finished these epochs."""
        self.seconds.setdefault(trial.variant, []).extend(e.seconds for e in epochs)

    def begin(self, suspicions: Counter[str]) -> None:
        """Hand out again what has not ended, the trials under suspicion last."""
        self.suspicions = suspicions
        for record in self.records.values():
            if record.variant not in self.seconds and record.epochs:
                self.seconds[record.variant] = [e.seconds for e in record.epochs]
        self.waiting = sorted(self.left(), key=lambda t: suspicions[t.id])

    @property
    def widest(self) -> int:
        """How many trials can run at a time at most."""
        return len(self.left())

    @property
    def over(self) -> bool:
        """Nothing will come any more but what is being trained."""
        return not self.waiting

    def next(self) -> Trial | None:
        """The next trial; None: not now."""
        return self.take()

    def take(self) -> Trial | None:
        """The longest of the first waiting trials of one seed that no other process trains; None:
        there is none just now.

        A trial that ended elsewhere is handed out as well: its worker finds the record at once.
        """
        # in vain Tune asks ten times a second, and a look at a bucket takes longer
        if time.monotonic() - self.in_vain_at < LOOK_S:
            return None
        self.elsewhere = {}
        for trial in longest_first(self.waiting, self._expected, self.suspicions):
            if not (owner := self.store.trained_elsewhere(trial.id)):
                self.waiting.remove(trial)
                return trial
            self.elsewhere[trial.name] = owner
        if self.elsewhere:
            self.in_vain_at = time.monotonic()
        return None

    def _expected(self, trial: Trial) -> float:
        """Seconds, by the variant's median epoch; without one, without end: it is to be known."""
        known = self.seconds.get(trial.variant)
        return statistics.median(known) * trial.config.epochs if known else math.inf

    def again(self, trial: Trial) -> None:
        """Hand out a trial once more whose worker ended before it."""
        self.waiting.insert(0, trial)

    def mark(self, trial: Trial) -> dict[str, str]:
        """What the record of a trial that was stopped says besides."""
        return {}

    def judge(self, trial: Trial, epochs: list[Epoch]) -> str:
        """Why the trial should be stopped, after these new epochs; empty: it should not."""
        return ""


def longest_first(
    trials: Sequence[Trial],
    seconds: Callable[[Trial], float],
    suspicions: Mapping[str, int] = MappingProxyType({}),
) -> list[Trial]:
    """Seed after seed, as they come, and the longest of each seed first: the last trials to end
    then leave fewer slots empty, and a seed is still whole before the next. Those of other
    suspicions are not mixed.
    """
    blocks = itertools.groupby(trials, key=lambda t: (suspicions.get(t.id, 0), t.seed))
    return [t for _, block in blocks for t in sorted(block, key=seconds, reverse=True)]


def unfinished(
    trials: list[Trial],
    records: Mapping[str, Record],
    evaluations: Mapping[str, Evaluation],
    retry_failed: bool = False,
) -> list[Trial]:
    """The trials that have not ended, or are still to be evaluated; with `retry_failed`, that have
    not finished.
    """
    left = []
    for trial in trials:
        record = records.get(trial.id)
        again = record is None or (retry_failed and record.status != State.FINISHED)
        if again or lacks(trial, record, evaluations.get(trial.id)):
            left.append(trial)
    return left
