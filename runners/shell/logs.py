"""The log of a trial's workers, followed while it is trained.

python -m runners.shell.logs 3f9a                     the trial whose id begins so
python -m runners.shell.logs sweeps/order.yaml --variant S+C --seed 0
"""

from __future__ import annotations

import argparse
import sys
import time

from runners import command
from runners.errors import SweepError
from runners.shell import chosen
from runners.store import Store

POLL_S = 1.0
MOST = 8  # trials that an error names


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: printed to its end; 2: bad input, or no log; 130: Ctrl-C."""
    args = _arguments(argv)
    store = Store(args.storage)
    trial_id, name = _one(args, store)
    try:
        _follow(trial_id, store, args.lines, follow=not args.no_follow)
    except FileNotFoundError:
        raise SweepError(
            f"{name}: it has no log in {store.root}; no worker of a sweep has begun it"
        ) from None
    except KeyboardInterrupt:
        return command.INTERRUPTED  # of the reading, not of the sweep
    return command.DONE


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps logs",
        description="The log of a trial's workers, followed while it is trained.",
    )
    chosen.add_arguments(parser)
    parser.add_argument("--lines", type=int, metavar="N", help="begin with the last N lines")
    parser.add_argument("--no-follow", action="store_true", help="print what is there, and stop")
    command.share(parser, "--set", "--data", "--storage")
    return parser.parse_args(argv)


def _one(args: argparse.Namespace, store: Store) -> tuple[str, str]:
    """The id of the one trial that is asked for, and its name.

    Raises:
        SweepError: there is none, or more than one.
    """
    if chosen.is_file(args.what):
        sweep = chosen.planned(args, store)
        trials = chosen.narrowed([*sweep.distinct, *chosen.searched(sweep, store)], sweep, args)
        found = {t.id: t.name for t in trials}
    else:
        found = {i: chosen.called(i, store) for i in chosen.by_id(args.what, store)}
    if len(found) == 1:
        return next(iter(found.items()))
    names = [f"{trial_id} ({name})" for trial_id, name in found.items()]
    more = f" and {len(names) - MOST} more" if names[MOST:] else ""
    raise SweepError(
        f"{args.what}: names {len(names)} trials: {', '.join(names[:MOST])}{more}; name one, by "
        "its id or by --variant and --seed"
    )


def _follow(trial_id: str, store: Store, lines: int | None, *, follow: bool) -> None:
    """Print the log; then what is added, until the trial has ended.

    Raises:
        FileNotFoundError: there is no log.
    """
    whole = store.read(trial_id, "log.txt")
    kept = whole.splitlines(keepends=True)
    _print(b"".join(kept[len(kept) - lines :] if lines and lines < len(kept) else kept))
    if not follow or store.ended(trial_id):
        return
    if not store.trained_elsewhere(trial_id):
        print("no process trains it now", file=sys.stderr)
        return
    ended = False
    while not ended:
        time.sleep(POLL_S)
        # asked first, so that the last lines are read after it
        ended = store.ended(trial_id)
        now = store.read(trial_id, "log.txt")
        _print(now[len(whole) :])
        whole = now


def _print(content: bytes) -> None:
    if content:
        print(content.decode(errors="replace"), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
