"""Which trials a command is about: a sweep file's, or those whose ids begin so."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from runners.errors import SweepError, suggest
from runners.plan import Sweep, Trial, load
from runners.store import Store
from runners.trial.datasets import identified


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The argument that names trials, and the options that narrow a sweep file's."""
    parser.add_argument(
        "what", metavar="TRIAL|SWEEP", help="a trial's id, or how it begins; or a sweep file"
    )
    parser.add_argument("--variant", help="of a sweep file: this variant alone")
    parser.add_argument("--seed", type=int, help="of a sweep file: this seed alone")


def is_file(what: str) -> bool:
    """Whether it names a sweep file, and not a trial."""
    return not re.fullmatch(r"[0-9a-f]{4,16}", what) or Path(what).is_file()


def planned(args: argparse.Namespace, store: Store) -> Sweep:
    """The sweep of a file, with what its search found so far.

    Raises:
        SweepError: it cannot be read.
    """
    only = getattr(args, "only", ())
    seeds = getattr(args, "seeds", None)
    sweep = identified(load(args.what, args.set, seeds, only), store, args.data)
    if sweep.search is None:
        return store.as_planned(sweep)
    from runners.search import searching  # Optuna takes a second

    return searching.conclude(sweep, store)


def searched(sweep: Sweep, store: Store) -> list[Trial]:
    """The trials that the sweep's search has proposed."""
    if sweep.search is None:
        return []
    from runners.search import searching

    found: dict[str, Trial] = {}
    for study in searching.open_studies(sweep, store):
        found |= {p.trial.id: p.trial for p in study.proposals if p.trained and p.trial}
    return [*found.values()]


def narrowed(trials: Iterable[Trial], sweep: Sweep, args: argparse.Namespace) -> list[Trial]:
    """Those of the variant and the seed that are asked for.

    Raises:
        SweepError: the sweep has no such variant or seed.
    """
    trials = [*trials]
    variants = dict.fromkeys(t.variant for t in trials)
    if args.variant is not None and args.variant not in variants:
        raise SweepError(
            f"{sweep.path}: --variant: no variant is called "
            f"{args.variant!r}{suggest(args.variant, variants)}"
        )
    if args.seed is not None and args.seed not in {t.seed for t in trials}:
        seeds = ", ".join(map(str, sweep.seeds))
        raise SweepError(f"{sweep.path}: --seed: must be one of {seeds}, got {args.seed}")
    return [t for t in trials if args.variant in (None, t.variant) and args.seed in (None, t.seed)]


def by_id(beginning: str, store: Store) -> list[str]:
    """The ids of the store's trials that begin so.

    Raises:
        SweepError: there is none.
    """
    keys = store.files.listing("trials")
    ids = dict.fromkeys(key.split("/")[1] for key in keys)
    if found := [i for i in ids if i.startswith(beginning)]:
        return found
    raise SweepError(
        f"no trial of {store.root} has an id that begins with {beginning!r}; `sweeps status SWEEP` "
        "lists a sweep's trials, and --storage names another store"
    )


def called(trial_id: str, store: Store) -> str:
    """A trial for people: "S+C seed0 of order", or its id."""
    record = store.record(trial_id)
    if record:
        return f"{record.variant} seed{record.seed} of {record.sweep}"
    named = store.named(trial_id)
    return f"{named.name} of {named.sweep}" if named else f"trial {trial_id}"
