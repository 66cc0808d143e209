"""Interrupts that Python swallows: it can only report what is raised where nothing can catch it,
such as in the hooks of a fork or while a compiled module is imported.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def raised_again() -> Iterator[None]:
    """Raise an interrupt that was swallowed inside at the end of it.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM came, and was swallowed. Also in place of an error that
            came afterwards: what was cut off, such as the import of a module, is incomplete.
    """
    swallowed, before = [], sys.unraisablehook

    def note(report: Any) -> None:
        if not isinstance(report.exc_value, KeyboardInterrupt | SystemExit):
            before(report)
            return
        swallowed.append(True)
        # a fork takes this lock, and was interrupted before it gave it back
        lock: Any = getattr(logging, "_lock", None)
        with contextlib.suppress(AttributeError, RuntimeError):  # it is not this thread's
            lock.release()

    sys.unraisablehook = note
    try:
        yield
    except Exception:
        if not swallowed:
            raise
    finally:
        sys.unraisablehook = before
    if swallowed:
        raise KeyboardInterrupt from None
