"""A task that hangs holds up nobody: neither the next task, nor a signal, nor the process's end."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from runners.tracking import deadline
from runners.tracking.deadline import Late, Line, check_abandoned
from tests.runners.test_sweep import wait_for


@pytest.fixture
def stuck():
    """A task that hangs until the test is over."""
    release = threading.Event()
    yield release.wait
    release.set()


def test_tasks_run_in_their_order_and_return_or_raise():
    line, done = Line(), []
    for n in range(20):
        assert line.post(lambda n=n: done.append(n), 60)
    assert line.call(lambda: list(done), 60) == [*range(20)]
    with pytest.raises(ArithmeticError, match="odd"):
        line.call(lambda: (_ for _ in ()).throw(ArithmeticError("odd")), 60)
    assert line.call(lambda: "and goes on", 60) == "and goes on"


def test_a_late_task_is_abandoned_and_the_next_one_runs(stuck):
    line, said = Line(), []
    with pytest.raises(Late, match="no answer within 0 s"):
        line.call(stuck, 0.3, lambda: said.append("waiting"), word_after_s=0.0)
    assert said == ["waiting"]
    assert line.call(lambda: 7, 60) == 7


def test_tasks_behind_a_late_one_are_dropped_and_reported(stuck):
    late, done = [], []
    line = Line(late.append)
    line.post(stuck, 0.1)
    line.post(lambda: done.append("never"), 60)

    def noticed():
        line.post(lambda: done.append("after"), 60)
        return late

    wait_for(noticed)
    assert line.call(lambda: "fresh", 60) == "fresh"
    assert len(late) == 1 and "never" not in done and "after" in done


def test_an_abandoned_task_ends_with_its_next_request():
    line, go, ended = Line(), threading.Event(), []

    def task():
        go.wait()
        try:
            check_abandoned()
        except Late:
            ended.append("ended")
            raise

    with pytest.raises(Late):
        line.call(task, 0.2)
    go.set()
    wait_for(lambda: ended)
    line.call(check_abandoned, 60)  # a task of the next thread may go on


def test_memory_is_finite(monkeypatch, stuck):
    monkeypatch.setattr(deadline, "QUEUE", 3)
    line = Line()
    taken = [line.post(stuck, 60) for _ in range(10)]
    assert taken[0] and not taken[-1]


def test_a_signal_ends_the_waiting(stuck):
    line = Line()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        line.call(stuck, 600)


def test_a_process_ends_though_a_task_hangs():
    code = (
        "import threading\n"
        "from runners.tracking.deadline import Line\n"
        "Line().post(threading.Event().wait, 600)\n"
        "print('ended')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and ran.stdout == "ended\n"


def test_time_in_the_queue_is_not_the_tasks(monkeypatch):
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr(deadline, "time", clock)
    line = Line()
    # an hour, in the task before
    line.post(lambda: passed.append(passed.pop() + 3600), 1e6)
    assert line.call(lambda: "in time", 600) == "in time"
