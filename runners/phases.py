"""A sweep's phases, one after the other: its search, its comparison, and the conclusion."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis import report
from runners import command
from runners.conclusion import conclude
from runners.launch.limits import LimitWatch
from runners.plan import Sweep, Trial
from runners.search import searching as search
from runners.search.growing import Growing
from runners.search.queue import Work, unfinished
from runners.search.study import Study
from runners.store import Evaluation, Record, State, Store
from runners.store.origin import Origin
from runners.tracking import database, elsewhere, phase
from runners.tracking.opening import Opening
from runners.tracking.tracker import Tracker

if TYPE_CHECKING:
    from runners.launch.console import Console


def run(sweep: Sweep, store: Store, args: argparse.Namespace, opening: Opening) -> int:
    """Search, where the sweep has a search; then compare, and conclude.

    Args:
        opening: of MLflow at `args.tracking_uri`.
    """
    sweep = report.grown(sweep, store)
    limits = LimitWatch(sweep.limits, store, sweep.variants)
    store.keep_sweep(sweep)
    store.keep_plan(sweep)
    # an MLflow that cannot be used is found before anything is trained
    mlflow, origin = opening.connection(), Origin.of(sweep.path, store)
    stopped, studies = "", None
    tracker = Tracker(phase.comparison(sweep), mlflow, origin)
    tracker.check()
    if not database.sqlite_path(mlflow.uri):
        elsewhere.warn(sweep, store, tracker.finished_elsewhere(), args.tracking_uri)
    if sweep.search:
        searched = Tracker(phase.search(sweep), mlflow, origin)
        stopped, studies = _search(sweep, store, searched, args, limits)
        sweep = search.conclude(sweep, store, studies)
        store.keep_plan(sweep)
        tracker = Tracker(phase.comparison(sweep), mlflow, origin)
    # read again now that no other process drives the sweep
    records, evaluations = store.records(sweep.trials), store.evaluations(sweep.distinct)
    store.drop_left(records.values())
    tracker.reconcile(sweep.distinct, records.get, evaluations.get)
    if sweep.settled and not stopped:
        work = _work(sweep, store, tracker, records, evaluations)
        stopped, records = _compare(sweep, store, tracker, work, args, limits)
        evaluations = work.evaluations
    table = report.read(sweep, store, records, studies, evaluations)
    return conclude(table, records, store, tracker, stopped)


def _work(
    sweep: Sweep,
    store: Store,
    tracker: Tracker,
    records: dict[str, Record],
    evaluations: dict[str, Evaluation],
) -> Work:
    """What the comparison has trained before, and whatever else it asks for as it goes."""
    if sweep.growth is None:
        return Work([], store, records, evaluations)

    def more(ended: Mapping[str, Record], evaluated: Mapping[str, Evaluation]) -> list[Trial]:
        grown = report.grown(sweep, store, ended, evaluated)
        store.keep_plan(grown)
        tracker.phase.trials = grown.distinct
        return grown.distinct

    return Growing(store, records, evaluations, more)


def _compare(
    sweep: Sweep,
    store: Store,
    tracker: Tracker,
    work: Work,
    args: argparse.Namespace,
    limits: LimitWatch,
) -> tuple[str, dict[str, Record]]:
    """Train and evaluate what the comparison lacks.

    Args:
        work: what has ended before; it learns the rest.

    Returns:
        Why it was stopped before that, or nothing; and how the trials ended.
    """
    todo = unfinished(sweep.distinct, work.records, work.evaluations, args.retry_failed)
    if not todo:
        return "", work.records
    # Ray takes a second
    from runners.launch.start import run_on_ray

    finished = 0
    for trial in todo:
        record = work.records.pop(trial.id, None)
        if record and record.status == State.FINISHED:
            finished += 1
        elif record:
            store.forget_failure(trial.id)
    limits.works = finished > 0 or any(r.status != State.FAILED for r in work.records.values())
    work.trials = [replace(t, own=store.keep_own(t.own, t.config)) for t in todo]
    evaluate = f" and {finished} to evaluate" if finished else ""
    console = _console(args)(sweep.name, sweep.distinct, work.records)
    if isinstance(work, Growing):
        work.expect = console.expect
    stopped = run_on_ray(
        sweep,
        work,
        store,
        tracker,
        console,
        limits,
        address=args.address,
        data=args.data,
        summary=f"{len(todo) - finished} of {len(sweep.distinct)} trials to run{evaluate}",
    )
    return stopped, work.records | store.records(work.left())


def _search(
    sweep: Sweep, store: Store, tracker: Tracker, args: argparse.Namespace, limits: LimitWatch
) -> tuple[str, list[Study]]:
    """Train what the search proposes.

    Returns:
        Why it was stopped before it ended, or nothing; and its studies.
    """
    from runners.launch.console import best_first
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
    store.drop_left(work.records.values())
    tracker.reconcile(work.trials, work.records.get)
    if work.over and not work.left():
        return "", work.studies
    total = sum(study.written.trials for study in work.studies)
    stopped = run_on_ray(
        sweep,
        work,
        store,
        tracker,
        _console(args)(f"{sweep.name}, search", work.trials, work.records, total, best_first),
        limits,
        address=args.address,
        data=args.data,
        summary=f"search, {len(work.records)} of {total} trials done",
    )
    return stopped, work.studies


def _console(args: argparse.Namespace) -> Callable[..., Console]:
    """What makes the console of a phase: for a person, or for a program."""
    from runners.launch.console import Console
    from runners.launch.events import EventConsole

    return functools.partial(EventConsole, args.events) if args.events else Console
