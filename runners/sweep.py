"""The command: plan, check, and run a sweep.

python -m runners.sweep sweeps/order.yaml            run it; the same command again continues it
python -m runners.sweep sweeps/order.yaml --plan     only say what would run
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from runners import command, output
from runners.errors import StoreError, Unfinished
from runners.launch import early, swallowed
from runners.plan import Sweep, load, reference
from runners.store import Store, results, stamp
from runners.tracking import database, elsewhere
from runners.tracking.opening import Opening
from runners.trial import datasets

PATIENCE_S = 30  # for a store that is unreachable at the start


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: all finished; 1: some failed; 2: bad input, nothing run; 75: stopped; 130: interrupted.

    75 is of a limit that was reached, or of a store that is full or unreachable.
    """
    args = _arguments(argv)
    if args.progress != "json":
        return _run(args)
    # standard output has the events alone; all that a person would read goes to standard error
    from runners.launch.events import Events

    args.events = Events(sys.stdout)
    with contextlib.redirect_stdout(sys.stderr):
        status = command.exits(lambda _: _run(args))()
    args.events.emit("command_ended", exit_status=status)
    return status


def _run(args: argparse.Namespace) -> int:
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        with swallowed.raised_again():
            sweep = load(args.sweep, args.set, args.seeds, args.only)
            store = Store(args.storage, PATIENCE_S)
            found = _planned(sweep, store, args)
        return _drive(*found, store, args) if found else command.DONE
    finally:
        signal.signal(signal.SIGTERM, before)


def _planned(sweep: Sweep, store: Store, args: argparse.Namespace) -> tuple[Sweep, bool] | None:
    """What `_look` returns; None also where all that the command would print is known."""
    with store.files.listed("trials", sum(map(sweep.seeds_of, sweep.variants))):
        sweep = datasets.identified(sweep, store, args.data)
        reference.load(sweep)
        if not (args.plan or args.events) and (said := _said(sweep, store, args)):
            print(said)
            return None
        return _look(sweep, store, args)


def _said(sweep: Sweep, store: Store, args: argparse.Namespace) -> str | None:
    """What the command printed when it finished this sweep, if nothing has changed since."""
    folder = results.choose(Path("results"), sweep.label, sweep.path, store)
    sweep = store.as_planned(sweep)
    return stamp.read(folder, sweep, store, database.sqlite_path(args.tracking_uri))


def _look(sweep: Sweep, store: Store, args: argparse.Namespace) -> tuple[Sweep, bool] | None:
    """Say what would run, and return None; or check it, and return what is to be run, and whether
    anything is left to train or to evaluate.
    """
    # Optuna, and further down torch, take long
    from runners.search import searching
    from runners.search.queue import unfinished

    known = searching.conclude(sweep, store)
    if known.growth:
        from analysis import report

        known = report.grown(known, store)
    elsewhere.warn(
        known,
        store,
        database.finished_trials(args.tracking_uri, known.name),
        args.tracking_uri,
    )
    if known.evaluate:
        from runners.trial import conditions

        with command.kept_environment():
            conditions.check(known)
    records, evaluations = store.records(known.trials), store.evaluations(known.distinct)
    todo = unfinished(known.distinct, records, evaluations, args.retry_failed)
    here = args.address == "local"
    left = bool(todo) or not known.settled
    if left:
        known, packed = _packed(known, here)
        sweep = replace(sweep, resources=known.resources)
        if packed:
            print(packed, file=sys.stderr if args.json else sys.stdout)
    if args.plan:
        from runners.preview import preview

        if todo:
            datasets.refuse_damaged(known, store, args.data)
        print(preview(known, store, records, todo, as_json=args.json, root=args.data, here=here))
        return None
    if left:
        from runners.trial.networks import networks

        with command.kept_environment():
            networks(known)
            datasets.check(known, store, args.data)
    return sweep, left


def _packed(sweep: Sweep, here: bool) -> tuple[Sweep, str]:
    """The sweep with numbers for `resources.gpu: auto`, and a line about them."""
    if sweep.resources.gpu != "auto":
        return sweep, ""
    from runners import packing
    from runners.trial.networks import networks

    with command.kept_environment():
        return packing.resolved(sweep, networks(sweep), here=here)


def _terminated(number: int, frame: object) -> None:
    """SIGTERM, which ends a container or a job of a batch system, is answered as Ctrl-C is."""
    raise KeyboardInterrupt


def _drive(sweep: Sweep, left: bool, store: Store, args: argparse.Namespace) -> int:
    """Run the sweep as its one driver; an outage from then on only interrupts it.

    Args:
        left: something is left to train or to evaluate, so that Ray will be needed.
    """
    begun = False
    try:
        with store.drive(sweep, args.tracking_uri):
            begun = True
            datasets.remember(sweep, store)
            opening = Opening(args.tracking_uri)
            # a server may refuse, and that is to be said before Ray starts; a database's file has
            # just been checked
            checked = args.address == "local" and database.sqlite_path(args.tracking_uri)
            ray = early.started(opening.begin) if left and checked else contextlib.nullcontext()
            with ray:
                with swallowed.raised_again():
                    from runners import phases  # and MLflow with it

                return phases.run(sweep, store, args, opening)
    except StoreError as error:
        if begun:
            raise Unfinished(str(error)) from None
        raise


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=output.called("runners.sweep"),
        description="Run a sweep; the same command again continues it.",
    )
    command.share(parser, "sweep")
    parser.add_argument(
        "--plan", "--dry-run", action="store_true", help="say what would run, and stop"
    )
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
    parser.add_argument(
        "--progress",
        choices=["text", "json"],
        default="text",
        help="json: standard output is a line of JSON for each event, for programs",
    )
    parser.set_defaults(events=None)
    args = parser.parse_args(argv)
    if args.json and not args.plan:
        parser.error("--json goes with --plan")
    # absolute, because a worker has a working directory of its own
    args.data = str(Path(args.data or os.environ.get("DATA_ROOT") or "data").resolve())
    return args


if __name__ == "__main__":
    output.leave(main())
