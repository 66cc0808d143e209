"""Make a sweep's MLflow runs again from the store.

python -m runners.tracking rebuild sweeps/order.yaml
"""

from __future__ import annotations

import argparse

from runners import command, output
from runners.errors import SweepError
from runners.plan import Sweep, load
from runners.search import searching as search
from runners.store import Store
from runners.store.origin import Origin
from runners.tracking import phase
from runners.tracking.connection import connect
from runners.tracking.tracker import Tracker
from runners.trial.datasets import identified


def rebuild(sweep: Sweep, store: Store, uri: str) -> tuple[int, str]:
    """Make MLflow's runs of a sweep again from the store's records.

    Returns:
        How many trials have ended, and how to look at them.

    Raises:
        SweepError: MLflow cannot be opened, or not be written.
    """
    connection, origin = connect(uri), Origin.of(sweep.path, store)
    ended = 0
    if sweep.search:
        studies = search.open_studies(sweep, store)
        sweep = search.conclude(sweep, store, studies)
        tracker = Tracker(phase.search(sweep), connection, origin)
        trained = []
        for study in studies:
            trained += [p for p in study.proposals if p.trained and p.trial]
        for p in trained:
            tracker.learn(p)
        records = {p.trial.id: p.record for p in trained if p.trial}
        tracker.reconcile([p.trial for p in trained if p.trial], records.get)
        ended += sum(p.record is not None for p in trained)
    sweep = store.as_planned(sweep)
    tracker = Tracker(phase.comparison(sweep), connection, origin)
    records, evaluations = store.records(sweep.trials), store.evaluations(sweep.distinct)
    tracker.reconcile(sweep.distinct, records.get, evaluations.get)
    if connection.troubled:
        raise SweepError("MLflow could not be written; the same command goes on")
    return ended + len(records), tracker.charts


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: done; 2: bad input, or MLflow cannot be written; 130: interrupted."""
    args = _arguments(argv)
    store = Store(args.storage)
    sweep = identified(load(args.sweep, args.set, args.seeds), store, args.data)
    with store.drive(sweep, args.tracking_uri):
        ended, where = rebuild(sweep, store, args.tracking_uri)
    print(f"{ended} ended trials are in MLflow; charts: {where}")
    return command.DONE


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=output.called("runners.tracking"),
        description="Make a sweep's MLflow runs again from the store.",
    )
    parser.add_argument("action", choices=["rebuild"])
    command.share(parser, "sweep", "--set", "--seeds", "--data", "--storage", "--tracking-uri")
    return parser.parse_args(argv)


if __name__ == "__main__":
    output.leave(main())
