"""The peak of a trial is its own, whatever the process trained before."""

import subprocess
import sys

import pytest

from runners.trial import peak_memory

# each thread frees what it took, as a worker's trials do; glibc keeps it in the thread's arena
CODE = """
import threading, torch
from runners.trial import peak_memory
cpu = torch.device("cpu")

def train():
    # one in twenty outlives the thread, and keeps its part of the arena in use
    blocks = [bytearray(100_000) for _ in range(3_000)]
    kept.append(blocks[::20])

kept = []
for _ in range(3):
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
before = peak_memory.gigabytes(cpu)
peak_memory.reset(cpu)
print(before, peak_memory.gigabytes(cpu))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can forget a peak")
def test_what_earlier_trials_freed_is_no_part_of_the_peak():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before - after > 0.15  # of the 0.4 GB or so that only the threads needed


def test_where_the_allocator_cannot_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(peak_memory.system.ctypes, "CDLL", lambda name: object())
    peak_memory.system.give_back_memory()
