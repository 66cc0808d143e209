"""The jobs of docker/slurm, with stand-ins for SLURM's commands and for the sweep."""

import os
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[1] / "docker" / "slurm"
SQUEUE = """#!/bin/bash
case "$*" in *%e*) echo "$JOB_END" ;; *%T*) echo "$JOB_STATE" ;; esac
"""
# what queues a job again ends its script
SCONTROL = """#!/bin/bash
case "$1" in
    show) echo "   Command={script} {script}" ;;
    requeue) touch requeued; kill -KILL $PPID ;;
esac
"""
PYTHON = """#!/bin/bash
echo "$@" > arguments
touch begun
trap 'exit 130' TERM
[[ $WAITS ]] && while :; do sleep 0.1; done
exit $STATUS
"""


@pytest.fixture
def job(tmp_path):
    """job(variables) -> the process of one-node.sbatch in `tmp_path`."""
    commands = {
        "squeue": SQUEUE,
        "scontrol": SCONTROL.format(script=SLURM / "one-node.sbatch"),
        "python": PYTHON,
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    started = []

    def start(**variables: str) -> subprocess.Popen:
        end = datetime.now() + timedelta(hours=2)
        known = {"SLURM_JOB_ID": "7", "JOB_STATE": "RUNNING", "SPARE_S": "900"}
        known |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        known |= {"JOB_END": end.isoformat(timespec="seconds")} | variables
        line = ["bash", str(SLURM / "one-node.sbatch"), "x.yaml", "--data", "D"]
        started.append(
            subprocess.Popen(line, cwd=tmp_path, env=os.environ | known, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("status", ["75", "130"])
def test_an_interrupted_sweep_queues_its_job_again(job, tmp_path, status):
    assert job(STATUS=status).wait(60) == -signal.SIGKILL
    assert (tmp_path / "requeued").exists()


@pytest.mark.parametrize("status", ["0", "1", "2"])
def test_a_sweep_that_has_ended_does_not(job, tmp_path, status):
    assert job(STATUS=status).wait(60) == int(status)
    assert not (tmp_path / "requeued").exists()


def test_a_cancelled_job_stays_cancelled(job, tmp_path):
    assert job(STATUS="130", JOB_STATE="COMPLETING").wait(60) == 130
    assert not (tmp_path / "requeued").exists()


def test_a_signal_to_the_job_reaches_the_sweep(job, tmp_path):
    process = job(WAITS="yes")
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == -signal.SIGKILL and (tmp_path / "requeued").exists()


def test_the_limit_is_the_jobs_less_what_is_spared(job, tmp_path):
    job(STATUS="0").wait(60)
    *given, option, limit = (tmp_path / "arguments").read_text().split()
    assert given == ["-m", "runners.sweep", "x.yaml", "--data", "D"] and option == "--set"
    name, _, hours = limit.partition("=")
    assert name == "limits.hours" and 1.5 < float(hours) <= 1.75
    job(STATUS="0", JOB_END="NONE").wait(60)
    assert (tmp_path / "arguments").read_text().split() == given
