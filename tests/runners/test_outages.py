"""A sweep whose store is unreachable, full or forbidden for a while, or for too long."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runners.plan import load
from runners.store import Store
from tests.runners.test_sweep import ROOT, finish, mlflow_runs, start, wait_for

# the command, with leases that expire after 3 s and the patience that the test wants
COMMAND = """
import sys
from runners import sweep
from runners.store import lease, retry
lease.LEASE_S, retry.AGAIN_S, retry.PATIENCE_S = 3.0, 0.5, float(sys.argv[1])
sweep.PATIENCE_S = min(sweep.PATIENCE_S, retry.PATIENCE_S)
sys.exit(sweep.main(sys.argv[2:]))
"""


EPOCHS = 12  # more than are trained before a test has cut the store off


def start_with_patience(seconds: float, path: Path, *arguments: str) -> subprocess.Popen:
    line = [sys.executable, "-c", COMMAND, str(seconds), path.name, *arguments]
    return subprocess.Popen(
        line,
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=open(path.parent / "out.txt", "w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.fixture
def sweep_file(write_sweep):
    return write_sweep(base={"epochs": EPOCHS}, seeds=1)


def test_an_outage_longer_than_a_lease_costs_a_sweep_nothing(behind_proxy, proxy, sweep_file):
    place, trials = behind_proxy("runs"), load(sweep_file).trials
    store = Store(place, 600)
    process = start_with_patience(300, sweep_file, "--storage", place)
    wait_for(lambda: any(store.started(t.id) for t in trials) or process.poll() is not None)
    proxy.trouble = lambda method, path: 503
    proxy.seen.clear()
    # both workers and the driver have asked in vain, for longer than the driver's leases last
    wait_for(lambda: len([1 for m, p in proxy.seen if "drivers/" in p]) > 20)
    proxy.trouble = lambda method, path: None
    code, out = finish(process, sweep_file)
    assert code == 0 and "2 of 2 trials finished" in out and "taken over" not in out, out
    assert mlflow_runs(sweep_file) == {
        t.name: ("FINISHED", [*range(1, EPOCHS + 1)], 1) for t in trials
    }


def test_an_outage_longer_than_patience_ends_with_75_and_the_same_command_continues(
    behind_proxy, proxy, sweep_file
):
    place, trials = behind_proxy("runs"), load(sweep_file).trials
    store = Store(place, 600)
    process = start_with_patience(5, sweep_file, "--storage", place)
    wait_for(lambda: any(store.started(t.id) for t in trials) or process.poll() is not None)
    proxy.trouble = lambda method, path: 503
    code, out = finish(process, sweep_file)
    assert code == 75 and "503 SlowDown" in out and "the same command continues" in out, out
    assert "Traceback" not in out and "taken over" not in out, out
    proxy.trouble = lambda method, path: None
    assert any(not store.ended(t.id) for t in trials)
    code, out = finish(start_with_patience(300, sweep_file, "--storage", place), sweep_file)
    assert code == 0 and "2 of 2 trials finished" in out, out


def test_a_store_that_is_forbidden_in_mid_run_ends_with_75_at_once_and_names_the_file(
    sweep_file, tmp_path
):
    store, trials = Store(tmp_path / "runs"), load(sweep_file).trials
    process = start(sweep_file)
    wait_for(lambda: any(store.started(t.id) for t in trials) or process.poll() is not None)
    # not even root may replace a folder by a file
    for trial in trials:
        for name in ("checkpoint.pt", "weights.pt", "record.json"):
            path = store.folder(trial.id) / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(True)
            path.mkdir(parents=True)
    code, out = finish(process, sweep_file)
    # the driver may look for a record before a worker writes one
    assert code == 75 and re.search("cannot be (written|read): Is a directory", out), out
    assert str(tmp_path / "runs/trials") in out and "Traceback" not in out
    assert "its worker" not in out and "trying again" not in out
    code, out = finish(start(sweep_file), sweep_file)
    assert code == 2 and "record.json cannot be read: Is a directory" in out, out
    assert "remove it" not in out and out.count("\n") == 1


def test_a_signal_in_an_outage_is_answered(behind_proxy, proxy, sweep_file):
    place, trials = behind_proxy("runs"), load(sweep_file).trials
    store = Store(place, 600)
    process = start_with_patience(3600, sweep_file, "--storage", place)
    wait_for(lambda: any(store.started(t.id) for t in trials) or process.poll() is not None)
    proxy.trouble = lambda method, path: 503
    proxy.seen.clear()
    wait_for(lambda: len(proxy.seen) > 10)
    for _ in range(2):
        os.kill(process.pid, signal.SIGTERM)
    code, out = finish(process, sweep_file)
    assert code in (75, 130) and "Traceback" not in out, out
