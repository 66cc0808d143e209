"""What the commands share: their options, and how an error becomes one line and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from runners import output
from runners.errors import StoreDenied, StoreError, StoreUnreadable, SweepError, Unfinished
from runners.plan import Sweep
from runners.redaction import mask
from runners.store import Store

DONE, SOME_FAILED, BAD_INPUT, UNFINISHED, INTERRUPTED = 0, 1, 2, 75, 130  # exit statuses

TRACKING_URI = "sqlite:///mlflow.db"

# the options that several commands have
SHARED: dict[str, dict[str, Any]] = {
    "sweep": {"help": "the sweep file, such as sweeps/quickstart.yaml"},
    "--set": {
        "action": "append",
        "default": [],
        "metavar": "PLACE=VALUE",
        "help": "override, such as base.epochs=3 (may be repeated)",
    },
    "--seeds": {"type": int, "metavar": "N", "help": "how many seeds instead of the file's"},
    "--only": {
        "action": "append",
        "default": [],
        "metavar": "VARIANT",
        "help": "this variant alone (may be repeated)",
    },
    "--data": {
        "metavar": "DIR",
        "help": "where the data set is, or is downloaded to (default: $DATA_ROOT, else ./data)",
    },
    "--storage": {
        "default": "runs",
        "metavar": "PLACE",
        "help": "where trials are kept: a folder, or s3://bucket/folder (default: ./runs)",
    },
    "--tracking-uri": {
        "metavar": "URI",
        "help": "MLflow's store (default: $MLFLOW_TRACKING_URI, else ./mlflow.db)",
    },
    "--out": {"metavar": "DIR", "help": "where to write (default: results/<sweep>)"},
}


def share(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add these of the shared options to a command's parser, in this order."""
    for name in names:
        parser.add_argument(name, **SHARED[name])
    if "--tracking-uri" in names:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or TRACKING_URI
        parser.set_defaults(tracking_uri=uri)


def exits(main: Callable[..., int]) -> Callable[..., int]:
    """`main` with forgiving output; an error that it raises becomes one line and an exit status.

    A store that is unreachable or full is an outage, also before anything is run: the same command
    may be tried again. The errors are those of `runners.errors`, and what is raised where a file or
    a value of the user's cannot be used: OSError and ValueError. Any other one is a fault of this
    code.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        with output.forgiving():
            try:
                return main(argv)
            except (StoreDenied, StoreUnreadable) as error:
                return _end(str(error), BAD_INPUT)
            except (Unfinished, StoreError) as error:
                return _end(f"{error}; the same command continues", UNFINISHED)
            except (ValueError, OSError) as error:
                return _end(str(error) or type(error).__name__, BAD_INPUT)
            except KeyboardInterrupt:
                return _end("\nstopped; the same command continues", INTERRUPTED)

    return run


def _end(line: str, status: int) -> int:
    print(mask(line), file=sys.stderr)
    return status


@contextlib.contextmanager
def kept_environment() -> Iterator[None]:
    """Undo what a user's file does to this process's environment, which every worker inherits."""
    before = dict(os.environ)
    try:
        yield
    finally:
        # by difference: another thread may read the environment at any moment
        for name in [*os.environ]:
            if name not in before:
                del os.environ[name]
            elif os.environ[name] != before[name]:
                os.environ[name] = before[name]
        os.environ.update((k, v) for k, v in before.items() if k not in os.environ)


def settled(sweep: Sweep, store: Store) -> Sweep:
    """The sweep with what its search found, and with the seeds that it asked for.

    Raises:
        SweepError: its search has not ended.
    """
    if sweep.search is None:
        return store.as_planned(sweep)
    # it needs Optuna, which a sweep without a search does not
    from runners.search import searching as search

    sweep = search.conclude(sweep, store)
    if not sweep.settled:
        raise SweepError(
            f"{sweep.path}: its search has not ended, and its finds are compared; "
            f"run python -m runners.sweep {sweep.path} first"
        )
    return sweep
