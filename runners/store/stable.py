"""The part of a store that keeps stable parts: trials/<id>/stable.pt, the state of a training of
`schedule: wsd` before its decay, from which longer trainings go on.

An empty file, stable/<stable id>/<epochs>-<trial id>, says where one is.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from typing import Any

from runners.errors import StoreUnreadable
from runners.plan import Trial
from runners.store import checkpoint
from runners.store.place import Place
from runners.store.record import Epoch

NAME = re.compile(r"(\d+)-([0-9a-f]{16})")


class StableParts:
    """What longer trainings go on from."""

    files: Place

    def keep_stable(self, trial: Trial, state: dict[str, Any], epochs: list[Epoch]) -> None:
        """Keep the state of a trial whose stable part has just ended."""
        self.files.write(_key(trial.id), *checkpoint.content(trial.id, state, epochs))
        self.files.write(_name(trial), b"")

    def stable_epochs(self, trial: Trial) -> int:
        """How many epochs of its stable part another trial has left for it; 0 for none."""
        return next((epochs for epochs, _ in self._stable(trial)), 0)

    def stable_parts(self, trial: Trial) -> Iterator[tuple[dict[str, Any], list[Epoch], str]]:
        """The stable parts that the trial could go on from, the longest first: the state, the
        epochs, and the id of the trial that left it.

        Raises:
            StoreError: the store is unreachable, or forbids it.
        """
        for _, trial_id in self._stable(trial):
            try:
                yield *checkpoint.unpack(self.files.read(_key(trial_id)), trial_id), trial_id
                continue
            # a stable part only saves time: the trial can do without it
            except (FileNotFoundError, StoreUnreadable) as error:
                why = str(error)
            except (ValueError, TypeError, KeyError, pickle.UnpicklingError) as error:
                why = f"damaged ({error})"
            print(f"{self.files.address(_key(trial_id))}: {why}, not used", flush=True)

    def keeps_stable(self, trial: Trial) -> bool:
        """Whether the trial has left its stable part."""
        # the name is written last: a kill may have come before it; its trial may have been removed
        return self.files.exists(_name(trial)) and self.files.exists(_key(trial.id))

    def _stable(self, trial: Trial) -> Iterator[tuple[int, str]]:
        """(epochs, trial id) of what can be of use, the longest first."""
        if not trial.stable_id:
            return
        found = []
        for key in self.files.listing(_folder(trial)):
            name = NAME.fullmatch(key.rpartition("/")[2])
            if name and 0 < int(name[1]) <= trial.config.stable_epochs:
                found.append((int(name[1]), name[2]))
        for epochs, trial_id in sorted(found, reverse=True):
            # its trial may have been removed
            if self.files.exists(_key(trial_id)):
                yield epochs, trial_id


def _folder(trial: Trial) -> str:
    return f"stable/{trial.stable_id}"


def _name(trial: Trial) -> str:
    """The empty file that says that this trial left its stable part, and after which epoch."""
    return f"{_folder(trial)}/{trial.config.stable_epochs}-{trial.id}"


def _key(trial_id: str) -> str:
    return f"trials/{trial_id}/stable.pt"
