"""All sweeps of a store: how many trials of each stand where, and what they take on disk.

python -m runners.shell.ls --storage runs
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass

from analysis import report
from runners import command
from runners.errors import SweepError
from runners.store import State, Store
from runners.store.locks import trial_key
from runners.store.state import counted

NO_PLAN = "(no plan names them)"


@dataclass(frozen=True)
class Kept:
    """What a store has of a trial; `sweep`: whose start began it, empty where nothing says so."""

    trial: str
    sweep: str
    state: str
    bytes: int


def kept(store: Store) -> dict[str, Kept]:
    """Trial id -> what the store has of it."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for key, size in store.files.listing("trials").items():
        _, trial_id, *name = key.split("/")
        sizes[trial_id]["/".join(name)] = size
    return {trial_id: _kept(trial_id, files, store) for trial_id, files in sizes.items()}


def _kept(trial_id: str, files: dict[str, int], store: Store) -> Kept:
    sweep, state = "", str(State.NEW)
    if "record.json" in files:
        try:
            record = store.record(trial_id)
        except SweepError:
            record, state = None, "damaged"
        if record:
            sweep, state = record.sweep, str(record.status)
    elif {"checkpoint.pt", "progress.json"} & {*files}:
        state = str(State.RUNNING)
    if not sweep and (named := store.named(trial_id)):
        sweep = named.sweep
    # a lock's file stays when its trial is removed
    size = sum(size for name, size in files.items() if not name.startswith("lock"))
    return Kept(trial_id, sweep, state, size)


def members(store: Store, found: dict[str, Kept]) -> dict[str, set[str]]:
    """Sweep -> the ids of its trials: as its starts have planned them, else as the trials say."""
    sweeps = store.plans()
    planned = {trial for trials in sweeps.values() for trial in trials}
    for trial in found.values():
        if trial.trial not in planned and trial.state != State.NEW:
            sweeps.setdefault(trial.sweep or NO_PLAN, set()).add(trial.trial)
    return dict(sorted(sweeps.items()))


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: printed; 1: the store has no trials; 2: there is no such store."""
    args = _arguments(argv)
    store = Store(args.storage)
    found = kept(store)
    sweeps = members(store, found)
    if not sweeps:
        print(f"{store.root} has no trials yet; `sweeps run SWEEP` trains some")
        return command.SOME_FAILED
    # whose begun trials some process trains now
    begun = [t.trial for t in found.values() if t.state == State.RUNNING]
    trained = store.files.owners([trial_key(i) for i in begun])
    rows = [_row(name, trials, found, sweeps, trained) for name, trials in sweeps.items()]
    print(report.markdown(["sweep", "trials", "states", "trained now", "shared", "MB"], rows))
    print(f"{store.root}: {1000 * store.gigabytes:.1f} MB, code, plans and cached data included")
    return command.DONE


def _row(
    name: str,
    trials: set[str],
    found: dict[str, Kept],
    sweeps: dict[str, set[str]],
    trained: dict[str, str],
) -> list[str]:
    states = counted(found[t].state if t in found else State.NEW for t in trials)
    others = {t for other, its in sweeps.items() if other != name for t in its}
    return [
        name,
        str(len(trials)),
        ", ".join(f"{n} {state}" for state, n in states.items()),
        str(sum(trial_key(t) in trained for t in trials)),
        str(len(trials & others)),
        f"{sum(found[t].bytes for t in trials if t in found) / 1e6:.1f}",
    ]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sweeps ls", description="All sweeps of a store.")
    command.share(parser, "--storage")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
