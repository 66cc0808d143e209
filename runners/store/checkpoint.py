"""A trial's checkpoint: the state of its training after an epoch, behind a SHA-256.

The one before is kept until the next is written, so that a damaged file costs one epoch and a kill
at any moment none. Importing this needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runners.errors import StoreUnreadable
from runners.store import several
from runners.store.locks import TrialLock
from runners.store.place import Place
from runners.store.record import Epoch
from runners.store.weights import packed, unpacked

DIGEST = 32  # bytes of SHA-256 at the start of the file


class Checkpoints:
    """The part of a store that keeps how far trials have come."""

    files: Place
    locked: dict[str, TrialLock]

    def started(self, trial_id: str) -> bool:
        """Whether it has a checkpoint to go on from."""
        return exists(self.files, trial_id)

    def save(self, trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> None:
        """Replace the trial's checkpoint: weights, optimizer and every epoch so far.

        Raises:
            Held: another process took the trial over, while this one did not renew its lock.
        """
        if trial_id in self.locked:
            self.locked[trial_id].check()
        save(self.files, trial_id, state, epochs)

    def progress(self, trial_id: str) -> Progress | None:
        """How far the trial's training is; None where it has not finished an epoch."""
        return progress(self.files, trial_id)

    def checkpoint(self, trial_id: str) -> tuple[dict[str, Any], list[Epoch]] | None:
        """The state and epochs that `save` wrote last, or before; None where neither is usable."""
        return load(self.files, trial_id)


@dataclass(frozen=True)
class Progress:
    """How far a trial's training is, for people: its last epoch, the mean seconds of an epoch."""

    epoch: int
    seconds: float


def progress(files: Place, trial_id: str) -> Progress | None:
    """What `save` noted last; None where there is nothing, or it cannot be read."""
    try:
        found = json.loads(files.read(_progress(trial_id)))
        return Progress(int(found["epoch"]), float(found["seconds"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _progress(trial_id: str) -> str:
    return f"trials/{trial_id}/progress.json"


def save(files: Place, trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> None:
    """Replace the checkpoint by this state and every epoch so far; the one before it is kept."""
    last, before = _keys(trial_id)
    # at every moment one whole checkpoint is there
    if files.exists(last):
        files.keep(last, before)
    files.write(last, *content(trial_id, state, epochs))
    # another shell asks for it, and need not read the weights for that
    seconds = sum(e.seconds for e in epochs) / max(1, len(epochs))
    noted = {"epoch": len(epochs), "seconds": seconds}
    files.write(_progress(trial_id), json.dumps(noted).encode())


def content(trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> tuple[bytes, memoryview]:
    """The parts of a file with this state and every epoch so far, its checksum first."""
    # as one string: figure by figure, the epochs of a long training cost more than its weights
    rows = json.dumps([vars(e) for e in epochs])
    data = packed(state | {"trial": trial_id, "epochs": rows})
    return hashlib.sha256(data).digest(), data


def load(files: Place, trial_id: str) -> tuple[dict[str, Any], list[Epoch]] | None:
    """The state and the epochs that `save` wrote last; None where there is no usable checkpoint.

    A damaged one, or another trial's, is set aside, the one before it is taken instead, and the
    log has a line. So it is with one that cannot be read, but never does the trial start over then.

    Raises:
        StoreUnreadable: the disk cannot read a checkpoint, and no other is usable.
        StoreError: the store is unreachable, or forbids it.
    """
    last, before = _keys(trial_id)
    unreadable: StoreUnreadable | None = None
    for key in (last, before):
        try:
            found = files.read(key)
        except FileNotFoundError:
            continue
        except StoreUnreadable as error:
            unreadable = unreadable or error
            continue
        try:
            state = unpack(found, trial_id)
        # any other error is the machine's trouble, not the file's
        except (ValueError, TypeError, KeyError, pickle.UnpicklingError) as error:
            if not unreadable:
                older = key == last and files.exists(before)
                _set_aside(files, key, f"damaged ({error})", starts_over=not older)
            continue
        if unreadable:
            _set_aside(files, last, str(unreadable))
        return state
    if unreadable:
        raise unreadable
    return None


def exists(files: Place, trial_id: str) -> bool:
    """Whether the trial has a checkpoint."""
    return any(files.exists(key) for key in _keys(trial_id))


def drop(files: Place, trial_id: str) -> None:
    """Remove the checkpoints of a trial that will not go on."""
    last, before = _keys(trial_id)
    # the last one goes last: while it is there, something may be left
    for key in (before, _progress(trial_id), last):
        files.delete(key)


def drop_left(files: Place, trial_ids: Iterable[str]) -> None:
    """Remove what is left of the checkpoints of trials that will not go on."""
    owners = {key: trial_id for trial_id in trial_ids for key in _keys(trial_id)}
    with files.listed("trials", len(owners)):
        left = several.present(files.exists, [*owners])
    for trial_id in {owners[key] for key in left}:
        drop(files, trial_id)


def unpack(content: bytes, trial_id: str) -> tuple[dict[str, Any], list[Epoch]]:
    """A checkpoint's state and epochs. Only content that its checksum covers is unpickled.

    Raises:
        ValueError: its checksum is wrong, or it is another trial's.
    """
    digest, data = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("its checksum is wrong")
    state = unpacked(data)
    # the checkpoints of version 1 do not name their trial
    if (owner := state.pop("trial", trial_id)) != trial_id:
        raise ValueError(f"it is the checkpoint of another trial, {owner}")
    rows = state.pop("epochs")
    # older checkpoints have them as values, not as one string
    rows = json.loads(rows) if isinstance(rows, str) else rows
    return state, [Epoch.read(row) for row in rows]


def _set_aside(files: Place, key: str, reason: str, *, starts_over: bool = False) -> None:
    """Keep a checkpoint that is of no use under another name, and log why."""
    files.keep(key, key.replace(".pt", ".damaged"))
    files.delete(key)
    instead = "starts over" if starts_over else "goes on from the one before"
    print(f"{files.address(key)}: {reason}, set aside; the trial {instead}", flush=True)


def _keys(trial_id: str) -> tuple[str, str]:
    """The last checkpoint, and the one before it."""
    return f"trials/{trial_id}/checkpoint.pt", f"trials/{trial_id}/checkpoint.before.pt"
