"""The locks of a store: one process drives a sweep, and one process trains a trial."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from runners import system
from runners.errors import Held, SweepError
from runners.plan import Sweep
from runners.redaction import mask
from runners.store import retry
from runners.store.disk import Disk
from runners.store.place import Place


class Locks:
    """The part of a store that locks it; `locked` has the trials that this process trains."""

    files: Place
    root: str | Path
    locked: dict[str, TrialLock]

    @contextlib.contextmanager
    def hold(self, trial_id: str, wait_s: float = 60) -> Iterator[None]:
        """Lock this trial against other processes, waiting for up to `wait_s` seconds.

        Raises:
            Held: another process still has the lock.
        """
        with trial(self.files, trial_id, wait_s) as lock:
            self.locked[trial_id] = lock
            try:
                yield
            finally:
                del self.locked[trial_id]

    def left_alone(self, trial_id: str) -> contextlib.AbstractContextManager[object]:
        """Wait a little for a trial's worker to be gone, so that nothing is written any more.

        In a bucket a dead one's lock means nothing.
        """
        if isinstance(self.files, Disk):
            return trial(self.files, trial_id, wait_s=10)
        return contextlib.nullcontext()

    def trained_elsewhere(self, trial_id: str) -> str:
        """Which process trains the trial just now, such as another sweep's; empty: none."""
        return self.files.owner(trial_key(trial_id))

    def remove(self, trial_id: str) -> None:
        """Delete all that a trial left, which this process has locked, but its lock.

        The record goes first: without it, and with some of the rest, the trial merely starts over.
        """
        assert trial_id in self.locked
        lock = trial_key(trial_id)
        keys = [key for key in self.files.listing(f"trials/{trial_id}") if not key.startswith(lock)]
        for key in sorted(keys, key=lambda key: not key.endswith("/record.json")):
            self.files.delete(key)

    def drive(self, plan: Sweep, tracking_uri: str = "") -> contextlib.AbstractContextManager[None]:
        """Be the one driver of this sweep; other sweeps may use the store at the same time.

        Raises:
            SweepError: another process drives it; names it.
        """
        return sweep(self.files, self.root, plan, tracking_uri)


class TrialLock:
    """A trial's lock in this process; `taken_by` is who took it over, if its lease expired."""

    def __init__(self, trial_id: str):
        self.trial_id, self.taken_by = trial_id, ""

    def check(self) -> None:
        """Before a write.

        Raises:
            Held: another process has the lock now.
        """
        if self.taken_by:
            raise Held(
                f"{self.taken_by} has taken over trial {self.trial_id}, since this process did"
                " not renew its lock for long"
            )

    def lost(self, owner: str) -> None:
        """Another process took it over."""
        self.taken_by = owner


@contextlib.contextmanager
def trial(files: Place, trial_id: str, wait_s: float) -> Iterator[TrialLock]:
    """Lock a trial. A killed driver's workers train on for seconds: its successor waits here.

    Raises:
        Held: another process still has the lock after `wait_s` seconds.
    """
    lock = TrialLock(trial_id)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.lock(trial_key(trial_id), _me(), wait_s, lock.lost))
        except Held as other:
            raise Held(
                f"another process has been training trial {trial_id} for more than {wait_s:.0f} s;"
                f" stop it ({other})"
            ) from None
        files.tidy(f"trials/{trial_id}")
        yield lock


@contextlib.contextmanager
def sweep(files: Place, root: str | Path, plan: Sweep, tracking_uri: str) -> Iterator[None]:
    """Be the one driver of a sweep; drivers of other sweeps may use the same store.

    Two drivers are of one sweep if they run the same file, if they show sweeps of one name in the
    same MLflow, where these would be one experiment, or if they have searches of one name, which
    keep one journal.

    Raises:
        SweepError: another process drives it, and is named; or the store has no usable locks.
    """
    files.check_locks()
    with contextlib.ExitStack() as stack:
        for key, what in sweep_keys(plan, tracking_uri).items():
            try:
                stack.enter_context(files.lock(key, _me(), 0, _lost))
            except Held as other:
                raise SweepError(
                    f"{root}: {what} is in use by {str(other) or 'another process'}; wait for it,"
                    " stop it, or use another --storage"
                ) from None
        # at the start a user waits for an answer; from here on training waits for the store
        files.patience.seconds = max(files.patience.seconds, retry.PATIENCE_S)
        yield


def trial_key(trial_id: str) -> str:
    """The file that a trial's lock is."""
    return f"trials/{trial_id}/lock"


def sweep_keys(plan: Sweep, tracking_uri: str) -> dict[str, str]:
    """The files that a sweep's locks are, and what each stands for."""
    name = re.sub(r"[^\w.+-]", "_", plan.name)
    # MLflow's own default is relative to the working directory
    path = tracking_uri.removeprefix("sqlite:///")
    # the file's name must not give a password away, not even as a digest
    view = mask(tracking_uri) if path == tracking_uri else str(Path(path).resolve())
    keys = {
        f"{name}-file-{_digest(str(Path(plan.path).resolve()))}": f"sweep '{plan.name}'",
        f"{name}-view-{_digest(view)}": f"a sweep called '{plan.name}' with the same MLflow",
    }
    if plan.search:
        keys[f"{name}-search"] = f"a search called '{plan.name}'"
    return {f"drivers/{key}.lock": what for key, what in keys.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _lost(owner: str) -> None:
    """Another driver took a lock, as it may while this process is frozen: end as at SIGTERM."""
    # its output may be a closed pipe
    with contextlib.suppress(OSError):
        print(
            f"this sweep has been taken over by {owner}, since this process did not renew its lock"
            " for long; stopping",
            file=sys.stderr,
            flush=True,
        )
    os.kill(os.getpid(), signal.SIGTERM)


def _me() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {system.host()} since {now}"
