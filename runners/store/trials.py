"""The store: one folder per trial id, on disk or in a bucket. The truth of the project.

A folder has `checkpoint.pt` (and the one before it) while its trial trains; `weights.pt` and, last,
`record.json` when the trial has ended; `log.txt`. Every file is replaced as a whole, so a kill at
any moment leaves the one before. Importing this needs no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from runners.errors import Held, SweepError
from runners.plan import Config, Own, Sweep, Trial
from runners.store import (
    checkpoint,
    identity,
    locks,
    place,
    record_file,
    user_files,
    weights,
)
from runners.store.disk import Disk
from runners.store.log import trial_log
from runners.store.record import Epoch, Record
from runners.store.state import State


class Store:
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
        self.locked: dict[str, locks.TrialLock] = {}  # trials that this process trains

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

    def record(self, trial_id: str) -> Record | None:
        """How the trial ended, or None while it has not.

        Raises:
            SweepError: the record is damaged, another trial's, or of a later version.
            StoreError: it cannot be read.
        """
        try:
            content = self.read(trial_id, "record.json")
        except FileNotFoundError:
            return None
        return record_file.load(content, trial_id, self.address(trial_id, "record.json"))

    def records(self, trials: Iterable[Trial]) -> dict[str, Record]:
        """trial id -> how it ended, of those trials that have; read once, to be handed down.

        Raises:
            SweepError: as `record`; the other records that cannot be used are counted.
            StoreError: one cannot be read.
        """
        found, refused = {}, []
        for trial_id in dict.fromkeys(trial.id for trial in trials):
            try:
                if record := self.record(trial_id):
                    found[trial_id] = record
            except SweepError as error:
                refused.append(str(error))
        if refused:
            others = len(refused) - 1
            more = f" ({others} more record{'s' * (others > 1)} like this)" if others else ""
            raise SweepError(refused[0] + more)
        return found

    def ended(self, trial_id: str) -> bool:
        """Whether there is a record; without reading it."""
        return self.files.exists(_key(trial_id, "record.json"))

    def started(self, trial_id: str) -> bool:
        """Whether it has a checkpoint to go on from."""
        return checkpoint.exists(self.files, trial_id)

    def save(self, trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> None:
        """Replace the trial's checkpoint: weights, optimizer and every epoch so far.

        Raises:
            Held: another process took the trial over, while this one did not renew its lock.
        """
        if trial_id in self.locked:
            self.locked[trial_id].check()
        checkpoint.save(self.files, trial_id, state, epochs)

    def checkpoint(self, trial_id: str) -> tuple[dict[str, Any], list[Epoch]] | None:
        """The state and epochs that `save` wrote last, or before; None where neither is usable."""
        return checkpoint.load(self.files, trial_id)

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
        if record.status in (State.FINISHED, State.PRUNED):
            checkpoint.drop(self.files, record.id)
        return record

    def weights(self, record: Record, *, parse: bool = True) -> dict[str, Any]:
        """The weights of a finished trial, on the CPU; with `parse` False they are only checked.

        Raises:
            FileNotFoundError: they are missing.
            SweepError: they are damaged.
        """
        content = self.read(record.id, "weights.pt")
        try:
            weights.check(content, record.weights_sha256)
        except ValueError as error:
            raise SweepError(
                f"{self.address(record.id, 'weights.pt')}: these weights are damaged: {error};"
                " restore them from a backup, or move the trial's folder away and the same"
                " command trains it again"
            ) from None
        return weights.unpacked(content) if parse else {}

    def forget_failure(self, trial_id: str) -> None:
        """Let a trial that did not finish run again, from its last checkpoint."""
        if (record := self.record(trial_id)) is None or record.status == State.FINISHED:
            return
        # another sweep may just train it again, and finish it
        with contextlib.suppress(Held), self.hold(trial_id, wait_s=0):
            if (record := self.record(trial_id)) and record.status != State.FINISHED:
                self.files.delete(_key(trial_id, "failures.json"))
                self.files.delete(_key(trial_id, "record.json"))

    def note_failure(self, trial_id: str, kind: str) -> int:
        """Keep in mind that the trial failed; returns how often it has, in this way."""
        kinds = [*self.failures(trial_id), kind]
        self.files.write(_key(trial_id, "failures.json"), json.dumps(kinds).encode())
        return kinds.count(kind)

    def failures(self, trial_id: str) -> list[str]:
        """In which ways the trial has failed, in their order."""
        # a torn file counts as none: it only spares a trial that fails every time a few attempts
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(self.read(trial_id, "failures.json"))
        return []

    @property
    def gigabytes(self) -> float:
        """What it takes on disk."""
        return self.files.bytes_used() / 1e9

    def keep(self, key: str, content: bytes) -> None:
        """Write a file whose name has its content's digest, unless it is there."""
        if not self.files.exists(key):
            self.files.create(key, content)

    def keep_sweep(self, sweep: Sweep) -> None:
        """Keep the sweep file as it was planned: the file itself may be edited while trials run."""
        self.keep(_sweep_key(sweep.name, sweep.digest), sweep.text.encode())

    def sweep_file(self, name: str, digest: str) -> str | None:
        """The text of the sweep file that `keep_sweep` kept; None where there is none."""
        try:
            return self.files.read(_sweep_key(name, digest)).decode()
        except FileNotFoundError:
            return None

    def keep_own(self, own: Own, config: Config) -> Own:
        """The same trial's user files as copies in the store, which no edit changes.

        Raises:
            SweepError: a file was edited after the sweep was planned.
        """
        return user_files.keep_own(self.files, own, config)

    def keep_file(self, path: str, digest: str) -> str:
        """The path of a copy of a user's file, and of what it imports; "" is "".

        Raises:
            SweepError: it was edited after the sweep was planned.
        """
        return user_files.keep(self.files, path, digest)

    def fetch_own(self, own: Own) -> Own:
        """The copies that `keep_own` made, here or on another machine, on this machine."""
        return user_files.fetch_own(self.files, own)

    def log(self, trial_id: str) -> contextlib.AbstractContextManager[io.TextIOBase]:
        """The trial's log, to append to; text that a full disk does not take is dropped."""
        return trial_log(self.files, _key(trial_id, "log.txt"))

    @contextlib.contextmanager
    def hold(self, trial_id: str, wait_s: float = 60) -> Iterator[None]:
        """Lock this trial against other processes, waiting for up to `wait_s` seconds.

        Raises:
            Held: another process still has the lock.
        """
        with locks.trial(self.files, trial_id, wait_s) as lock:
            self.locked[trial_id] = lock
            try:
                yield
            finally:
                del self.locked[trial_id]

    def left_alone(self, trial_id: str) -> contextlib.AbstractContextManager[object]:
        """Wait a little for a trial's worker to be gone, so that nothing is written any more."""
        return locks.left_alone(self.files, trial_id)

    def trained_elsewhere(self, trial_id: str) -> str:
        """Which process trains the trial just now, such as another sweep's; empty: none."""
        return self.files.owner(locks.trial_key(trial_id))

    def drive(
        self, sweep: Sweep, tracking_uri: str = ""
    ) -> contextlib.AbstractContextManager[None]:
        """Be the one driver of this sweep; other sweeps may use the store at the same time.

        Raises:
            SweepError: another process drives it; names it.
        """
        return locks.sweep(self.files, self.root, sweep, tracking_uri)


def _key(trial_id: str, name: str) -> str:
    return f"trials/{trial_id}/{name}"


def _sweep_key(name: str, digest: str) -> str:
    return f"sweeps/{name}-{digest}.yaml"
