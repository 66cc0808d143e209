"""What the driver does with what the workers report: it records, shows, judges and, at a limit or a signal, lets the sweep end."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace

from runners.errors import StoreError
from runners.launch.cluster import tune
from runners.launch.console import Console
from runners.masking import mask
from runners.plan import Limits, Trial
from runners.search.queue import Work
from runners.store import Epoch, Record, Store
from runners.tracking.tracker import Tracker

LOG_EVERY_S = 2.0
MEASURE_EVERY_S = 20.0
DEATHS = 5  # of a trial's workers in a row, without an epoch in between
STARTED = time.monotonic()


def failed(trial: Trial, reason: str, epochs: list[Epoch]) -> Record:
    """The record of a trial that will not go on."""
    return Record(
        trial.id,
        trial.sweep,
        trial.variant,
        trial.seed,
        asdict(trial.config),
        "failed",
        reason,
        epochs,
        None,
        {},
    )


class Driver(tune.Callback):
    """What the driver does with what the workers report. No error of its own may end the sweep."""

    failed = 0  # trials, since the command began: its search and its comparison have a driver each

    def __init__(
        self, work: Work, store: Store, tracker: Tracker, console: Console, limits: Limits
    ):
        self.work, self.store, self.tracker, self.console, self.limits = (
            work,
            store,
            tracker,
            console,
            limits,
        )
        self.limit = ""  # the one that was reached
        self.measured_at = time.monotonic()
        self.unended: set[str] = (
            set()
        )  # trials that ran and ended without a record, since launch() cleared it
        self.tight: set[str] = set()  # those of them that found the GPU's memory full
        self.advanced: set[str] = set()  # trials that finished an epoch since then
        self.deaths: Counter[str] = Counter()  # of a trial's workers, since it finished an epoch
        self.stopping = self.interrupted = self.busy = False
        self.running: dict[str, Trial] = {}
        self.awaited: set[str] = set()
        self.reported: dict[
            str, dict[int, Epoch]
        ] = {}  # a resumed trial reports its old epochs again
        self.errors: dict[str, str] = {}
        self.stopped: dict[str, str] = {}  # trial -> why its search has stopped it
        self.unlogged: dict[str, tuple[Trial, list[Epoch]]] = {}
        self.logged_at = 0.0

    def __reduce__(self):  # Tune pickles its callbacks for a restore that we never make
        return object, ()

    def __deepcopy__(self, memo: dict) -> Driver:
        return self

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let what is under way end before an interruption, which in the middle of a write would leave the database locked; and no error out.

        An exception in a callback would end the whole sweep: it is said, and the sweep goes on.
        """
        outer, self.busy = self.busy, True
        try:
            yield
        except StoreError as error:
            self._give_up(str(error))
        except Exception:
            print(mask(traceback.format_exc()), file=sys.stderr)
        finally:
            self.busy = outer
        if self.interrupted and not outer:
            raise KeyboardInterrupt

    def stop(self) -> None:
        self.stopping, self.awaited = True, set(self.running)

    def judge(self, trial_id: str, result: dict) -> bool:
        """Whether the trial's search stops it, now that this is known."""
        with self.shielded():
            trial, rows = self.running.get(trial_id), result.get("epochs")
            if trial and rows and (why := self.work.judge(trial, [Epoch(**row) for row in rows])):
                self.stopped[trial.id] = why
                return True
        return False

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            self.running[trial.trial_id] = trial.config["trial"]
            self.tracker.start(trial.config["trial"])
            self.console.started(trial.config["trial"])

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        with self.shielded():
            if result.get("trouble"):
                self._give_up(result["trouble"])
            if result.get("held"):
                self.console.say(f"{trial.config['trial'].name}: {result['held']}")
            if rows := result.get("epochs"):
                epochs = [Epoch(**row) for row in rows]
                known = self.reported.setdefault(trial.config["trial"].id, {})
                if any(e.epoch not in known for e in epochs):
                    del self.deaths[trial.config["trial"].id]
                    self.advanced.add(trial.config["trial"].id)
                known.update((e.epoch, e) for e in epochs)
                self.unlogged.setdefault(trial.config["trial"].id, (trial.config["trial"], []))[
                    1
                ].extend(epochs)
                self.console.epochs(trial.config["trial"], epochs)
                if self.stopping:
                    self.awaited.discard(trial.trial_id)

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        self._gone(trial)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            error = getattr(trial, "get_pickled_error", lambda: None)() or "the worker died"
            self.errors[trial.config["trial"].id] = last_line(error)
        self._gone(trial)

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            self.running.pop(trial.trial_id, None)
            self.awaited.discard(trial.trial_id)
            self.console.stopped(trial.config["trial"])
            if self.store.record(trial.config["trial"].id) is None:
                self.console.say(
                    f"{trial.config['trial'].name}: its worker failed; it goes on from its last epoch"
                )
                self._died(trial.config["trial"])

    def _died(self, trial: Trial) -> None:
        """A worker that is killed costs its trial nothing but the epoch under way; one whose trial kills it every time has to end."""
        self.deaths[trial.id] += 1
        if self.deaths[trial.id] > DEATHS:
            reason = f"its worker died {self.deaths[trial.id]} times without finishing an epoch; its last words are in log.txt"
            epochs = [*self.reported.get(trial.id, {}).values()]
            try:
                self.store.commit(
                    failed(trial, reason, epochs)
                )  # the next worker finds it, and lets the trial be
            except OSError as error:
                self._give_up(str(error))

    def _give_up(self, trouble: str) -> None:
        """The place of all records is full or away: no trial's fault, and nothing that another trial would change."""
        if not self.limit:
            self.limit = trouble
            self.stop()
            self.console.say(f"{trouble}; stopping")

    def _check_limits(self) -> None:
        """Stop as after one Ctrl-C where a limit is reached."""
        limits, reached = self.limits, ""
        if limits.hours is not None and time.monotonic() - STARTED > 3600 * limits.hours:
            reached = f"limits.hours: {limits.hours:g} have passed"
        if limits.failures is not None and self.failed >= limits.failures:
            reached = f"limits.failures: {self.failed} trials have failed"
        if limits.disk_gb is not None and time.monotonic() - self.measured_at > MEASURE_EVERY_S:
            self.measured_at = time.monotonic()
            if (size := self.store.gigabytes) > limits.disk_gb:
                reached = f"limits.disk_gb: the store has {size:.3g} GB of {limits.disk_gb:g}"
        if reached:
            self.limit = reached
            self.stop()
            self.console.say(f"{reached}; stopping after the epochs under way")

    def on_step_end(self, iteration, trials, **info) -> None:
        with self.shielded():
            self.console.tick()
            if not self.stopping:
                self._check_limits()
            if time.monotonic() - self.logged_at > LOG_EVERY_S:
                self.flush()

    def flush(self) -> None:
        """Tell MLflow what it has not heard: epochs by the batch, since short ones would cost more to log than to train."""
        waiting, self.unlogged, self.logged_at = self.unlogged, {}, time.monotonic()
        for trial, epochs in waiting.values():
            self.tracker.log(trial, epochs)

    def _gone(self, trial) -> None:
        with self.shielded():
            ours = trial.config["trial"]
            self.running.pop(trial.trial_id, None)
            self.awaited.discard(trial.trial_id)
            self.settle(ours)
            if self.store.record(ours.id) is None:
                self.unended.add(ours.id)
                if self.store.failures(ours.id)[-1:] == ["out of memory"]:
                    self.tight.add(ours.id)

    def settle(self, trial: Trial) -> None:
        """A trial runs no longer: record how it ended, if it did."""
        record = self.store.record(trial.id)
        if record is None and (trial.id in self.errors or trial.id in self.stopped):
            epochs = [*self.reported.get(trial.id, {}).values()]
            record = failed(trial, self.errors.get(trial.id, ""), epochs)
            if trial.id in self.stopped:
                record = replace(
                    record,
                    status="stopped",
                    reason=self.stopped[trial.id],
                    provenance=self.work.mark(trial),
                )
            self.store.commit(record)
        if record is None:
            self.console.stopped(trial)
        elif trial.id not in self.console.records:
            self.unlogged.pop(trial.id, None)  # the record has them all
            self.tracker.end(trial, record)
            self.console.ended(trial, record)
            Driver.failed += record.status == "failed"


class Stopper(tune.Stopper):
    """Once the sweep is being stopped: each trial after the epoch under way, then everything."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def __call__(self, trial_id: str, result: dict) -> bool:
        return self.driver.judge(trial_id, result) or self.driver.stopping

    def stop_all(self) -> bool:
        return self.driver.stopping and not self.driver.awaited


def last_line(text: object) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return mask(lines[-1])[:300] if lines else "unknown error"
