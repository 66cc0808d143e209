"""Remove trials from a store: one, or a sweep's. Nothing that is being trained is removed.

python -m runners.shell.rm 3f9a                       the trial whose id begins so
python -m runners.shell.rm sweeps/order.yaml          all of a sweep's, after a question
"""

from __future__ import annotations

import argparse
import sys

from runners import command
from runners.errors import Held
from runners.plan import Sweep
from runners.shell import chosen
from runners.shell.ls import NO_PLAN, kept, members
from runners.store import Store


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: removed; 1: some are being trained, or the answer was no; 2: bad input."""
    args = _arguments(argv)
    store = Store(args.storage)
    if not chosen.is_file(args.what):
        return _remove(chosen.by_id(args.what, store), store, args)
    sweep = chosen.planned(args, store)
    # nobody else may run the sweep meanwhile
    with store.drive(sweep, args.tracking_uri):
        trials = chosen.narrowed([*sweep.distinct, *chosen.searched(sweep, store)], sweep, args)
        return _remove([t.id for t in trials], store, args, sweep)


def _remove(
    ids: list[str], store: Store, args: argparse.Namespace, sweep: Sweep | None = None
) -> int:
    found = kept(store)
    # a lock's file may be all that is left of a trial
    there = [i for i in dict.fromkeys(ids) if i in found and found[i].bytes]
    sharing = _sharing(store, found, there, sweep)
    doomed = [i for i in there if args.shared or i not in sharing]
    for trial_id, others in sharing.items():
        also = "is removed there, too" if args.shared else "stays; --shared removes it, too"
        print(f"{chosen.called(trial_id, store)} ({trial_id}) also belongs to {others}: it {also}")
    if not doomed:
        print(f"nothing to remove in {store.root}")
        return command.DONE
    size = sum(found[i].bytes for i in doomed) / 1e6
    names = chosen.called(doomed[0], store) if len(doomed) == 1 else f"{len(doomed)} trials"
    if not args.yes and not _agreed(f"remove {names} from {store.root} ({size:.1f} MB)? [y/N] "):
        print("nothing was removed")
        return command.SOME_FAILED
    gone = [i for i in doomed if _removed(i, store)]
    whole = args.variant is None and args.seed is None and len(gone) == len(there)
    if sweep and whole:
        store.forget_plans(sweep.label)
    if gone:
        size = sum(found[i].bytes for i in gone) / 1e6
        noun = "trial" if len(gone) == 1 else "trials"
        print(f"removed {len(gone)} {noun}, {size:.1f} MB; reports and MLflow's runs stay")
    return command.DONE if len(gone) == len(doomed) else command.SOME_FAILED


def _sharing(store: Store, found: dict, ids: list[str], sweep: Sweep | None) -> dict[str, str]:
    """Trial id -> the other sweeps that it belongs to."""
    whose: dict[str, list[str]] = {}
    for name, trials in members(store, found).items():
        for trial_id in trials.intersection(ids):
            whose.setdefault(trial_id, []).append(name)
    mine = {sweep.label, sweep.name, f"{sweep.name}/search", NO_PLAN} if sweep else set()
    shared = {}
    for trial_id, names in whose.items():
        others = [name for name in names if name not in mine]
        # of a trial that is named by itself, one sweep is the one that it belongs to
        if others if sweep else others[1:]:
            shared[trial_id] = ", ".join(others)
    return shared


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there to answer
        return False


def _removed(trial_id: str, store: Store) -> bool:
    """Remove a trial, unless a process trains it; says so."""
    try:
        with store.hold(trial_id, wait_s=0):
            store.remove(trial_id)
    except Held:
        owner = store.trained_elsewhere(trial_id) or "another process"
        name = chosen.called(trial_id, store)
        print(f"{name} stays: it is being trained by {owner}; stop that first", file=sys.stderr)
        return False
    return True


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps rm",
        description="Remove trials from a store; nothing that is being trained is removed.",
    )
    chosen.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="without a question")
    parser.add_argument(
        "--shared", action="store_true", help="also what belongs to another sweep of the store"
    )
    command.share(parser, "--set", "--seeds", "--data", "--storage", "--tracking-uri")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
