"""How the workers of a trial failed so far: `failures.json` in its folder."""

from __future__ import annotations

import contextlib
import json

from runners.store.place import Place


class Failures:
    """The part of a store that counts failures."""

    files: Place

    def note_failure(self, trial_id: str, kind: str) -> int:
        """Write down that the trial failed; returns how often it has, in this way."""
        kinds = [*self.failures(trial_id), kind]
        self.files.write(_key(trial_id), json.dumps(kinds).encode())
        return kinds.count(kind)

    def failures(self, trial_id: str) -> list[str]:
        """In which ways the trial has failed, in their order."""
        # a torn file counts as none: it only spares a trial that fails every time a few attempts
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(self.files.read(_key(trial_id)))
        return []

    def forget_failures(self, trial_id: str) -> None:
        """Count from the beginning again."""
        self.files.delete(_key(trial_id))


def _key(trial_id: str) -> str:
    return f"trials/{trial_id}/failures.json"
