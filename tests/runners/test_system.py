"""Planning, training and reporting import without what Unix alone has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runners import system

ROOT = Path(__file__).parents[2]

# as on Windows, as far as Linux can be made to look so
WITHOUT_UNIX = """
import os, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
del os.getuid
import getpass
getpass.getuser = lambda: "me"
"""


def test_without_unix_a_sweep_is_planned_a_trial_trained_and_reported(write_sweep, tmp_path):
    path = write_sweep(base={"epochs": 1}, seeds=1)
    code = WITHOUT_UNIX + (
        "from runners import __main__ as sweeps\n"
        "for command in (['plan'], ['train', '--variant', 'R20'], ['report'], ['status']):\n"
        f"    assert sweeps.main([command[0], {path.name!r}, *command[1:]]) == 0, command\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 trials (2 variants x 1 seed): 2 new" in done.stdout
    assert "tiny: 1 new, 1 finished" in done.stdout
    assert (tmp_path / "results" / "tiny" / "report.html").is_file()


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(6))
    assert system.cores() == 6
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert system.cores() == 4
    for said in ("40", "4(x2)", "0", ""):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", said)
        assert system.cores() == 6
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert system.cores() == 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has affinities")
def test_a_sweep_trains_on_the_cores_that_it_may_use(write_sweep):
    path = write_sweep(base={"epochs": 1}, seeds=1)
    line = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable]
    done = subprocess.run(
        [*line, "-m", "runners.sweep", path.name],
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trials to run, 1 at a time" in done.stdout
