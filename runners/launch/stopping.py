"""The way to a stop: the epochs under way may end, for a while; then their workers are ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runners.launch.console import Console, duration
from runners.launch.liveness import Liveness


class Stop:
    """Whether a phase is being stopped, why, and whom it waits for."""

    def __init__(self, console: Console, liveness: Liveness):
        self.console, self.liveness = console, liveness
        self.asked = False
        self.why = ""  # the limit, or the trouble; empty after a signal
        self.awaited: set[str] = set()  # Tune's ids of the trials whose epoch may still end
        self.grace = self.deadline = 0.0

    def ask(self, running: Mapping[str, Any], why: str = "") -> None:
        """Stop after the epochs under way of these trials of Tune's, by their ids."""
        # a second reason leaves them no more time
        if not self.asked:
            self.grace = self.liveness.grace(t.config["trial"] for t in [*running.values()])
            self.deadline = self.liveness.clock.now + self.grace
            self.awaited = set(running)
        self.asked, self.why = True, why
        within = f"within {duration(self.grace)}"
        if why:
            self.console.say(f"{why}; stopping after the epochs under way, {within}")
        else:
            self.console.say(
                f"stopping after the epochs under way, {within}; "
                "Ctrl-C again stops at once (nothing is lost but those epochs)"
            )

    @property
    def overdue(self) -> set[str]:
        """Those whose epoch did not end in time."""
        late = self.asked and self.liveness.clock.now > self.deadline
        return self.awaited if late else set()
