"""One thread for all traffic with MLflow: every task has a deadline, and no signal waits for it.

A server that sends a byte every five seconds never runs into a socket's time-out, and a thread
cannot be ended from outside. So a task that is late is abandoned with its thread: the waiting
caller goes on, and the next task gets a new thread. The abandoned one ends with its next call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
QUEUE = 10_000  # tasks that wait at most; more are refused, since memory is finite


class Late(TimeoutError):
    """A task did not end before its deadline."""


def is_abandoned() -> bool:
    """Whether nobody waits any more for the task of this thread."""
    return getattr(threading.current_thread(), "abandoned", False)


def check_abandoned() -> None:
    """End the task of this thread if it was abandoned; called before each request.

    Raises:
        Late: it was.
    """
    if is_abandoned():
        raise Late("this task was abandoned")


class _Task(Generic[T]):
    """A call to be made, and what came of it."""

    def __init__(self, run: Callable[[], T], seconds: float):
        self.run, self.seconds = run, seconds
        self.began: float | None = None
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    @property
    def late(self) -> bool:
        return self.began is not None and time.monotonic() - self.began > self.seconds

    def __call__(self) -> None:
        self.began = time.monotonic()
        try:
            self.result = self.run()
        except BaseException as error:  # the thread goes on; the caller raises it
            self.error = error
        self.done.set()


class _Thread(threading.Thread):
    """Runs tasks in their order. A daemon: the process never waits for it to end."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="mlflow")
        self.tasks: deque[_Task] = deque()
        self.new = threading.Semaphore(0)
        self.current: _Task | None = None
        self.abandoned = False

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.new.release()

    def run(self) -> None:
        while not self.abandoned:
            self.new.acquire()
            self.current = self.tasks.popleft()
            self.current()
            self.current = None


class Line:
    """Tasks one after the other, in a thread of their own.

    Args:
        late: called with the error when a task that nobody waits for was late; those behind it
            are dropped.
    """

    def __init__(self, late: Callable[[Late], None] = lambda error: None) -> None:
        self._thread: _Thread | None = None
        self._late = late

    def post(self, run: Callable[[], Any], seconds: float) -> bool:
        """Run this after everything before it, and do not wait; False if too many are waiting."""
        thread = self._running()
        if len(thread.tasks) >= QUEUE:
            return False
        thread.add(_Task(run, seconds))
        return True

    def call(
        self,
        run: Callable[[], T],
        seconds: float,
        waiting: Callable[[], None] = lambda: None,
        word_after_s: float = 3.0,
        until: float = float("inf"),
    ) -> T:
        """Run this after everything before it, and wait for its result; a signal ends the waiting.

        Args:
            seconds: the task's deadline, from its beginning.
            waiting: called once if the result is not there after `word_after_s` seconds.
            until: the moment, on the monotonic clock, at which the caller waits no longer.

        Raises:
            Late: it, or a task before it, was late.
            Exception: what `run` raised.
        """
        thread, task = self._running(), _Task(run, seconds)
        thread.add(task)
        word_at: float | None = time.monotonic() + word_after_s
        # short waits, so that a late task is noticed; each is interrupted by a signal
        while not task.done.wait(0.2):
            if word_at is not None and time.monotonic() > word_at:
                word_at = None
                waiting()
            if late := self._abandon_if_late(thread):
                raise late
            if time.monotonic() > until:
                self.abandon()
                raise Late("there is no more time for it")
        if task.error is not None:
            raise task.error
        return task.result  # type: ignore[return-value]

    def abandon(self) -> None:
        """Drop all tasks, also the one under way."""
        if self._thread is not None:
            self._thread.abandoned = True
            self._thread = None

    def _running(self) -> _Thread:
        """The thread, a new one if there is none or it is stuck."""
        if self._thread is not None and (late := self._abandon_if_late(self._thread)):
            self._late(late)
        if self._thread is None:
            self._thread = _Thread()
            self._thread.start()
        return self._thread

    def _abandon_if_late(self, thread: _Thread) -> Late | None:
        current = thread.current
        if current is None or not current.late or current.done.is_set():
            return None
        thread.abandoned, self._thread = True, None
        return Late(f"no answer within {current.seconds:.0f} s")
