"""Where one start of the command ends by itself: hours, gigabytes, failed trials."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from runners.plan import Limits, Trial
from runners.store import Record, State, Store

MEASURE_EVERY_S = 20.0  # the store's size: each time every file is asked for


ALL_FAIL = "the first trials of all variants failed for one reason"


class LimitWatch:
    """The limits of a sweep file, counted from the start of the command over all its phases.

    Args:
        variants: the names of those that are compared.
    """

    def __init__(self, limits: Limits, store: Store, variants: Iterable[str] = ()):
        self.limits, self.store, self.variants = limits, store, {*variants}
        self.started = self.measured = time.monotonic()
        self.failed = 0  # trials
        self.reasons: dict[str, str] = {}  # variant -> why its first trial failed
        self.works = False  # a trial has ended otherwise

    def ended(self, trial: Trial, record: Record) -> None:
        """A trial has ended, before this start or in it."""
        if record.status == State.FAILED:
            self.failed += 1
            self.reasons.setdefault(trial.variant, record.reason)
        else:
            self.works = True

    def reached(self) -> str:
        """The limit that is reached, with its figures; empty: none."""
        limits, now = self.limits, time.monotonic()
        if limits.hours is not None and now - self.started > 3600 * limits.hours:
            return f"limits.hours: {limits.hours:g} have passed"
        if limits.failures is not None and self.failed >= limits.failures:
            return f"limits.failures: {self.failed} trials have failed"
        if limits.failures is None and self._in_vain:
            return f"{ALL_FAIL} (limits.failures lets more of them fail)"
        if limits.disk_gb is not None and now - self.measured > MEASURE_EVERY_S:
            self.measured = now
            if (size := self.store.gigabytes) > limits.disk_gb:
                return f"limits.disk_gb: the store has {size:.3g} GB of {limits.disk_gb:g}"
        return ""

    @property
    def _in_vain(self) -> bool:
        """Every variant has failed, all in the same words but for their numbers."""
        if self.works or self.failed < 2 or not self.variants or {*self.reasons} != self.variants:
            return False
        return len({re.sub(r"\d+", "0", reason) for reason in self.reasons.values()}) == 1
