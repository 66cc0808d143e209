"""The store: one folder per trial id, on disk or in a bucket. The truth of the project.

A folder has `checkpoint.pt` (and the one before it) while its trial trains; `weights.pt` and, last,
`record.json` when the trial has ended; `evaluation.json` where a sweep asks for it; `log.txt`.
Every file is replaced as a whole, so a kill at any moment leaves the one before. Importing this
needs no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from runners.errors import Held
from runners.store import checkpoint, identity, place, record_file, weights
from runners.store.checkpoint import Checkpoints
from runners.store.disk import Disk
from runners.store.evaluations import Evaluations
from runners.store.failures import Failures
from runners.store.locks import Locks, TrialLock
from runners.store.log import trial_log
from runners.store.plans import Plans
from runners.store.record import Record
from runners.store.records import Records
from runners.store.stable import StableParts
from runners.store.state import State
from runners.store.user_files import UserFiles

OVER = (State.FINISHED, State.PRUNED)  # such trials never go on


class Store(Checkpoints, Evaluations, Failures, Locks, Plans, Records, StableParts, UserFiles):
    """The place of all trials: a folder or s3://bucket/folder.

    Many processes may read it at a time; each may write trials of its own.

    Args:
        patience_s: how long to retry where the place is full or unreachable.
        proven: it has been used by this sweep before: a bucket's refusal is an outage like others.

    Raises:
        SweepError: there is no such place.
        StoreError: it cannot be reached.
    """

    def __init__(self, root: str | Path = "runs", patience_s: float = 0, *, proven: bool = False):
        self.files = place.at(root, patience_s, proven=proven)
        self.root = self.files.root if isinstance(self.files, Disk) else str(root)
        self.cache = self.files.local / "data"
        self.books: dict[str, Any] = {}  # what is opened once and used by several
        self.locked: dict[str, TrialLock] = {}

    @cached_property
    def identity(self) -> str:
        """A name for this store that stays, whatever path or host it is reached by."""
        return identity.get(self.files)

    def folder(self, trial_id: str) -> Path:
        """Of a store on disk."""
        return Path(self.root) / "trials" / trial_id

    def address(self, trial_id: str, name: str) -> str:
        """Where a trial's file is, for people."""
        return self.files.address(_key(trial_id, name))

    def read(self, trial_id: str, name: str) -> bytes:
        """A file that the trial left.

        Raises:
            FileNotFoundError: it left none of that name.
        """
        return self.files.read(_key(trial_id, name))

    def commit(self, record: Record, state: dict[str, Any] | None = None) -> Record:
        """The trial has ended: keep its weights, then its record, which is the commit point.

        The checkpoint of a trial that will not go on is dropped. A process that does not have the
        trial's lock, such as a driver, makes a record only where there is none: another sweep may
        have trained the trial meanwhile.

        Args:
            state: the weights, of a trial that has a result.

        Returns:
            The record that stands.

        Raises:
            ValueError: the record could not be read back; nothing was written.
            Held: another process took the trial over, while this one did not renew its lock.
        """
        key, mine = _key(record.id, "record.json"), self.locked.get(record.id)
        if mine:
            mine.check()
        elif self.files.exists(key):
            return self.record(record.id) or record
        data = weights.packed(state) if state is not None else b""
        if data:
            record = replace(record, weights_sha256=hashlib.sha256(data).hexdigest())
        content = record_file.write(record)
        if data:
            self.files.write(_key(record.id, "weights.pt"), data)
        if mine:
            self.files.write(key, content)
        elif not self.files.create(key, content):
            return self.record(record.id) or record
        if record.status in OVER:
            checkpoint.drop(self.files, record.id)
        return record

    def drop_left(self, records: Iterable[Record]) -> None:
        """Remove the checkpoints of those trials that will not go on, where a kill came between a
        trial's record and that.
        """
        checkpoint.drop_left(self.files, [r.id for r in records if r.status in OVER])

    def weights(self, record: Record, *, parse: bool = True) -> dict[str, Any]:
        """The weights of a finished trial, on the CPU; with `parse` False they are only checked.

        Raises:
            FileNotFoundError: they are missing.
            SweepError: they are damaged.
        """
        content = self.read(record.id, "weights.pt")
        weights.check(content, record.weights_sha256, self.address(record.id, "weights.pt"))
        return weights.unpacked(content) if parse else {}

    def forget_failure(self, trial_id: str) -> None:
        """Let a trial that did not finish run again, from its last checkpoint."""
        if (record := self.record(trial_id)) is None or record.status == State.FINISHED:
            return
        # another sweep may just train it again, and finish it
        with contextlib.suppress(Held), self.hold(trial_id, wait_s=0):
            if (record := self.record(trial_id)) and record.status != State.FINISHED:
                self.forget_failures(trial_id)
                self.files.delete(_key(trial_id, "record.json"))

    @property
    def gigabytes(self) -> float:
        """What it takes on disk."""
        return sum(self.files.listing().values()) / 1e9

    def log(self, trial_id: str) -> contextlib.AbstractContextManager[io.TextIOBase]:
        """The trial's log, to append to; text that a full disk does not take is dropped."""
        return trial_log(self.files, _key(trial_id, "log.txt"))


def _key(trial_id: str, name: str) -> str:
    return f"trials/{trial_id}/{name}"
