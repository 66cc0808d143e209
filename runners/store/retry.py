"""Try an operation of a store again while the store is full or unreachable."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from runners.errors import Held, StoreError, SweepError
from runners.masking import mask

T = TypeVar("T")
AGAIN_S = 5.0  # between two attempts


def patiently(task: Callable[[], T], patience_s: float, what: str) -> T:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return task()
        except (FileNotFoundError, Held):
            raise
        except OSError as error:
            reason = f"{what}: {error.strerror or ' '.join(str(error).split())[:200]}"
            if (
                isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError)
                or "ACCESS_DENIED" in reason
            ):
                raise SweepError(reason) from None  # no waiting helps
            if time.monotonic() >= deadline:
                raise StoreError(reason) from error
            with contextlib.suppress(OSError):  # where this goes may be what is full
                left_s = deadline - time.monotonic()
                print(mask(f"{reason}; trying again for {left_s:.0f} s"), flush=True)
        time.sleep(AGAIN_S)
