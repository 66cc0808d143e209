"""Ray Tune as a disposable scheduler: a fresh one at every start, over the trials still to do.

The truth is in the store. Workers train, save and report; the driver records. Whether a trial has
ended is read from the store, never from Tune's status: after an interruption Tune calls unfinished
trials TERMINATED, and a restored Tune lags by ten seconds or more.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from runners.errors import StoreError
from runners.launch import cluster, scratch
from runners.launch.cluster import Searcher, tune
from runners.launch.console import Console
from runners.launch.driver import Driver, Round, Stopper
from runners.launch.gpu_memory import fewer
from runners.launch.limits import LimitWatch
from runners.launch.recorder import Recorder
from runners.launch.signals import Signals
from runners.launch.worker import RETRIES, Pool, Setting, train_trial
from runners.plan import Resources, Sweep
from runners.search.queue import Work
from runners.store import State, Store
from runners.tracking.tracker import Tracker

# the queue hands a trial out again; Tune never does, a preempted node's included
os.environ["RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE"] = "1"


class Queue(Searcher):
    """Hands out the work, until there is none or the sweep is being stopped."""

    def __init__(self, work: Work, setting: Setting, driver: Driver):
        super().__init__()
        self.work, self.setting, self.driver = work, setting, driver
        self.named: dict[str, str] = {}  # trials of other processes that the console has named

    def __reduce__(self):  # Tune pickles it for a restore that we never make; a connection cannot
        return object, ()

    def suggest(self, trial_id: str) -> Any:
        if self.driver.stop.asked:
            return Searcher.FINISHED
        idle = not self.driver.round.handed
        with self.driver.shielded():  # asking a search writes to its study
            if not self.driver.has_room():
                self.driver.round.paused = self.driver.round.paused or idle
                return Searcher.FINISHED if idle else None
            if self.driver.round.filled:
                return None
            if trial := self.work.next():
                self.driver.round.handed.add(trial_id)
                return {"trial": trial, "setting": self.setting}
            if idle and self.work.elsewhere:
                self._wait()
            # a search that waits for a trial which this round will not end would wait for ever;
            # a trial that is handed out may fail, and then is handed out again
            stuck = self.work.over or self.driver.round.unended
            return Searcher.FINISHED if idle and stuck else None
        return Searcher.FINISHED  # the driver has printed the error

    def _wait(self) -> None:
        """Other processes, such as another sweep's, train all that is left; Tune asks again."""
        self.driver.watch()
        for name, owner in self.work.elsewhere.items():
            if self.named.get(name) != owner:
                self.named[name] = owner
                self.driver.console.say(f"{name}: waiting for its training by {owner}")

    def on_trial_complete(
        self, trial_id: str, result: dict | None = None, error: bool = False
    ) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


def launch(
    sweep: Sweep,
    work: Work,
    resources: Resources,
    store: Store,
    tracker: Tracker,
    console: Console,
    data: str,
    limits: LimitWatch,
) -> str:
    """Run the trials; returns why it was stopped before all had ended, or nothing."""
    signals = Signals(store.files.patience.cancel)
    driver = Driver(Recorder(work, store, tracker, console, limits), signals)
    setting = Setting(
        storage=str(store.root),
        identity=store.identity,
        data=data,
        threads=resources.threads,
        gpu=resources.share or 0,
        patience_s=store.files.patience.seconds,
    )
    with signals.answered(lambda: driver.stop.asked, lambda: driver.stop.ask(driver.round.running)):
        try:
            _rounds(sweep, resources, setting, driver)
            if not _to_do(work):
                return ""
        except StoreError as error:
            driver.give_up(str(error))
    return (driver.stop.why or "interrupted") if driver.stop.asked else ""


def _rounds(sweep: Sweep, resources: Resources, setting: Setting, driver: Driver) -> None:
    """Fit after fit, until all trials have ended, or Ray gets nowhere."""
    work = driver.work
    suspicions: Counter[str] = Counter()
    fruitless = 0
    work.begin(suspicions)
    while _to_do(work) and not driver.stop.asked and fruitless <= RETRIES:
        before = len(work.left())
        done = _fit(sweep, resources, replace(setting, gpu=resources.share or 0), driver)
        _suspect(done, suspicions, driver)
        for trial in work.trials:
            with driver.shielded():
                driver.recorder.settle(trial)
        work.begin(suspicions)
        left = work.left()
        if done.tight and not done.problem and not driver.stop.asked:
            resources, fruitless = fewer(resources), 0
            driver.console.say(
                f"{len(done.tight)} trials ran out of the GPU's memory; "
                f"again with gpu: {resources.share:g} each"
            )
        elif _to_do(work) and not driver.stop.asked and not (done.full or done.paused):
            to_go = f"{len(left)} trials to go" if left else "the search under way"
            driver.console.say(f"Ray ended with {to_go}: {done.problem or 'it gave no reason'}")
            fruitless = 0 if len(left) < before or done.running else fruitless + 1
        # where memory is full, nothing starts for a while
        while not driver.has_room() and not driver.stop.asked:
            driver.on_step_end(0, [])
            time.sleep(0.1)


def _to_do(work: Work) -> bool:
    return not work.over or bool(work.left())


def _suspect(done: Round, suspicions: Counter[str], driver: Driver) -> None:
    """Ray gave up as a whole: a trial that is there each time, and gets nowhere, has to end."""
    if not done.problem or done.full:
        return
    suspicions.update(t.id for t in done.trials)
    for trial_id in done.advanced:
        del suspicions[trial_id]
    for trial in driver.work.trials:
        if suspicions[trial.id] > RETRIES:
            why = f"Ray ended {RETRIES + 1} times while it ran: {done.problem}"
            driver.recorder.verdicts.setdefault(trial.id, (State.FAILED, why))


def _fit(sweep: Sweep, resources: Resources, setting: Setting, driver: Driver) -> Round:
    """One fresh Tuner over the work; returns what became of it."""
    # by itself Tune starts a worker when the one before it has started: one or two seconds for each
    slots = cluster.free(resources)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots + 1)
    driver.round = done = Round(slots)
    # trials that failed are the driver's to print
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
    with scratch.folder() as storage:
        try:
            tune.Tuner(
                tune.with_resources(
                    train_trial, lambda config: Pool(resources, config["trial"].config)
                ),
                tune_config=tune.TuneConfig(
                    search_alg=Queue(driver.work, setting, driver),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=sweep.name,
                    storage_path=str(storage),
                    verbose=0,
                    callbacks=[driver],
                    stop=Stopper(driver),
                    # the queue hands a trial out again, where and when that makes sense
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()
        except Exception as error:
            driver.gave_up(error)
    driver.round = Round()
    return done
