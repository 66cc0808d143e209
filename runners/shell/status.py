"""Where the trials of a sweep stand, seen from any shell, while it runs or afterwards.

python -m runners.shell.status sweeps/order.yaml
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from analysis import report
from runners import command
from runners.launch.console import duration
from runners.plan import Sweep, Trial
from runners.shell import chosen
from runners.store import Record, State, Store
from runners.store.locks import sweep_keys, trial_key
from runners.store.state import counted

HEADERS = ["variant", "seed", "state", "epoch", "time left", "attempts", "trial", "log"]


@dataclass(frozen=True)
class TrialStatus:
    """Where one trial stands.

    Attributes:
        trial: its id.
        state: one of `runners.store.State`.
        epoch: the last one that it has finished; `epochs`: how many it will have.
        seconds_left: of its training; None where that is not known, or nobody trains it.
        attempts: how many workers have begun it, as far as is known; 0: none has.
        worker: which process trains it now; empty: none.
        reason: why it failed, diverged or was pruned.
        log: where the output of its workers is; empty: there is none.
    """

    trial: str
    variant: str
    seed: int
    state: str
    epoch: int
    epochs: int
    seconds_left: float | None
    attempts: int
    worker: str
    reason: str
    log: str


@dataclass(frozen=True)
class Status:
    """Where a sweep stands.

    Attributes:
        driver: which process runs it now; empty: none.
        phase: "search" while that has not ended, else "comparison".
        counts: state -> trials.
        seconds_left: of all trials that have not ended, at as many at a time as now; None: unknown.
    """

    sweep: str
    driver: str
    phase: str
    counts: dict[str, int]
    seconds_left: float | None
    trials: list[TrialStatus]
    schema: Literal["scconv-sweeps/status/1"] = "scconv-sweeps/status/1"


def status(sweep: Sweep, store: Store) -> Status:
    """Where every trial of the sweep stands now; of an unsettled search, what it has proposed."""
    with store.files.listed("trials", len(sweep.distinct)):
        return _status(sweep, store)


def _status(sweep: Sweep, store: Store) -> Status:
    trials = sweep.distinct if sweep.settled else chosen.searched(sweep, store)
    records = store.records(trials)
    begun = [t for t in trials if t.id not in records]
    file_lock, *_ = sweep_keys(sweep, "")
    owners = store.files.owners([file_lock, *(trial_key(t.id) for t in begun)])
    found = [_trial(t, store, records.get(t.id), owners.get(trial_key(t.id), "")) for t in trials]
    return Status(
        sweep=sweep.label,
        driver=owners.get(file_lock, ""),
        phase="comparison" if sweep.settled else "search",
        counts=counted(t.state for t in found),
        seconds_left=_left(found),
        trials=found,
    )


def _trial(trial: Trial, store: Store, record: Record | None, worker: str) -> TrialStatus:
    log = f"trials/{trial.id}/log.txt"
    progress = None if record else store.progress(trial.id)
    failures = [] if record else store.failures(trial.id)
    begun = progress or worker or failures
    state = record.status if record else State.RUNNING if begun else State.NEW
    epoch = len(record.epochs) if record else progress.epoch if progress else 0
    left = None
    if worker and progress:
        left = (trial.config.epochs - epoch) * progress.seconds
    if record:
        attempts = int(record.provenance.get("attempts", 1))
    else:
        attempts = len(failures) + bool(worker or (progress and not failures))
    return TrialStatus(
        trial=trial.id,
        variant=trial.variant,
        seed=trial.seed,
        state=str(state),
        epoch=epoch,
        epochs=trial.config.epochs,
        seconds_left=left,
        attempts=attempts,
        worker=worker,
        reason=record.reason if record else "",
        log=store.files.address(log) if state != State.NEW and store.files.exists(log) else "",
    )


def _left(trials: list[TrialStatus]) -> float | None:
    """Of all that has not ended, in the time of those that are trained now."""
    known = [t for t in trials if t.seconds_left is not None and t.epoch < t.epochs]
    if not known:
        return None
    epochs = sum(t.epochs - t.epoch for t in known)
    each = sum(t.seconds_left or 0 for t in known) / epochs
    unended = [t for t in trials if t.state in (State.NEW, State.RUNNING)]
    return each * sum(t.epochs - t.epoch for t in unended) / sum(bool(t.worker) for t in trials)


def text(found: Status) -> str:
    """The status for a reader: a line, and a table of all trials."""
    counts = ", ".join(f"{n} {state}" for state, n in found.counts.items())
    left = f", about {duration(found.seconds_left)} left" if found.seconds_left else ""
    driver = f"run by {found.driver}" if found.driver else "no process runs it"
    if not found.driver and _unended(found):
        driver += "; the same command continues"
    phase = " (search)" if found.phase == "search" else ""
    lines = [f"{found.sweep}{phase}: {counts or 'no trial yet'}{left}; {driver}"]
    rows = [_row(t) for t in found.trials]
    for t in found.trials:
        if t.reason:
            lines.append(f"{t.variant} seed{t.seed} {t.state}: {t.reason}")
    return "\n".join([*lines, "", report.markdown(HEADERS, rows)])


def _unended(found: Status) -> int:
    return found.counts.get(State.NEW, 0) + found.counts.get(State.RUNNING, 0)


def _row(t: TrialStatus) -> list[str]:
    # a trial that has begun, and that nobody trains, waits for the next start
    idle = t.state == State.RUNNING and not t.worker
    left = duration(t.seconds_left) if t.seconds_left is not None else "-"
    return [
        t.variant,
        str(t.seed),
        t.state,
        f"{t.epoch}/{t.epochs}",
        "waits" if idle else left,
        str(t.attempts) if t.attempts else "-",
        t.trial,
        _near(t.log) or "-",
    ]


def _near(path: str) -> str:
    """A path below this directory as a person here would write it."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: printed; 2: bad input, one line says why."""
    args = _arguments(argv)
    store = Store(args.storage)
    found = status(chosen.planned(args, store), store)
    print(json.dumps(asdict(found), indent=1) if args.json else text(found).rstrip())
    return command.DONE


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps status", description="Where the trials of a sweep stand, while it runs, too."
    )
    parser.add_argument("what", metavar="sweep", help=command.SHARED["sweep"]["help"])
    parser.add_argument("--json", action="store_true", help="for programs")
    command.share(parser, "--set", "--seeds", "--only", "--data", "--storage")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
