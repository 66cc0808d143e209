"""What the driver does at each event of Ray Tune: record it, show it, judge it, try again, stop."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from runners.errors import StoreError, reason
from runners.launch import node_memory
from runners.launch.attempts import Attempts
from runners.launch.cluster import ray, tune
from runners.launch.console import Console, duration
from runners.launch.liveness import Clock, Liveness
from runners.launch.recorder import Recorder
from runners.launch.signals import Signals
from runners.launch.stopping import Stop
from runners.plan import Trial
from runners.redaction import mask
from runners.store import State


@dataclass
class Round:
    """What lives for one fit of Ray Tune; a new one for each."""

    slots: float = math.inf  # how many trials could start at once when it began
    # by Tune's ids of the trials
    handed: set[str] = field(default_factory=set)  # given to Tune, and not yet back
    running: dict[str, Any] = field(default_factory=dict)  # Tune's own trials, with a worker
    explained: set[str] = field(default_factory=set)  # whose worker reported why it failed
    ended: set[str] = field(default_factory=set)  # whose worker was ended for its silence
    # by ours
    unended: set[str] = field(default_factory=set)  # that came back without a record
    tight: set[str] = field(default_factory=set)  # that found the GPU's memory full
    advanced: set[str] = field(default_factory=set)  # that finished an epoch
    problem: str = ""  # why Ray gave up as a whole
    full: node_memory.Full | None = None  # the memory that made it give up
    paused: bool = False  # whether it ended to wait for memory

    @property
    def trials(self) -> list[Trial]:
        """Those that a worker trains."""
        return [trial.config["trial"] for trial in self.running.values()]

    def dropped(self, trials: Sequence[Any]) -> list[Any]:
        """Those of Tune's trials that it has ended without a word, as it does where the used worker
        that was to train one does not come free in time.
        """
        # Tune's list has all trials, the last ones last; this is asked at each of its steps
        known = (t for t in reversed(trials) if t.trial_id in self.handed)
        return [t for t in islice(known, len(self.handed)) if t.is_finished()]

    def end_worker(self, console: Console, key: str, why: str) -> None:
        """End the worker of a trial, where it has one."""
        if trial := self.running.get(key):
            console.say(f"{trial.config['trial'].name}: {why}; its worker is ended")
            _kill_worker(trial)

    @property
    def workers(self) -> int:
        """How many trials have a worker, or one that is starting, at most."""
        return int(max(len(self.running), min(len(self.handed), self.slots)))

    @property
    def filled(self) -> bool:
        """Whether each slot has a trial, and one trial more waits for the next that is free."""
        return len(self.handed) > max(self.slots, len(self.running))


class Driver(tune.Callback):
    """The driver of a phase, as Tune calls it back. No error of its own may end the sweep."""

    def __init__(self, recorder: Recorder, signals: Signals):
        self.recorder, self.signals = recorder, signals
        self.work, self.console, self.limits = recorder.work, recorder.console, recorder.limits
        self.round = Round()
        self.liveness = Liveness(Clock())
        self.stop = Stop(self.console, self.liveness)
        self.attempts = Attempts(recorder, self.liveness.clock)
        self.said: set[str] = set()

    def __reduce__(self):  # Tune pickles its callbacks for a restore that we never make
        return object, ()

    def __deepcopy__(self, memo: dict) -> Driver:
        return self

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let no error out, which would end the whole sweep, and no interruption in."""
        with self.signals.deferred():
            try:
                yield
            except StoreError as error:
                self.give_up(str(error))
            except Exception as error:
                # one traceback of a kind: this may come back ten times a second
                if (what := reason(error)) not in self.said:
                    self.said.add(what)
                    print(mask(traceback.format_exc()), file=sys.stderr)

    def give_up(self, trouble: str) -> None:
        """Stop for a trouble that is no trial's fault, and that another trial would have too."""
        if not self.stop.why:
            self.stop.ask(self.round.running, trouble)

    def has_room(self) -> bool:
        """Whether memory suffices for one more trial."""
        return self.attempts.pressure.room(len(self.round.handed), self.liveness.clock.now)

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            self.round.running[trial.trial_id] = trial
            self.liveness.began(trial.trial_id, trial.config["trial"])
            self.recorder.start(trial.config["trial"])

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        with self.shielded():
            ours, key = trial.config["trial"], trial.trial_id
            if "trouble" in result:
                self.give_up(result["trouble"])
            if "held" in result:
                self.console.say(f"{ours.name}: {result['held']}")
            if "unevaluated" in result:
                self.recorder.unevaluated(ours, result["unevaluated"])
            if "failed" in result:
                self.round.explained.add(key)
                self.round.tight |= {ours.id} if result["tight"] else set()
                self.attempts.erred(ours, result["failed"], result["attempt"])
            if rows := result.get("epochs"):
                epochs, new = self.recorder.epochs(ours, rows)
                self.liveness.epochs(key, ours, epochs)
                if new:
                    self.attempts.advanced(ours)
                    self.round.advanced.add(ours.id)
                # once the sweep is being stopped, this was the epoch under way
                self.stop.awaited.discard(key)

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            ours = self._back(trial)
            if self.recorder.settle(ours):
                self.attempts.pressure.ended()
            else:
                self.round.unended.add(ours.id)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            others = len(self.round.handed - {trial.trial_id})
            ours = self._back(trial)
            if not self.stop.asked:
                self._worker_ended(trial, ours, others)
            if not self.recorder.settle(ours) and not self.stop.asked:
                self.work.again(ours)

    def on_step_end(self, iteration, trials, **info) -> None:
        with self.shielded():
            for ours in map(self._back, self.round.dropped(trials)):
                if not self.recorder.settle(ours) and not self.stop.asked:
                    said = "its worker was still busy; another one will train it"
                    self.console.say(f"{ours.name}: {said}")
                    self.work.again(ours)
            self.watch()
            self.recorder.flush(now=False)

    def _back(self, trial: Any) -> Trial:
        """Tune gives a trial back; returns it as ours."""
        self.round.handed.discard(trial.trial_id)
        self.round.running.pop(trial.trial_id, None)
        self.stop.awaited.discard(trial.trial_id)
        self.liveness.gone(trial.trial_id)
        return trial.config["trial"]

    def _worker_ended(self, trial: Any, ours: Trial, others: int) -> None:
        """A worker ended without its trial, while so many others ran."""
        if trial.trial_id in self.round.explained:
            self.round.explained.discard(trial.trial_id)
        elif trial.trial_id in self.round.ended:
            self.round.ended.discard(trial.trial_id)
            self.attempts.stalled(ours, self.limits.limits.stall_minutes or 0)
        elif full := node_memory.read(_error(trial)):
            self._out_of_memory(full, [ours], others + 1)
        else:
            self.attempts.died(ours, _how_it_died(_error(trial)))

    def _out_of_memory(self, full: node_memory.Full, lost: list[Trial], at_a_time: int) -> None:
        if trouble := self.attempts.out_of_memory(full, lost, at_a_time):
            self.give_up(trouble)

    def gave_up(self, error: Exception) -> None:
        """Ray gave up as a whole, and all that ran has lost its worker."""
        self.round.problem, self.round.full = reason(error), node_memory.read(str(error))
        if self.round.full and (lost := self.round.trials) and not self.stop.asked:
            with self.shielded():
                self._out_of_memory(self.round.full, lost, self.round.workers)

    def watch(self) -> None:
        """Look at the clock: limits, long silences, epochs that do not end."""
        self.liveness.clock.tick()
        self.console.tick()
        stall = self.limits.limits.stall_minutes
        way = "" if stall else "; limits.stall_minutes ends such a worker and tries again"
        for trial, seconds in self.liveness.silences():
            self.console.say(f"{trial.name}: no epoch for {duration(seconds)}{way}")
        if self.stop.asked:
            late = f"its epoch did not end within {duration(self.stop.grace)}"
            for key in [*self.stop.overdue]:
                self.stop.awaited.discard(key)
                self.round.end_worker(self.console, key, late)
        elif reached := self.limits.reached():
            self.stop.ask(self.round.running, reached)
        elif stall:
            for key in set(self.liveness.stalled(60 * stall)) - self.round.ended:
                self.round.ended.add(key)
                self.round.end_worker(
                    self.console, key, f"no epoch within {stall:g} min (limits.stall_minutes)"
                )


class Stopper(tune.Stopper):
    """Ends a trial that its search prunes; at a stop each after its epoch, then everything."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def __call__(self, trial_id: str, result: dict) -> bool:
        return self._pruned(trial_id, result) or self.driver.stop.asked

    def _pruned(self, key: str, result: dict) -> bool:
        """Whether the trial's search prunes it, now that this is known."""
        driver = self.driver
        with driver.shielded():
            if key in driver.round.running and (rows := result.get("epochs")):
                trial = driver.round.running[key].config["trial"]
                if why := driver.work.judge(trial, driver.recorder.read(rows)):
                    driver.recorder.verdicts[trial.id] = (State.PRUNED, why)
                    return True
        return False

    def stop_all(self) -> bool:
        return self.driver.stop.asked and not self.driver.stop.awaited


def _error(trial: Any) -> str:
    """The text of the error for which Tune gave a trial up; Tune keeps it in a file of its own."""
    file = trial.error_file
    return Path(file).read_text(errors="replace") if file and Path(file).exists() else ""


def _how_it_died(error: str) -> str:
    """The first clause of what Ray says of a worker's exit; empty: it says nothing."""
    found = re.search(r"Worker exit detail: (.+?)(?:\. There are|\.\s|$)", error)
    return found[1] if found else ""


def _kill_worker(trial: Any) -> None:
    """End a worker that may not even answer: Ray kills it by SIGKILL, on whatever node."""
    with contextlib.suppress(Exception):  # it may just have ended by itself
        ray.kill(trial.temporary_state.ray_actor)
