"""The trials of a search or a comparison, from the start of Ray to its end."""

from __future__ import annotations

import contextlib
import signal

from runners.errors import SweepError
from runners.launch.console import Console
from runners.launch.limits import LimitWatch
from runners.plan import Sweep
from runners.search.queue import Work
from runners.store import Store
from runners.tracking.tracker import Tracker
from runners.trial import datasets


def run_on_ray(
    sweep: Sweep,
    work: Work,
    store: Store,
    tracker: Tracker,
    console: Console,
    limits: LimitWatch,
    *,
    address: str,
    data: str,
    summary: str,
) -> str:
    """Run the work; returns why it was stopped before all had ended, or nothing.

    Args:
        address: "local", or a Ray cluster's.
        data: the folder of the data sets, absolute.
        summary: how much there is to do, for a person.

    Raises:
        SweepError: there is no such cluster, or it cannot train these trials.
    """
    from runners.launch import auth

    auth.use(address)  # before anything imports Ray
    from runners.launch import cluster, rounds

    terminated = signal.getsignal(signal.SIGTERM)
    cluster.connect(address)
    try:
        cluster.check_nodes(store, datasets.needs(sweep, store), data)
        resources = cluster.fit_resources(sweep.resources)
        at_a_time = min(cluster.slots(resources), work.widest)
        console.say(
            f"{sweep.name}: {summary}, {at_a_time} at a time; "
            f"MLflow: {tracker.command or tracker.connection.shown}"
        )
        return rounds.launch(sweep, work, resources, store, tracker, console, data, limits)
    finally:
        hurried: list[int] = []
        # Ray's end takes seconds, and should not be cut off
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: hurried.append(number))
        console.close()
        cluster.disconnect()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, terminated)
        with tracker.connection.until_signal(bool(hurried)):
            _catch_up(store, tracker, work)
            tracker.reconcile(work.trials, work.records.get)  # closes what was interrupted


def _catch_up(store: Store, tracker: Tracker, work: Work) -> None:
    """Log every epoch that an interrupted trial has saved: its worker's last report may be lost."""
    for trial in work.left():
        if work.ended(trial) is None and store.started(trial.id):
            with (
                contextlib.suppress(OSError, RuntimeError, MemoryError, SweepError),
                store.left_alone(trial.id),
            ):
                if saved := store.checkpoint(trial.id):
                    tracker.log(trial, saved[1])
