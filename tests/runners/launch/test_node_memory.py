"""A full memory: what Ray's error says of it, and how many trials run afterwards."""

import pytest

from runners.launch import node_memory
from runners.launch.node_memory import Pressure

# as Ray 2.60 words it, shortened
KILLED = """Caught unexpected exception: 1 worker(s) were killed due to the node running low on memory.
Memory on the node (IP: 192.0.2.2, ID: 659e549b239c8b05) was 23.10GB used / 24.00GB limit (0.9625)
OOM kill reason: Memory usage 24803MB exceeded threshold of 23.9GB (95.0% of 25276502016B limit)
Considered workers: [
Selected to kill: (Actor(5ac7): lease ID=0100, task name=ImplicitFunc.__init__, pid=26009, \
actual memory used=1.90GB, worker ID=478e)
(Actor(f994): job ID=0100, task name=ImplicitFunc.__init__, pid=26010, \
actual memory used=1.10GB, worker ID=8748)
]
Top 10 memory users: PID	MEM(GB)	COMMAND
3613	17.3	.venv/bin/python -m pytest -q
"""
OLDER = """Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.7, ID: e5d9) where the task was running was 15.2GB / 16.0GB (0.95), \
which exceeds the memory usage threshold of 0.95."""


def test_rays_error_is_read_with_its_figures():
    full = node_memory.read(KILLED)
    assert (full.node, full.used, full.total, full.ours) == ("192.0.2.2", 23.1, 24.0, 3.0)
    assert str(full) == (
        "the machine's memory is full (node 192.0.2.2): 23.1 of 24.0 GB; others hold 20.1"
    )
    assert node_memory.read(OLDER).used == 15.2 and node_memory.read(OLDER).ours == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc",
        "Could not connect to the GCS",
        "the disk has 23.1GB used / 24.0GB",
    ],
)
def test_another_error_is_not_about_memory(text):
    assert node_memory.read(text) is None


def test_one_trial_fewer_after_a_kill_and_one_more_after_a_trial():
    pressure = Pressure()
    assert pressure.room(100, 0)
    pressure.killed(4, 10)
    assert pressure.room(2, 10) and not pressure.room(3, 10)
    pressure.killed(3, 20)
    assert pressure.room(1, 20) and not pressure.room(2, 20)
    pressure.ended()
    assert pressure.room(2, 20) and not pressure.hopeless(10_000)


def test_after_a_kill_of_one_alone_nothing_starts_for_a_while_and_then_the_sweep_stops():
    pressure, now, tries = Pressure(), 0.0, 0
    while not pressure.hopeless(now):
        pressure.killed(1, now)
        assert not pressure.room(0, now)
        now, tries = pressure.until, tries + 1
        assert pressure.room(0, now) and not pressure.room(1, now)
    assert tries == 7 and now == pytest.approx(310)
    pressure.advanced()
    assert pressure.room(0, now) and not pressure.hopeless(now)
    pressure.killed(1, now)
    assert pressure.until == now + node_memory.FIRST_PAUSE_S
