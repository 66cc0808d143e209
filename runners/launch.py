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
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, TextIO

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
from runners.driver import Driver, Stopper, failed, last_line
from runners.plan import Resources, Sweep, Trial
from runners.store import Held, Store
from runners.strict import SweepError
from runners.tracking import Tracker
from runners.work import Work

RETRIES = 2
JOIN_S = 60.0
GPU_FULL = r"CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"  # where torch's own allocator was not the one that asked


@dataclass(frozen=True)
class Setting:
    """What a worker needs to know besides its trial."""

    storage: str
    data: str
    threads: int
    gpu: float


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
        deadline = time.monotonic() + JOIN_S
        while not any(n["Alive"] and n["Resources"].get("CPU") for n in ray.nodes()) and time.monotonic() < deadline:
            time.sleep(0.5)  # a head that trains nothing, whose workers are still coming up
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
            way = f"use --set resources.{name}={most:g}" if most or key == "GPU" else "start a worker that joins the cluster"
            raise SweepError(f"resources.{name}: a trial asks for {wanted:g}, but no node has more than {most:g}; {way}")
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
    with _log(store, trial) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            import torch

            from runners.train import run

            torch.set_num_threads(setting.threads)
            for epochs in run(trial, store, setting.data, "auto" if setting.gpu else "cpu"):
                tune.report({"epochs": [asdict(e) for e in epochs]})
        except Exception as error:
            with contextlib.suppress(OSError):
                traceback.print_exc()
            if not _fail(trial, store, error, setting.gpu):
                raise


def _log(store: Store, trial: Trial) -> TextIO:
    """Where the trial's output goes; nowhere on a full disk."""
    try:
        return open(store.folder(trial.id) / "log.txt", "a", buffering=1)
    except OSError:
        return open(os.devnull, "w")


def _fail(trial: Trial, store: Store, error: Exception, gpu: float) -> bool:
    """Keep in mind how a trial failed; True if there is no use in trying at once again.

    Out of the GPU's memory: not while as many share it. What the config itself makes impossible: never. All else: RETRIES times. That
    another process still trains it, as a lost node's worker may, is no failure: the next round of launch() asks again.
    """
    if isinstance(error, Held):
        return True
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
    why = f"{type(error).__name__}: {error}" if kind != "out of memory" else f"out of the GPU's memory, even alone on it: {error}"
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

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


def launch(sweep: Sweep, work: Work, resources: Resources, store: Store, tracker: Tracker, console: Console, data: str) -> str:
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
            setting = Setting(str(store.root), data, max(1, int(resources.cpu)), resources.gpu or 0)
            problem = _fit(sweep, resources, setting, driver)
            if problem:  # Ray gives up as a whole when one trial takes too much memory: which one, time will tell
                suspicions.update(t.id for t in driver.running.values())
                for trial_id in driver.advanced:  # whoever gets on is not the one
                    del suspicions[trial_id]
            for trial in work.trials:
                if suspicions[trial.id] > RETRIES:
                    driver.errors.setdefault(trial.id, f"Ray ended {RETRIES + 1} times while it ran: {problem}")
                with driver.shielded():
                    driver.settle(trial)
            left = work.left()
            if driver.tight and not problem and not driver.stopping:
                resources, fruitless = fewer(resources), 0
                console.say(f"{len(driver.tight)} trials ran out of the GPU's memory; again with gpu: {resources.gpu:g} each")
            elif (left or not work.over) and not driver.stopping:
                console.say(f"Ray ended with {f'{len(left)} trials to go' if left else 'the search under way'}: {problem or 'it gave no reason'}")
                fruitless = 0 if len(work.trials) - len(left) > ended or driver.running else fruitless + 1
            work.begin(suspicions)
        return (driver.limit or "interrupted") if driver.stopping and not (work.over and not work.left()) else ""


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
                tune_config=tune.TuneConfig(search_alg=_Queue(driver.work, setting, driver), num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    name=sweep.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[driver],
                    stop=Stopper(driver),
                    failure_config=tune.FailureConfig(max_failures=-1),  # a worker that is killed is not its trial's fault; _fail counts the rest
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
