"""Try an operation again while a store is full or unreachable, for as long as its patience
lasts.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable
from typing import TypeVar

from runners.errors import Held, StoreDenied, StoreError, StoreUnreadable
from runners.redaction import mask

T = TypeVar("T")
AGAIN_S = 5.0  # between two attempts
REPORT_S = 30.0  # between two lines that say so
NEW_OUTAGE_S = 60.0  # without a failure, and the next one begins an outage of its own
PATIENCE_S = 300.0  # of a sweep under way

# errors that waiting does not change, and the way out of each
_RIGHTS = "give this user the right to read and write there, or use another --storage"
_OTHER = "something else is in its place: move that away, or use another --storage"
DENIED = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: _OTHER,
    errno.EISDIR: _OTHER,
    errno.ELOOP: _OTHER,
    errno.ENAMETOOLONG: "use another --storage",
}


class Patience:
    """How long a store's operations are tried again: `seconds` for an outage as a whole.

    Operations that meet the same outage one after another share its time. So a sweep that has
    waited in vain can end at once, however many files it still looks at.
    """

    def __init__(self, seconds: float = 0):
        self.seconds = seconds
        self.cancelled = False
        self.outage_began = self.last_failure = float("-inf")

    def cancel(self) -> None:
        """Try nothing again from now on. It may be called by a signal handler."""
        self.cancelled = True

    def retry(self, task: Callable[[], T], what: str) -> T:
        """The task's result; `what` begins the message, such as "runs/identity cannot be read".

        Raises:
            FileNotFoundError, Held: the task's own.
            StoreDenied: no waiting helps.
            StoreError: the store was full or unreachable for too long.
        """
        began, reported = time.monotonic(), float("-inf")
        while True:
            try:
                result = task()
            except (FileNotFoundError, Held):
                self.last_failure = float("-inf")
                raise
            except (StoreDenied, StoreUnreadable):
                raise
            except OSError as error:
                reason = f"{what}: {error.strerror or ' '.join(str(error).split())[:200]}"
                if error.errno in DENIED:
                    raise StoreDenied(f"{reason}; {DENIED[error.errno]}") from None
                left = self._left(began)
                if left <= 0:
                    raise StoreError(reason) from error
                if time.monotonic() - reported >= REPORT_S:
                    reported = time.monotonic()
                    # the place that this line goes to may be what is full
                    with contextlib.suppress(OSError):
                        print(mask(f"{reason}; trying again for {left:.0f} s"), flush=True)
            else:
                self.last_failure = float("-inf")
                return result
            self._sleep()

    def _left(self, began: float) -> float:
        """Seconds for which an operation that began then, and has just failed, is tried again."""
        now = time.monotonic()
        if now - self.last_failure > NEW_OUTAGE_S:
            self.outage_began = began
        self.last_failure = now
        return 0 if self.cancelled else min(began, self.outage_began) + self.seconds - now

    def _sleep(self) -> None:
        until = time.monotonic() + AGAIN_S
        while time.monotonic() < until and not self.cancelled:
            time.sleep(min(0.2, AGAIN_S))
