"""Ray Tune as a disposable scheduler: a fresh one at every start, over the trials still to do. The truth is in the store.

Workers train, save and report; the driver records. Whether a trial is done is read from the store, never from Tune's status: after an
interruption Tune calls unfinished trials TERMINATED, and what it would restore lags by ten seconds or more.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from runners.errors import Held, StoreError, SweepError
from runners.launch import cluster
from runners.launch.cluster import Searcher, tune
from runners.launch.console import Console
from runners.launch.driver import Driver, Stopper, failed, last_line
from runners.plan import Resources, Sweep, Trial
from runners.search.queue import Work
from runners.store import Store
from runners.tracking.tracker import Tracker

RETRIES = 2
PATIENCE_S = 300.0  # of a worker whose store is full or away
GPU_FULL = r"CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"  # where torch's own allocator was not the one that asked


@dataclass(frozen=True)
class Setting:
    """What a worker needs to know besides its trial; `identity` is the store's, for a node that joined later and may see another."""

    storage: str
    identity: str
    data: str
    threads: int
    gpu: float


@functools.cache
def _end_with_the_node() -> None:
    """Let this worker end when Ray on its node does: unseen by everyone it would wait to report, and hold its trial, for ever."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


def _work(config: dict[str, Any]) -> None:
    """One trial in a worker; Ray calls it. Its output goes to the trial's log, its state to the store, its epochs to the driver."""
    _end_with_the_node()
    trial, setting = config["trial"], config["setting"]
    try:
        store = Store(setting.storage, PATIENCE_S)
        if blind := cluster.unseen(store, setting.identity):
            raise SweepError(blind)
    except (StoreError, SweepError) as error:
        tune.report({"trouble": f"node {os.uname().nodename}: {error}"})
        return
    with (
        store.log(trial.id) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            import torch

            from runners.trial.run import run

            torch.set_num_threads(setting.threads)
            for epochs in run(
                replace(trial, conv_path=store.conv(trial.conv_path)),
                store,
                setting.data,
                "auto" if setting.gpu else "cpu",
            ):
                tune.report({"epochs": [asdict(e) for e in epochs]})
        except StoreError as error:
            print(error)
            tune.report({"trouble": str(error)})
        except Held as error:  # no failure: as a lost node's worker may, another process still trains it; the next round of launch() asks again
            tune.report({"held": str(error)})
        except Exception as error:
            traceback.print_exc()
            if not _fail(trial, store, error, setting.gpu):
                raise
            tune.report({"epochs": []})  # Tune would say on the screen that there is no result


def _fail(trial: Trial, store: Store, error: Exception, gpu: float) -> bool:
    """Keep in mind how a trial failed; True if there is no use in trying at once again.

    Out of the GPU's memory: not while as many share it. What the config itself makes impossible: never. All else: RETRIES times.
    """
    full = type(error).__name__ == "OutOfMemoryError" or (gpu and re.search(GPU_FULL, str(error)))
    kind = "out of memory" if full else "invalid" if isinstance(error, ValueError) else "error"
    try:
        times = store.note_failure(trial.id, kind)
    except OSError:  # a full disk: the driver counts
        return False
    if kind == "out of memory" and 0 < gpu < 1:
        return True
    if kind == "error" and times <= RETRIES:
        return False
    saved = store.checkpoint(trial.id)
    why = (
        f"{type(error).__name__}: {error}"
        if kind != "out of memory"
        else f"out of the GPU's memory, even alone on it: {error}"
    )
    store.commit(failed(trial, last_line(why), saved[1] if saved else []))
    return not gpu  # after an error a GPU's process is not to be trusted with another trial


class _Queue(Searcher):
    """Hands out the work, until there is none or the sweep is being stopped."""

    def __init__(self, work: Work, setting: Setting, driver: Driver):
        super().__init__()
        self.work, self.setting, self.driver = work, setting, driver

    def suggest(self, trial_id: str) -> Any:
        if self.driver.stopping:
            return Searcher.FINISHED
        with self.driver.shielded():  # asking a search writes to its study
            if trial := self.work.next():
                return {"trial": trial, "setting": self.setting}
            # a search that waits for what this fit will not end again would wait for ever
            stuck = self.driver.unended and not self.driver.running
            return Searcher.FINISHED if self.work.over or stuck else None
        return Searcher.FINISHED  # what is wrong has been said

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
) -> str:
    """Run the trials; returns why it was stopped before all had ended, or nothing."""
    driver = Driver(work, store, tracker, console, sweep.limits)
    suspicions: Counter[str] = Counter()
    fruitless = 0
    with _stop_signals(driver):
        work.begin(suspicions)
        while not (work.over and not work.left()) and not driver.stopping and fruitless <= RETRIES:
            for memory in (driver.running, driver.unended, driver.tight, driver.advanced):
                memory.clear()
            ended = len(work.trials) - len(work.left())
            setting = Setting(
                str(store.root),
                store.identity,
                data,
                max(1, int(resources.cpu)),
                resources.gpu or 0,
            )
            problem = _fit(sweep, resources, setting, driver)
            if problem:  # Ray gives up as a whole when one trial takes too much memory: which one, time will tell
                suspicions.update(t.id for t in driver.running.values())
                for trial_id in driver.advanced:  # whoever gets on is not the one
                    del suspicions[trial_id]
            for trial in work.trials:
                if suspicions[trial.id] > RETRIES:
                    driver.errors.setdefault(
                        trial.id, f"Ray ended {RETRIES + 1} times while it ran: {problem}"
                    )
                with driver.shielded():
                    driver.settle(trial)
            left = work.left()
            if driver.tight and not problem and not driver.stopping:
                resources, fruitless = fewer(resources), 0
                console.say(
                    f"{len(driver.tight)} trials ran out of the GPU's memory; again with gpu: {resources.gpu:g} each"
                )
            elif (left or not work.over) and not driver.stopping:
                console.say(
                    f"Ray ended with {f'{len(left)} trials to go' if left else 'the search under way'}: {problem or 'it gave no reason'}"
                )
                fruitless = (
                    0 if len(work.trials) - len(left) > ended or driver.running else fruitless + 1
                )
            work.begin(suspicions)
        return (
            (driver.limit or "interrupted")
            if driver.stopping and not (work.over and not work.left())
            else ""
        )


def fewer(resources: Resources) -> Resources:
    """Half as many trials on a GPU."""
    gpu = resources.gpu or 0.0
    return replace(resources, gpu=max(gpu, min(1.0, 2 * gpu)))


def _fit(sweep: Sweep, resources: Resources, setting: Setting, driver: Driver) -> str:
    """One fresh Tuner over the work; returns why Ray gave up, or nothing."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        try:
            tune.Tuner(
                tune.with_resources(_work, {"cpu": resources.cpu, "gpu": resources.gpu or 0}),
                tune_config=tune.TuneConfig(
                    search_alg=_Queue(driver.work, setting, driver),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=sweep.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[driver],
                    stop=Stopper(driver),
                    failure_config=tune.FailureConfig(
                        max_failures=-1
                    ),  # a worker that is killed is not its trial's fault; _fail counts the rest
                ),
            ).fit()
        except Exception as error:
            return last_line(str(error))
    return ""


@contextlib.contextmanager
def _stop_signals(driver: Driver) -> Iterator[None]:
    """Ctrl-C once: stop after the epochs under way. Twice, or SIGTERM: stop now; what is lost is the epoch under way."""

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGINT and not driver.stopping:
            driver.stop()
            driver.console.say(
                "stopping after the epochs under way; Ctrl-C again stops at once (nothing is lost but those epochs)"
            )
        else:
            driver.stopping = driver.interrupted = True
            if not driver.busy:
                raise KeyboardInterrupt

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
