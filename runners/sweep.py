"""The command: plan, check, launch on Ray Tune, show, summarise.

python -m runners.sweep sweeps/order.yaml            run it; the same command again continues it
python -m runners.sweep sweeps/order.yaml --plan     only say what would run
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import report
from runners import command
from runners.conclusion import conclude
from runners.errors import StoreError, Unfinished
from runners.plan import Sweep, load, reference
from runners.search import searching as search
from runners.search.queue import Work, unfinished
from runners.store import Record, State, Store
from runners.store.origin import Origin
from runners.tracking import database, elsewhere
from runners.trial import datasets

if TYPE_CHECKING:
    from runners.launch.limits import LimitWatch
    from runners.search.study import Study
    from runners.tracking.tracker import Tracker

PATIENCE_S = 30  # for a store that is unreachable at the start


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: all finished; 1: some failed; 2: bad input, nothing run; 75: stopped; 130: interrupted.

    75 is of a limit that was reached, or of a store that is full or unreachable.
    """
    args = _arguments(argv)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        sweep = load(args.sweep, args.set, args.seeds, args.only)
        store = Store(args.storage, PATIENCE_S)
        sweep = datasets.identified(sweep, store, _data_root(args))
        reference.load(sweep)
        known = search.conclude(sweep, store)
        _warn(known, store, database.finished_trials(args.tracking_uri, known.name), args)
        records = store.records(known.trials)
        todo = unfinished(known.trials, records, args.retry_failed)
        if args.plan:
            from runners.preview import preview  # torch takes two seconds

            if todo:
                datasets.refuse_damaged(known, store, _data_root(args))
            print(preview(known, store, records, todo, args.json))
            return command.DONE
        if todo or not known.settled:
            from runners.trial.networks import networks

            with command.kept_environment():
                networks(known)
                datasets.check(known, store, _data_root(args))
        return _drive(sweep, store, args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: object) -> None:
    """SIGTERM, which ends a container or a job of a batch system, is answered as Ctrl-C is."""
    raise KeyboardInterrupt


def _drive(sweep: Sweep, store: Store, args: argparse.Namespace) -> int:
    """Run the sweep as its one driver; an outage from then on only interrupts it."""
    begun = False
    try:
        with store.drive(sweep, args.tracking_uri):
            begun = True
            datasets.remember(sweep, store)
            return _run(sweep, store, args)
    except StoreError as error:
        if begun:
            raise Unfinished(str(error)) from None
        raise


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m runners.sweep",
        description="Run a sweep; the same command again continues it.",
    )
    command.share(parser, "sweep")
    parser.add_argument("--plan", action="store_true", help="say what would run, and stop")
    parser.add_argument("--json", action="store_true", help="with --plan: for programs")
    command.share(parser, "--set", "--seeds", "--only")
    parser.add_argument(
        "--retry-failed", action="store_true", help="run the trials again that failed or diverged"
    )
    command.share(parser, "--data", "--storage", "--tracking-uri")
    parser.add_argument(
        "--address",
        default="local",
        help="of a Ray cluster, or auto (default: Ray on this machine)",
    )
    args = parser.parse_args(argv)
    if args.json and not args.plan:
        parser.error("--json goes with --plan")
    return args


def _data_root(args: argparse.Namespace) -> str:
    """Absolute, because a worker has a working directory of its own."""
    return str(Path(args.data or os.environ.get("DATA_ROOT") or "data").resolve())


def _run(sweep: Sweep, store: Store, args: argparse.Namespace) -> int:
    """Search, where the sweep has a search; then compare, and conclude."""
    from runners.launch.limits import LimitWatch
    from runners.tracking import phase
    from runners.tracking.connection import connect  # mlflow takes two seconds
    from runners.tracking.tracker import Tracker

    limits = LimitWatch(sweep.limits, store)
    store.keep_sweep(sweep)
    # an MLflow that cannot be used is found before anything is trained
    mlflow, origin = connect(args.tracking_uri), Origin.of(sweep.path, store)
    stopped, studies = "", None
    tracker = Tracker(phase.comparison(sweep), mlflow, origin)
    tracker.check()
    if not database.sqlite_path(mlflow.uri):
        _warn(sweep, store, tracker.finished_elsewhere(), args)
    if sweep.search:
        searched = Tracker(phase.search(sweep), mlflow, origin)
        stopped, studies = _search(sweep, store, searched, args, limits)
        sweep = search.conclude(sweep, store, studies)
        tracker = Tracker(phase.comparison(sweep), mlflow, origin)
    # read again now that no other process drives the sweep
    records = store.records(sweep.trials)
    tracker.reconcile(sweep.trials, records.get)
    if sweep.settled and not stopped:
        stopped, records = _compare(sweep, store, tracker, records, args, limits)
    table = report.read(sweep, store, records, studies)
    return conclude(table, records, store, tracker, stopped)


def _warn(sweep: Sweep, store: Store, shown: set[str], args: argparse.Namespace) -> None:
    """Print that MLflow shows finished trials which the store lacks, if it does."""
    if line := elsewhere.warning(sweep, store, shown, args.tracking_uri):
        print(line, file=sys.stderr)


def _compare(
    sweep: Sweep,
    store: Store,
    tracker: Tracker,
    records: dict[str, Record],
    args: argparse.Namespace,
    limits: LimitWatch,
) -> tuple[str, dict[str, Record]]:
    """Train what the comparison lacks.

    Returns:
        Why it was stopped before that, or nothing; and how the trials ended.
    """
    todo = unfinished(sweep.trials, records, args.retry_failed)
    if not todo:
        return "", records
    from runners.launch.console import Console
    from runners.launch.start import run_on_ray

    for trial in todo:
        if records.pop(trial.id, None):
            store.forget_failure(trial.id)
    kept = [replace(t, own=store.keep_own(t.own, t.config)) for t in todo]
    work = Work(kept, store, records)
    stopped = run_on_ray(
        sweep,
        work,
        store,
        tracker,
        Console(sweep.name, sweep.trials, records),
        limits,
        address=args.address,
        data=_data_root(args),
        summary=f"{len(todo)} of {len(sweep.trials)} trials to run",
    )
    return stopped, work.records | store.records(work.left())


def _search(
    sweep: Sweep, store: Store, tracker: Tracker, args: argparse.Namespace, limits: LimitWatch
) -> tuple[str, list[Study]]:
    """Train what the search proposes.

    Returns:
        Why it was stopped before it ended, or nothing; and its studies.
    """
    from runners.launch.console import Console, best_first
    from runners.launch.start import run_on_ray
    from runners.trial.networks import known_cost

    sweep = replace(
        sweep, lookup=sweep.lookup.moved(lambda file: store.keep_file(file.path, file.digest))
    )
    if args.retry_failed:
        for study in search.open_studies(sweep, store):
            for p in study.proposals:
                if p.trial and p.status in (State.FAILED, State.DIVERGED):
                    store.forget_failure(p.trial.id)
    # it builds networks of the user's files while the workers start
    cost = command.kept_environment()(known_cost)
    work = search.Searching(sweep, store, cost, tracker.learn)
    tracker.reconcile(work.trials, work.records.get)
    if work.over and not work.left():
        return "", work.studies
    total = sum(study.written.trials for study in work.studies)
    stopped = run_on_ray(
        sweep,
        work,
        store,
        tracker,
        Console(f"{sweep.name}, search", work.trials, work.records, total, best_first),
        limits,
        address=args.address,
        data=_data_root(args),
        summary=f"search, {len(work.records)} of {total} trials done",
    )
    return stopped, work.studies


if __name__ == "__main__":
    sys.exit(main())
