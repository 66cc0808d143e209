"""Where one start of the command ends by itself: hours, gigabytes, failed trials."""

from __future__ import annotations

import time

from runners.plan import Limits
from runners.store import Store

MEASURE_EVERY_S = 20.0  # the store's size: each time every file is asked for


class LimitWatch:
    """The limits of a sweep file, counted from the start of the command over all its phases."""

    def __init__(self, limits: Limits, store: Store):
        self.limits, self.store = limits, store
        self.started = self.measured = time.monotonic()
        self.failed = 0  # trials

    def reached(self) -> str:
        """The limit that is reached, with its figures; empty: none."""
        limits, now = self.limits, time.monotonic()
        if limits.hours is not None and now - self.started > 3600 * limits.hours:
            return f"limits.hours: {limits.hours:g} have passed"
        if limits.failures is not None and self.failed >= limits.failures:
            return f"limits.failures: {self.failed} trials have failed"
        if limits.disk_gb is not None and now - self.measured > MEASURE_EVERY_S:
            self.measured = now
            if (size := self.store.gigabytes) > limits.disk_gb:
                return f"limits.disk_gb: the store has {size:.3g} GB of {limits.disk_gb:g}"
        return ""
