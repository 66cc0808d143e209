"""The peak of a trial is its own, whatever the process trained before, and so is its memory."""

import os
import platform
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


# a step's memory is asked for anew in every step, and in a worker from a thread other than the main
STEPS = """
import resource, threading, torch
from runners.trial import peak_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    maps = [torch.zeros(40_000_000 // 4) for _ in range(3)]

def train():
    peak_memory.reset(torch.device("cpu"))
    for _ in range(20):  # some, until the heap has grown to the steps' pattern
        before = faults()
        step()
    said.append(faults() - before)
    peak_memory.system.give_back_memory()
    pages = int(open("/proc/self/statm").read().split()[1])
    said.append(pages * resource.getpagesize() // 1_000_000)

said = []
for _ in range(2):
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
print(*said)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_a_training_keeps_what_a_step_frees_until_it_ends():
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", STEPS]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    first, after_first, second, after_second = map(int, done.stdout.split())
    assert max(first, second) < 3_000  # of the 29,000 pages that a step writes
    assert after_second < after_first + 50  # MB; a step has 120


def test_where_the_allocator_cannot_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(peak_memory.system.ctypes, "CDLL", lambda name: object())
    peak_memory.system.give_back_memory()
    peak_memory.system.keep_memory()
