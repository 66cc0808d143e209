"""`sweeps ui`: a server of this machine alone, which Ctrl-C ends without a traceback."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.nodes import free_port
from tests.runners.test_sweep import wait_for


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_a_signal(number, uri, tmp_path):
    port, said = free_port(), tmp_path / "out.txt"
    line = [sys.executable, "-m", "runners", "ui", "--tracking-uri", uri, "--port", str(port)]
    with said.open("w") as out:
        process = subprocess.Popen(line, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(lambda: answers(port) or process.poll() is not None)
        os.killpg(process.pid, number)  # as a terminal does: to the whole group
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert "Traceback" not in said.read_text(), said.read_text()
    assert not answers(port)
