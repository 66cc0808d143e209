"""The signals that end a sweep: Ctrl-C and SIGTERM. They belong to the process, not to a phase."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


class Signals:
    """Ctrl-C once asks for a stop after the epochs under way. Twice, or SIGTERM, stops at once.

    `hurry` is called by the handler at a stop at once: what is being waited for is given up.
    """

    def __init__(self, hurry: Callable[[], None] = lambda: None) -> None:
        self.at_once = self.busy = False
        self.hurry = hurry

    @contextlib.contextmanager
    def answered(self, stopping: Callable[[], bool], stop: Callable[[], None]) -> Iterator[None]:
        """Answer signals within the block.

        Args:
            stopping: whether a stop is under way already, so that Ctrl-C means "at once".
            stop: called at the first Ctrl-C.

        Raises:
            KeyboardInterrupt: the process was told to stop at once.
        """

        def handle(number: int, frame: object) -> None:
            if number == signal.SIGINT and not stopping():
                stop()
                return
            self.at_once = True
            self.hurry()
            if not self.busy:
                raise KeyboardInterrupt

        old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block end before an interruption: a write cut off would leave a database locked.

        Raises:
            KeyboardInterrupt: after the outermost block, where a signal came within it.
        """
        outer, self.busy = self.busy, True
        try:
            yield
        finally:
            self.busy = outer
        if self.at_once and not outer:
            raise KeyboardInterrupt
