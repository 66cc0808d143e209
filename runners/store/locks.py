"""The locks of a store: one process drives it, and one process trains a trial."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from runners.errors import Held, SweepError
from runners.store.disk import Disk
from runners.store.place import Place


@contextlib.contextmanager
def trial(files: Place, trial_id: str, wait_s: float) -> Iterator[None]:
    """Lock a trial. A killed driver's workers train on for seconds: its successor waits here.

    Raises:
        Held: another process still has the lock after `wait_s` seconds.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.lock(f"trials/{trial_id}/lock", _me(), wait_s))
        except Held as other:
            raise Held(
                f"another process has been training trial {trial_id} for more than {wait_s:.0f} s;"
                f" stop it ({other})"
            ) from None
        files.tidy(f"trials/{trial_id}")
        yield


def left_alone(files: Place, trial_id: str) -> contextlib.AbstractContextManager[None]:
    """Wait a little for a trial's worker to be gone; in a bucket a dead one's lock means nothing."""
    if isinstance(files, Disk):
        return trial(files, trial_id, wait_s=10)
    return contextlib.nullcontext()


@contextlib.contextmanager
def driver(files: Place, root: str | Path) -> Iterator[None]:
    """Be the one driver of the store at `root`.

    Raises:
        SweepError: another process is; names it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.lock("driver.lock", _me(), 0, _lost))
        except Held as other:
            raise SweepError(
                f"{root} is in use by {str(other) or 'another sweep'}; wait for it, stop it,"
                " or use another --storage"
            ) from None
        yield


def _lost() -> None:
    """Another driver took the lock, as it may after a long break of the network: end as at SIGTERM."""
    print(
        "this store has been taken over by another sweep, because it was not heard of for long;"
        " stopping",
        file=sys.stderr,
    )
    os.kill(os.getpid(), signal.SIGTERM)


def _me() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {os.uname().nodename} since {now}"
