"""A trial's checkpoint: the state of its training after an epoch, behind a SHA-256.

The one before is kept until the next is written, so that a damaged file costs one epoch and a kill
at any moment none. Importing this needs no torch.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import asdict
from typing import Any

from runners.store.place import Place
from runners.store.record import Epoch

DIGEST = 32  # bytes of SHA-256 at the start of the file


def save(files: Place, trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> None:
    """Replace the checkpoint by this state and every epoch so far; the one before it is kept."""
    last, before = _keys(trial_id)
    # at every moment one whole checkpoint is there
    if files.exists(last):
        files.keep(last, before)
    data = packed(state | {"epochs": [asdict(e) for e in epochs]})
    files.write(last, hashlib.sha256(data).digest(), data)


def load(files: Place, trial_id: str) -> tuple[dict[str, Any], list[Epoch]] | None:
    """The state and the epochs that `save` wrote last; None where there is no usable checkpoint.

    A damaged one is set aside, the one before it is taken instead, and the log has a line.
    """
    last, before = _keys(trial_id)
    for key in (last, before):
        try:
            content = files.read(key)
        except FileNotFoundError:
            continue
        try:
            return _unpacked(content)
        # any other error is the machine's trouble, not the file's
        except (ValueError, TypeError, KeyError, pickle.UnpicklingError) as error:
            _set_aside(files, key)
            older = key == last and files.exists(before)
            instead = "goes on from the one before" if older else "starts over"
            print(
                f"{files.address(key)}: damaged ({type(error).__name__}: {error}), set aside;"
                f" the trial {instead}",
                flush=True,
            )
    return None


def exists(files: Place, trial_id: str) -> bool:
    """Whether the trial has a checkpoint."""
    return any(files.exists(key) for key in _keys(trial_id))


def drop(files: Place, trial_id: str) -> None:
    """Remove the checkpoints of a trial that will not go on."""
    for key in _keys(trial_id):
        files.delete(key)


def packed(state: dict[str, Any]) -> memoryview:
    """Tensors and plain values as torch writes them."""
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    return content.getbuffer()


def _unpacked(content: bytes) -> tuple[dict[str, Any], list[Epoch]]:
    """A checkpoint's state and epochs. Only tensors and plain values that the checksum covers
    are unpickled.
    """
    import torch

    digest, data = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("its checksum is wrong")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state, [Epoch(**row) for row in state.pop("epochs")]


def _set_aside(files: Place, key: str) -> None:
    files.keep(key, key.replace(".pt", ".damaged"))
    files.delete(key)


def _keys(trial_id: str) -> tuple[str, str]:
    """The last checkpoint, and the one before it."""
    return f"trials/{trial_id}/checkpoint.pt", f"trials/{trial_id}/checkpoint.before.pt"
