"""Harms that only a real sweep can show: workers that hang, memory that others hold, code that
leaks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from ray._private.utils import get_num_cpus

from runners.plan import load
from runners.store import Store
from runners.trial.run import run
from tests.runners.test_sweep import finish, start, wait_for

ROOT = Path(__file__).parents[3]

# hangs in its first training step, once or always; writes down which process that was
HANG = """
import os, signal, time
from torch import nn

class Hang(nn.Conv2d):
    def forward(self, x):
        if self.training and x.device.type != "meta":
            flag = f"{self.folder}/{self.how}"
            if self.always or not os.path.exists(flag):
                open(flag, "w").write(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP) if self.how == "stop" else time.sleep(1e6)
        return super().forward(x)

def drop_in(conv, *, folder="", how="", always=False):
    # networks of other structures, which are never run before the launch to tell them apart
    size = 3 if how == "stop" else 1
    new = Hang(conv.in_channels, conv.out_channels, size, conv.stride, size // 2, bias=False)
    new.folder, new.how, new.always = folder, how, always
    return new
"""

# everything global that a user's file may change: a function of torch, its settings, the
# environment; each alters the numbers of a network that is trained after it in the same process
LEAK = """
import os
import torch
from torch import nn

os.environ["ATEN_CPU_CAPABILITY"] = "default"

def drop_in(conv):
    if conv.weight.device.type != "meta":
        plain = nn.functional.cross_entropy
        if not hasattr(plain, "leaks"):
            doubled = lambda *a, **k: 2 * plain(*a, **k)
            doubled.leaks = True
            nn.functional.cross_entropy = doubled
        torch.backends.mkldnn.enabled = False
        torch.use_deterministic_algorithms(True)
        torch.set_flush_denormal(True)
    return nn.Conv2d(conv.in_channels, conv.out_channels, 1, conv.stride, bias=False)
"""


def start_with(path: Path, patch: str, *arguments: str, **environment: str) -> subprocess.Popen:
    """The command, with constants of the product set otherwise for a test's sake."""
    code = f"import sys\n{patch}\nfrom runners import sweep\nsys.exit(sweep.main(sys.argv[1:]))"
    with open(path.parent / "out.txt", "w") as out:
        return subprocess.Popen(
            [sys.executable, "-c", code, path.name, *arguments],
            cwd=path.parent,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def hanging(folder: Path, how: str, **options) -> dict:
    return {"conv": "hang", "options": {"folder": str(folder), "how": how, **options}}


def test_a_stop_ends_workers_that_sleep_or_are_stopped_after_a_grace(write_sweep, tmp_path):
    (tmp_path / "hang.py").write_text(HANG)
    variants = {how: hanging(tmp_path, how, always=True) for how in ("sleep", "stop")}
    path = write_sweep(variants=variants, baseline="sleep", seeds=1, resources={"cpu": 0.5})
    process = start_with(path, "from runners.launch import liveness; liveness.GRACE_S = 3")
    flags = [tmp_path / how for how in variants]
    try:
        wait_for(
            lambda: all(f.exists() and f.read_text() for f in flags) or process.poll() is not None,
            seconds=600,
        )
        os.killpg(process.pid, signal.SIGINT)
        code, out = finish(process, path)
    finally:
        process.kill()
    assert code == 130 and "stopping after the epochs under way, within 3 s" in out, out
    for how in variants:
        assert f"{how} seed0: its epoch did not end within 3 s; its worker is ended" in out
    assert not [f.read_text() for f in flags if psutil.pid_exists(int(f.read_text()))]
    # nobody is left who holds a trial's lock
    for trial in load(path).trials:
        with Store(tmp_path / "runs").hold(trial.id, wait_s=0):
            pass


def test_a_worker_that_is_stopped_is_ended_and_its_trial_goes_on(write_sweep, tmp_path):
    (tmp_path / "hang.py").write_text(HANG)
    path = write_sweep(
        variants={"R20": {}, "stops": hanging(tmp_path, "stop")},
        seeds=1,
        limits={"stall_minutes": 0.75},
    )
    code, out = finish(start(path), path)
    assert code == 0, out
    assert (
        "stops seed0: no epoch within 0.75 min (limits.stall_minutes); its worker is ended" in out
    )
    assert not psutil.pid_exists(int((tmp_path / "stop").read_text()))
    stops = next(t for t in load(path).trials if t.variant == "stops")
    assert Store(tmp_path / "runs").record(stops.id).provenance["attempts"] >= 2


def test_memory_that_others_hold_is_waited_for_and_then_stops_the_sweep(write_sweep, tmp_path):
    path = write_sweep(seeds=1)
    patch = (
        "from runners.launch import node_memory; "
        "node_memory.PATIENCE_S = 4; node_memory.FIRST_PAUSE_S = node_memory.LONGEST_PAUSE_S = 2"
    )
    # Ray takes the machine's memory for full from the first byte on
    process = start_with(path, patch, RAY_memory_usage_threshold="0.001")
    code, out = finish(process, path)
    assert code == 75 and "the machine's memory is full (node " in out, out
    assert "GB; others hold " in out and "and no trial can run" in out, out
    assert (
        "Ray ended" not in out
        and "died" not in out
        and "Traceback" not in out
        and "log.txt" not in out
    ), out
    store, trials = Store(tmp_path / "runs"), load(path).trials
    assert not any(store.ended(t.id) for t in trials)


@pytest.fixture
def threads():
    """One trial at a time, so that each process is used again; its threads."""
    before = torch.get_num_threads()
    yield get_num_cpus()
    torch.set_num_threads(before)


def test_a_users_file_changes_no_other_trials_numbers(write_sweep, tmp_path, threads):
    (tmp_path / "leak.py").write_text(LEAK)
    path = write_sweep(
        variants={"leak": {"conv": "leak"}, "R20": {}, "S+C": {"conv": "scconv"}},
        seeds=1,
        resources={"cpu": threads, "gpu": 0},
    )
    code, out = finish(start(path), path)
    assert code == 0, out
    store, undisturbed = Store(tmp_path / "runs"), Store(tmp_path / "undisturbed")
    torch.set_num_threads(threads)
    for trial in load(path).trials:
        if trial.variant != "leak":
            list(run(trial, undisturbed, device="cpu"))
            got, want = (
                [e.train_loss for e in s.record(trial.id).epochs] for s in (store, undisturbed)
            )
            assert got == want, trial.name
