"""A node's memory that is full: read from Ray's error, and answered by fewer trials at a time.

Ray kills a worker when its node's memory is nearly full, whoever holds that memory. It ends the
whole `fit()` where the worker was training, and fails the trial where the worker was starting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 60.0
PATIENCE_S = 300.0  # without a single epoch, before the sweep stops


@dataclass(frozen=True)
class Full:
    """A node whose memory is full; gigabytes. `ours`: of Ray's workers on it."""

    node: str
    used: float
    total: float
    ours: float

    @property
    def others(self) -> float:
        return max(0.0, self.used - self.ours)

    def __str__(self) -> str:
        where = f" (node {self.node})" if self.node else ""
        return (
            f"the machine's memory is full{where}: {self.used:.1f} of {self.total:.1f} GB; "
            f"others hold {self.others:.1f}"
        )


def read(text: str) -> Full | None:
    """What an error of Ray says of a full memory; None where it is about something else."""
    figures = re.search(r"([\d.]+)GB(?: used)? / ([\d.]+)GB", text)
    if not figures or "emory" not in text:
        return None
    node = re.search(r"\(IP: ([^,)\s]+)", text)
    ours = re.findall(r"actual memory used=([\d.]+)GB", text)
    return Full(
        node[1] if node else "", float(figures[1]), float(figures[2]), sum(map(float, ours))
    )


class Pressure:
    """How many trials run at a time while memory is short; all times are the driver's clock.

    One fewer after each kill, one more after each trial that ends. Where a trial was killed alone,
    nothing starts for a while.
    """

    def __init__(self) -> None:
        self.at_most: int | None = None  # trials at a time; None: as many as Ray has room for
        self.since: float | None = None  # the first kill of one alone, after the last epoch
        self.pause = self.until = 0.0

    def killed(self, running: int, now: float) -> None:
        """A worker was killed when so many trials ran."""
        self.at_most = max(1, min(running, self.at_most or running) - 1)
        if running <= 1:
            self.since = now if self.since is None else self.since
            self.pause = min(LONGEST_PAUSE_S, 2 * self.pause or FIRST_PAUSE_S)
            self.until = now + self.pause

    def advanced(self) -> None:
        """A trial finished an epoch: memory suffices for what runs now."""
        self.since, self.pause, self.until = None, 0.0, 0.0

    def ended(self) -> None:
        """A trial ended: one more may run."""
        if self.at_most is not None:
            self.at_most += 1

    def room(self, running: int, now: float) -> bool:
        """Whether one more trial may start beside those that run."""
        return now >= self.until and (self.at_most is None or running < self.at_most)

    def hopeless(self, now: float) -> bool:
        """Whether it is time to stop: for PATIENCE_S no epoch came to its end."""
        return self.since is not None and now - self.since >= PATIENCE_S
