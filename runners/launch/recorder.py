"""What becomes of the workers' reports: epochs in MLflow, records in the store, lines on screen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runners.launch.limits import LimitWatch
from runners.launch.worker import failed
from runners.plan import Trial
from runners.search.queue import Work
from runners.store import Epoch, Record, State, Store

if TYPE_CHECKING:
    from runners.launch.console import Console
    from runners.tracking.tracker import Tracker

LOG_EVERY_S = 2.0  # MLflow takes longer for an epoch alone than a short epoch takes to train


class Recorder:
    """A phase's reports, kept. All that it writes may raise StoreError."""

    def __init__(
        self, work: Work, store: Store, tracker: Tracker, console: Console, limits: LimitWatch
    ):
        self.work, self.store, self.tracker = work, store, tracker
        self.console, self.limits = console, limits
        # trial -> epoch -> its figures: a resumed trial reports its old epochs again
        self.reported: dict[str, dict[int, Epoch]] = {}
        # trial -> (status, reason), for one whose record the driver has to write
        self.verdicts: dict[str, tuple[State, str]] = {}
        self.unlogged: dict[str, tuple[Trial, list[Epoch]]] = {}
        self.logged_at = 0.0

    def start(self, trial: Trial) -> None:
        self.tracker.start(trial)
        self.console.started(trial)

    @staticmethod
    def read(rows: list[dict[str, Any]]) -> list[Epoch]:
        """The epochs of a worker's report."""
        return [Epoch.read(row) for row in rows]

    def epochs(self, trial: Trial, rows: list[dict[str, Any]]) -> tuple[list[Epoch], bool]:
        """Keep the epochs that a worker reports; returns them, and whether one of them is new."""
        epochs = self.read(rows)
        known = self.reported.setdefault(trial.id, {})
        new = any(e.epoch not in known for e in epochs)
        self.unlogged.setdefault(trial.id, (trial, []))[1].extend(epochs)
        self.work.saw(trial, [e for e in epochs if e.epoch not in known])
        known.update((e.epoch, e) for e in epochs)
        self.console.epochs(trial, epochs)
        return epochs, new

    def flush(self, *, now: bool = True) -> None:
        """Send epochs to MLflow, many at a time; without `now` not more often than LOG_EVERY_S."""
        if now or time.monotonic() - self.logged_at > LOG_EVERY_S:
            waiting, self.unlogged, self.logged_at = self.unlogged, {}, time.monotonic()
            for trial, epochs in waiting.values():
                self.tracker.log(trial, epochs)

    def settle(self, trial: Trial) -> bool:
        """A trial runs no longer: show and log how it ended. False: it has not ended."""
        record = self.work.ended(trial)
        if record is None and trial.id in self.verdicts:
            record = self.store.commit(self._verdict(trial))
            self.work.learn(trial, record)
        if record is None:
            self.console.stopped(trial)
            return False
        if self.console.records.get(trial.id) is record:
            return True
        self.unlogged.pop(trial.id, None)  # the record has them all
        self.tracker.end(trial, record, self.work.evaluations.get(trial.id))
        self.console.ended(trial, record)
        self.limits.ended(trial, record)
        return True

    def unevaluated(self, trial: Trial, why: str) -> None:
        """A trial has finished, and could not be evaluated; the next start tries again."""
        self.work.unevaluated.add(trial.id)
        self.console.say(f"{trial.name}: not evaluated: {why}")

    def _verdict(self, trial: Trial) -> Record:
        status, reason = self.verdicts[trial.id]
        epochs = [*self.reported.get(trial.id, {}).values()]
        record = failed(trial, reason, epochs, len(self.store.failures(trial.id)))
        if status == State.FAILED:
            return record
        return replace(record, status=status, provenance=record.provenance | self.work.mark(trial))

    def log_file(self, trial: Trial) -> str:
        """Where the output of its workers is; empty: there is none."""
        there = self.store.files.exists(f"trials/{trial.id}/log.txt")
        return self.store.address(trial.id, "log.txt") if there else ""
