"""Processes that measure something beside each other, and wait until all are ready for it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TOGETHER_S = 60.0  # until all have begun, at most


@dataclass
class Start:
    """Where the processes that measure a network beside each other wait until all have begun."""

    place: Path
    processes: int

    def wait(self) -> None:
        """Until all are here.

        Raises:
            TimeoutError: one could not measure the network, or does not come.
        """
        self._note("here")
        until = time.monotonic() + TOGETHER_S
        while len([*self.place.glob("*.here")]) < self.processes:
            if time.monotonic() > until or [*self.place.glob("*.left")]:
                raise TimeoutError
            time.sleep(0.002)

    def leave(self) -> None:
        """Nobody need wait for this process, which has measured the network or cannot."""
        if not (self.place / f"{os.getpid()}.here").exists():
            self._note("left")

    def _note(self, what: str) -> None:
        self.place.mkdir(exist_ok=True)
        (self.place / f"{os.getpid()}.{what}").touch()
