"""Ray Tune as a disposable scheduler: a fresh one at every start, over the trials still to do. The truth is in the store.

Workers train, save and report; the driver records. Whether a trial is done is read from the store, never from Tune's status: after an
interruption Tune calls unfinished trials TERMINATED, and what it would restore lags by ten seconds or more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.update(
    RAY_AIR_NEW_OUTPUT="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",  # ours lets the epochs under way end
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
)
import ray
from ray import tune
from ray.tune.search import Searcher

from runners.console import Console
from runners.plan import Resources, Sweep, Trial
from runners.store import Epoch, Record, Store
from runners.strict import SweepError
from runners.tracking import Tracker
from runners.work import Work

RETRIES = 2
LOG_EVERY_S = 2.0


@dataclass(frozen=True)
class Setting:
    """What a worker needs to know besides its trial."""

    storage: str
    data: str
    threads: int
    gpu: bool


def connect(address: str) -> None:
    """Start Ray on this machine, or join the cluster at `address`.

    Raises:
        SweepError: there is no cluster at that address.
    """
    quiet: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        if re.fullmatch(r"[^/]+:\d+", address):  # Ray itself would try for minutes
            host, port = address.rsplit(":", 1)
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise SweepError(
            f"--address {address}: {' '.join(str(error).split())[:200]}; start one with `ray start --head`, or leave --address out"
        ) from None


def fit_resources(resources: Resources) -> Resources:
    """The request with its defaults filled in.

    Raises:
        SweepError: no node of the cluster can ever meet it; Tune would wait for ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpu = resources.gpu if resources.gpu is not None else float(any(n.get("GPU") for n in nodes))
    for name, wanted, key in (("gpu", gpu, "GPU"), ("cpu", resources.cpu, "CPU")):
        most = max(n.get(key, 0) for n in nodes)
        if wanted > most:
            raise SweepError(
                f"resources.{name}: a trial asks for {wanted:g}, but no node has more than {most:g}; use --set resources.{name}={most:g}"
            )
    if not any(n.get("GPU", 0) >= gpu and n.get("CPU", 0) >= resources.cpu for n in nodes):
        raise SweepError(f"resources: no single node has {gpu:g} GPU and {resources.cpu:g} CPU together; ask for less of one")
    return Resources(gpu, resources.cpu)


def slots(resources: Resources) -> int:
    """How many trials run at a time on the cluster as it is."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    by_cpu = (n.get("CPU", 0) // resources.cpu for n in nodes)
    by_gpu = (n.get("GPU", 0) // resources.gpu if resources.gpu else float("inf") for n in nodes)
    return int(sum(min(pair) for pair in zip(by_cpu, by_gpu, strict=True)))


def _work(config: dict[str, Any]) -> None:
    """One trial in a worker; Ray calls it. Its output goes to the trial's log, its state to the store, its epochs to the driver."""
    trial, setting = config["trial"], config["setting"]
    store = Store(setting.storage)
    store.folder(trial.id).mkdir(parents=True, exist_ok=True)
    with open(store.folder(trial.id) / "log.txt", "a", buffering=1) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            import torch

            from runners.train import run

            torch.set_num_threads(setting.threads)
            for epochs in run(trial, store, setting.data, "auto" if setting.gpu else "cpu"):
                tune.report({"epochs": [asdict(e) for e in epochs]})
        except Exception:
            traceback.print_exc()
            raise


class _Queue(Searcher):
    """Hands out the work, until there is none or the sweep is being stopped."""

    def __init__(self, work: Work, setting: Setting, driver: _Driver):
        super().__init__()
        self.work, self.setting, self.driver = work, setting, driver

    def suggest(self, trial_id: str) -> Any:
        if self.driver.stopping:
            return Searcher.FINISHED
        with self.driver.shielded():  # asking a search writes to its study
            if trial := self.work.next():
                return {"trial": trial, "setting": self.setting}
            return Searcher.FINISHED if self.work.over else None
        return Searcher.FINISHED  # what is wrong has been said

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Stopper(tune.Stopper):
    """Once the sweep is being stopped: each trial after the epoch under way, then everything."""

    def __init__(self, driver: _Driver):
        self.driver = driver

    def __call__(self, trial_id: str, result: dict) -> bool:
        return self.driver.judge(trial_id, result) or self.driver.stopping

    def stop_all(self) -> bool:
        return self.driver.stopping and not self.driver.awaited


class _Driver(tune.Callback):
    """What the driver does with what the workers report. No error of its own may end the sweep."""

    def __init__(self, work: Work, store: Store, tracker: Tracker, console: Console):
        self.work, self.store, self.tracker, self.console = work, store, tracker, console
        self.stopping = self.interrupted = self.busy = False
        self.running: dict[str, Trial] = {}
        self.awaited: set[str] = set()
        self.reported: dict[str, dict[int, Epoch]] = {}  # a resumed trial reports its old epochs again
        self.errors: dict[str, str] = {}
        self.stopped: dict[str, str] = {}  # trial -> why its search has stopped it
        self.unlogged: dict[str, tuple[Trial, list[Epoch]]] = {}
        self.logged_at = 0.0

    def __reduce__(self):  # Tune pickles its callbacks for a restore that we never make
        return object, ()

    def __deepcopy__(self, memo: dict) -> _Driver:
        return self

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let what is under way end before an interruption, which in the middle of a write would leave the database locked; and no error out.

        An exception in a callback would end the whole sweep: it is said, and the sweep goes on.
        """
        outer, self.busy = self.busy, True
        try:
            yield
        except Exception:
            traceback.print_exc(file=sys.stderr)
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
            if rows := result.get("epochs"):
                epochs = [Epoch(**row) for row in rows]
                self.reported.setdefault(trial.config["trial"].id, {}).update((e.epoch, e) for e in epochs)
                self.unlogged.setdefault(trial.config["trial"].id, (trial.config["trial"], []))[1].extend(epochs)
                self.console.epochs(trial.config["trial"], epochs)
                if self.stopping:
                    self.awaited.discard(trial.trial_id)

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        self._gone(trial)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            error = getattr(trial, "get_pickled_error", lambda: None)() or "the worker died"
            self.errors[trial.config["trial"].id] = _last_line(error)
        self._gone(trial)

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        with self.shielded():
            self.running.pop(trial.trial_id, None)
            self.awaited.discard(trial.trial_id)
            self.console.stopped(trial.config["trial"])
            self.console.say(f"{trial.config['trial'].name}: its worker failed; it goes on from its last epoch")

    def on_step_end(self, iteration, trials, **info) -> None:
        with self.shielded():
            self.console.tick()
            if time.monotonic() - self.logged_at > LOG_EVERY_S:
                self.flush()

    def flush(self) -> None:
        """Tell MLflow what it has not heard: epochs by the batch, since short ones would cost more to log than to train."""
        waiting, self.unlogged, self.logged_at = self.unlogged, {}, time.monotonic()
        for trial, epochs in waiting.values():
            self.tracker.log(trial, epochs)

    def _gone(self, trial) -> None:
        with self.shielded():
            self.running.pop(trial.trial_id, None)
            self.awaited.discard(trial.trial_id)
            self.settle(trial.config["trial"])

    def settle(self, trial: Trial) -> None:
        """A trial runs no longer: record how it ended, if it did."""
        record = self.store.record(trial.id)
        if record is None and (trial.id in self.errors or trial.id in self.stopped):
            status, reason = ("stopped", self.stopped[trial.id]) if trial.id in self.stopped else ("failed", self.errors[trial.id])
            epochs = [*self.reported.get(trial.id, {}).values()]
            record = Record(trial.id, trial.sweep, trial.variant, trial.seed, asdict(trial.config), status, reason, epochs, None, {})
            self.store.commit(record)
        if record is None:
            self.console.stopped(trial)
        elif trial.id not in self.console.records:
            self.unlogged.pop(trial.id, None)  # the record has them all
            self.tracker.end(trial, record)
            self.console.ended(trial, record)


def launch(sweep: Sweep, work: Work, resources: Resources, store: Store, tracker: Tracker, console: Console, data: str) -> bool:
    """Run the trials; True if the user stopped it before all had ended."""
    driver = _Driver(work, store, tracker, console)
    setting = Setting(str(store.root), data, max(1, int(resources.cpu)), bool(resources.gpu))
    suspicions: Counter[str] = Counter()
    fruitless = 0
    with _stop_signals(driver):
        work.begin(suspicions)
        while not (work.over and not work.left()) and not driver.stopping and fruitless <= RETRIES:
            driver.running.clear()
            ended = len(work.trials) - len(work.left())
            problem = _fit(sweep, resources, setting, driver)
            if problem:  # Ray gives up as a whole when one trial takes too much memory: which one, time will tell
                suspicions.update(t.id for t in driver.running.values())
            for trial in work.trials:
                if suspicions[trial.id] > RETRIES:
                    driver.errors.setdefault(trial.id, f"Ray ended {RETRIES + 1} times while it ran: {problem}")
                with driver.shielded():
                    driver.settle(trial)
            left = work.left()
            if (left or not work.over) and not driver.stopping:
                console.say(f"Ray ended with {f'{len(left)} trials to go' if left else 'the search under way'}: {problem or 'it gave no reason'}")
                fruitless = 0 if len(work.trials) - len(left) > ended or driver.running else fruitless + 1
            work.begin(suspicions)
        return driver.stopping and not (work.over and not work.left())


def _fit(sweep: Sweep, resources: Resources, setting: Setting, driver: _Driver) -> str:
    """One fresh Tuner over the work; returns why Ray gave up, or nothing."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        try:
            tune.Tuner(
                tune.with_resources(_work, {"cpu": resources.cpu, "gpu": resources.gpu or 0}),
                tune_config=tune.TuneConfig(search_alg=_Queue(driver.work, setting, driver), num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    name=sweep.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[driver],
                    stop=_Stopper(driver),
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                ),
            ).fit()
        except Exception as error:
            return _last_line(str(error))
    return ""


@contextlib.contextmanager
def _stop_signals(driver: _Driver) -> Iterator[None]:
    """Ctrl-C once: stop after the epochs under way. Twice, or SIGTERM: stop now; what is lost is the epoch under way."""

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGINT and not driver.stopping:
            driver.stop()
            driver.console.say("stopping after the epochs under way; Ctrl-C again stops at once (nothing is lost but those epochs)")
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


def _last_line(text: object) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "unknown error"
