"""`sweeps ui`: a server of this machine alone, which Ctrl-C ends without a traceback."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from tests.nodes import free_port
from tests.runners.test_sweep import wait_for


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture
def ui(uri, tmp_path):
    """(its process, its port, what it says), in a group of its own."""
    port, said = free_port(), tmp_path / "out.txt"
    line = [sys.executable, "-m", "runners", "ui", "--tracking-uri", uri, "--port", str(port)]
    with said.open("w") as out:
        process = subprocess.Popen(line, stdout=out, stderr=out, start_new_session=True)
    yield process, port, said
    for one in (*_started_by(process), process):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def _started_by(process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_a_signal(number, ui):
    process, port, said = ui
    wait_for(lambda: answers(port) or process.poll() is not None)
    assert process.poll() is None, said.read_text()
    started = _started_by(process)
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    assert process.wait(60) == 0
    assert started and not psutil.wait_procs(started, timeout=30)[1]
    assert "Traceback" not in said.read_text(), said.read_text()


def test_a_signal_before_it_serves_is_no_failure_of_the_server(ui):
    process, port, said = ui
    wait_for(lambda: "Ctrl-C ends it" in said.read_text() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0, said.read_text()
    assert "ended with status" not in said.read_text() and not answers(port)
