"""All sweeps of a store: how many trials of each stand where, and what they take on disk.

python -m runners.shell.ls --storage runs
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analysis import report
from runners import command
from runners.errors import SweepError
from runners.store import State, Store, plans, record_file
from runners.store.listing import Listed
from runners.store.locks import trial_key
from runners.store.records import MANY
from runners.store.state import counted

NO_PLAN = "(no plan names them)"
Summary = tuple[str, str]  # the sweep and the state that a trial's file names; "": it does not
NOTHING: Summary = ("", "")
DAMAGED: Summary = ("", "damaged")


@dataclass(frozen=True)
class Kept:
    """What a store has of a trial; `sweep`: whose start began it, empty where nothing says so."""

    trial: str
    sweep: str
    state: str
    bytes: int


def kept(store: Store) -> dict[str, Kept]:
    """Trial id -> what the store has of it."""
    files = {k: f for k, f in store.files.versions("trials").items() if k.count("/") > 1}
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for key, file in files.items():
        _, trial_id, *name = key.split("/")
        sizes[trial_id]["/".join(name)] = file.bytes
    ended = {
        _id(key): summary for key, summary in _summaries(store, files, "record.json", _of_record)
    }
    # what a record does not say, its trial's first start has
    unsaid = {key: file for key, file in files.items() if not ended.get(_id(key), NOTHING)[0]}
    begun = {
        _id(key): summary for key, summary in _summaries(store, unsaid, "trial.json", _of_start)
    }
    return {
        trial_id: _kept(trial_id, its, ended.get(trial_id, NOTHING), begun.get(trial_id, NOTHING))
        for trial_id, its in sizes.items()
    }


def _id(key: str) -> str:
    return key.split("/")[1]


def _summaries(
    store: Store,
    files: dict[str, Listed],
    name: str,
    summarise: Callable[[Store, str, bytes], Summary],
) -> Iterator[tuple[str, Summary]]:
    """What every file of this name says; of those of a large store it is remembered here."""
    marks = {key: f"{key} {file.version}" for key, file in files.items() if _named(key, name)}
    memory = store.memory("summaries") if len(marks) > MANY else None
    known = {
        key: summary for key, mark in marks.items() if memory and (summary := memory.get(mark))
    }
    yield from known.items()
    new = {}
    for key, content in store.files.several([key for key in marks if key not in known]):
        summary = summarise(store, key, content)
        if summary != DAMAGED:
            new[marks[key]] = summary
        yield key, summary
    if memory:
        memory.put_all(new)


def _named(key: str, name: str) -> bool:
    return key.split("/")[2:] == [name]


def _of_record(store: Store, key: str, content: bytes) -> Summary:
    try:
        record = record_file.load(content, _id(key), store.files.address(key))
    except SweepError:
        return DAMAGED
    return record.sweep, str(record.status)


def _of_start(store: Store, key: str, content: bytes) -> Summary:
    found = plans.named(content)
    return (found.sweep if found else ""), ""


def _kept(trial_id: str, files: dict[str, int], ended: Summary, begun: Summary) -> Kept:
    state = str(State.NEW)
    if "record.json" in files:
        state = ended[1] or state
    elif {"checkpoint.pt", "progress.json"} & {*files}:
        state = str(State.RUNNING)
    # a lock's file stays when its trial is removed
    size = sum(size for name, size in files.items() if not name.startswith("lock"))
    return Kept(trial_id, ended[0] or begun[0], state, size)


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
    shared = {t for t, n in Counter(itertools.chain(*sweeps.values())).items() if n > 1}
    rows = [_row(name, trials, found, shared, trained) for name, trials in sweeps.items()]
    print(report.markdown(["sweep", "trials", "states", "trained now", "shared", "MB"], rows))
    print(f"{store.root}: {1000 * store.gigabytes:.1f} MB, code, plans and cached data included")
    return command.DONE


def _row(
    name: str,
    trials: set[str],
    found: dict[str, Kept],
    shared: set[str],
    trained: dict[str, str],
) -> list[str]:
    states = counted(found[t].state if t in found else State.NEW for t in trials)
    return [
        name,
        str(len(trials)),
        ", ".join(f"{n} {state}" for state, n in states.items()),
        str(sum(trial_key(t) in trained for t in trials)),
        str(len(trials & shared)),
        f"{sum(found[t].bytes for t in trials if t in found) / 1e6:.1f}",
    ]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sweeps ls", description="All sweeps of a store.")
    command.share(parser, "--storage")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
