"""One trial in a worker: its output goes to its log, its state to the store, its epochs to the
driver.

Ray imports this module in each worker, so it needs neither MLflow nor a console.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import traceback
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from runners import system
from runners.errors import Held, StoreError, SweepError, reason
from runners.launch import cluster, gpu_memory
from runners.launch.cluster import tune
from runners.plan import Config, Resources, Trial
from runners.store import Epoch, Record, State, Store, advance

RETRIES = 2  # of a trial after an error
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Setting:
    """Everything that a worker needs besides its trial.

    `identity` is the store's: a node that joined later may see another store at that path.
    `patience_s`: how long to try again while the store is full or unreachable.
    """

    storage: str
    identity: str
    data: str
    threads: int
    gpu: float
    patience_s: float = 0


class Pool(tune.PlacementGroupFactory):
    """The resources of a trial, and which files of a user's own it runs.

    Tune gives a used worker to the next trial of equal resources. A user's file may set anything
    global in its process, so a worker is shared only by trials of the same files.
    """

    def __init__(self, resources: Resources, config: Config):
        super().__init__([{"CPU": resources.cpu, "GPU": resources.share or 0}])
        digests = [f.name for f in fields(config) if f.name.endswith("_digest")]
        self.code = tuple(getattr(config, name) for name in digests)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.code == other.code and super().__eq__(other)

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.code))


def train_trial(config: dict[str, Any]) -> None:
    """Train the trial of a Tune config; the driver gets its epochs and, last, why it did not end.

    Raises:
        RuntimeError: the trial failed. Tune then ends this process, which an error may have harmed.
    """
    _exit_with_the_node()
    trial, setting = config["trial"], config["setting"]
    try:
        store = Store(setting.storage, setting.patience_s, proven=True)
        if blind := cluster.unseen(store, setting.identity):
            raise SweepError(blind)
    except (StoreError, SweepError) as error:
        tune.report({"trouble": f"node {system.host()}: {error}"})
        return
    with (
        store.log(trial.id) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        last = _train(trial, store, setting)
    # this process may have to wait for its next trial while others need the memory
    system.give_back_memory()
    # only now the log is whole, so that the driver can name it
    if last:
        tune.report(last)
    if "failed" in last and not last["tight"]:
        raise RuntimeError(last["failed"])


def _train(trial: Trial, store: Store, setting: Setting) -> dict[str, Any]:
    """Train a trial to its record; returns the report that says why that was not possible."""
    try:
        import torch

        from runners.trial.run import run

        torch.set_num_threads(setting.threads)
        ours = replace(trial, own=store.fetch_own(trial.own))
        store.begin(trial)
        attempt = 1 + len(store.failures(trial.id))
        print(f"{trial.name}: attempt {attempt}, process {os.getpid()} on {system.host()}")
        device = "auto" if setting.gpu else "cpu"
        with contextlib.closing(run(ours, store, setting.data, device)) as training:
            for n, epochs in enumerate(training):
                # of what is saved already, the last says where it goes on
                said = epochs if n else epochs[-1:]
                print(*(advance(e, trial.config.epochs) for e in said), sep="\n")
                tune.report({"epochs": [asdict(e) for e in epochs]})
        return _evaluate(ours, store, setting)
    except StoreError as error:
        print(error)
        return {"trouble": str(error)}
    except Held as error:
        # not a failure: another process still holds this trial's lock; the next round asks again
        return {"held": str(error)}
    except Exception as error:
        traceback.print_exc()
        try:
            return fail(trial, store, error, setting.gpu)
        except StoreError as unreachable:
            print(unreachable)
            return {"trouble": str(unreachable)}


def _evaluate(trial: Trial, store: Store, setting: Setting) -> dict[str, Any]:
    """Evaluate a trial that has finished; returns the report that says why that was not possible.

    Its record stands in any case.

    Raises:
        StoreError, Held: as the training.
    """
    if trial.evaluate is None:
        return {}
    from runners.trial.evaluate import evaluate

    try:
        evaluate(trial, store, setting.data, "auto" if setting.gpu else "cpu")
    except (StoreError, Held):
        raise
    except Exception as error:
        traceback.print_exc()
        return {"unevaluated": reason(error)}
    return {}


def fail(trial: Trial, store: Store, error: Exception, gpu: float) -> dict[str, Any]:
    """Note how a trial failed, and commit its record where another attempt would be no use.

    Out of the GPU's memory: again where fewer share it. Impossible by its config: never again.
    Any other error: RETRIES times again.

    Returns:
        {"failed": the reason, "attempt": counted from 1, "tight": whether it may fit on the GPU
        where fewer trials share it}

    Raises:
        StoreError: the store cannot be written.
    """
    full = gpu_memory.is_full(error, gpu)
    kind = OUT_OF_MEMORY if full else "invalid" if isinstance(error, ValueError) else "error"
    why = reason(error)
    times = store.note_failure(trial.id, kind)
    tight = kind == OUT_OF_MEMORY and 0 < gpu < 1
    said = {"failed": why, "attempt": len(store.failures(trial.id)), "tight": tight}
    if tight or (kind == "error" and times <= RETRIES):
        return said
    if full:
        why = f"out of the GPU's memory, even alone on it: {why}"
    saved = store.checkpoint(trial.id)
    store.commit(failed(trial, why, saved[1] if saved else [], said["attempt"]))
    return said


def failed(trial: Trial, why: str, epochs: list[Epoch], attempts: int) -> Record:
    """The record of a trial that will not go on."""
    return Record(
        id=trial.id,
        sweep=trial.sweep,
        variant=trial.variant,
        seed=trial.seed,
        config=asdict(trial.config),
        status=State.FAILED,
        reason=why,
        epochs=epochs,
        result=None,
        provenance={"attempts": attempts, "sweep_file": trial.sweep_digest},
    )


@functools.cache
def _exit_with_the_node() -> None:
    """Exit when this node's Ray dies: an orphan would wait for ever to report, and keep its
    lock.
    """

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
