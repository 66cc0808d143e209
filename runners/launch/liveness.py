"""Which running trials still show signs of life. A sign of life is an epoch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

from runners.plan import Trial
from runners.store import Epoch

STEP_S = 5.0  # the most that counts between two looks at the clock
GRACE_S = 60.0  # the least time that a stop gives the epochs under way
SLACK = 1.5  # of an epoch's usual time: a fresh one takes all of it, and a little more
SILENCE_S = 600.0  # without an epoch, before the console has a line
SILENT_EPOCHS = 5.0  # or this many of the usual ones, where that is longer


class Clock:
    """The seconds in which this process was awake.

    A driver that was suspended has not seen its workers meanwhile, and must not blame them.
    """

    def __init__(self) -> None:
        self.now, self._last = 0.0, time.monotonic()

    def tick(self) -> None:
        """Look at the clock, several times in STEP_S."""
        last, self._last = self._last, time.monotonic()
        self.now += min(self._last - last, STEP_S)


@dataclass
class Sign:
    """The last sign of life of a running trial, and how long a silence the console has."""

    trial: Trial
    at: float
    said: float = 0.0


class Liveness:
    """The last sign of life of each running trial, by a key of the caller's."""

    def __init__(self, clock: Clock):
        self.clock = clock
        self.signs: dict[str, Sign] = {}
        self.seconds: dict[str, list[float]] = {}  # variant -> its epochs' times

    def began(self, key: str, trial: Trial) -> None:
        self.signs[key] = Sign(trial, self.clock.now)

    def epochs(self, key: str, trial: Trial, epochs: list[Epoch]) -> None:
        self.signs[key] = Sign(trial, self.clock.now)
        self.seconds.setdefault(trial.variant, []).extend(e.seconds for e in epochs)

    def gone(self, key: str) -> None:
        self.signs.pop(key, None)

    def usual(self, trial: Trial) -> float:
        """An epoch's median time in seconds: of its variant, else of all; 0: none has ended."""
        every = [s for seconds in [*self.seconds.values()] for s in seconds]
        own = self.seconds.get(trial.variant) or every
        return statistics.median(own) if own else 0.0

    def grace(self, trials: Iterable[Trial]) -> float:
        """How many seconds a stop gives the epochs under way of these trials."""
        return max([GRACE_S, *(SLACK * self.usual(trial) for trial in trials)])

    def silences(self) -> list[tuple[Trial, float]]:
        """(trial, seconds) of each silence that has become long, or twice as long as said."""
        found = []
        for sign in self.signs.values():
            silent = self.clock.now - sign.at
            long = max(SILENCE_S, SILENT_EPOCHS * self.usual(sign.trial), 2 * sign.said)
            if silent >= long:
                sign.said = silent
                found.append((sign.trial, silent))
        return found

    def stalled(self, seconds: float) -> list[str]:
        """The keys of the trials that were silent for so long."""
        return [key for key, sign in self.signs.items() if self.clock.now - sign.at >= seconds]
