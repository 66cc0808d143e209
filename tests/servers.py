"""Servers that tests start, stop and start again: MLflow's, and PostgreSQL where this machine has
it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from tests.nodes import free_port


class Server:
    """An MLflow server on the database `mlflow.db` of a folder."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        place = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        line = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *place,
            "--port",
            str(self.port),
            "-w",
            "1",
        ]
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "start_new_session": True,
        }
        self.process = subprocess.Popen(
            line,
            cwd=self.folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            **quiet,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.uri}/health", timeout=5),
            ):
                return
            time.sleep(0.2)
        raise AssertionError("the MLflow server did not start")

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Dripping:
    """A server that answers one byte at a time, so slowly that no answer is ever whole.

    `accepted` is set once a client waits for an answer.
    """

    def __init__(self, port: int = 0, every_s: float = 5.0):
        self.listener = _listener(port)
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.every_s, self.over, self.accepted = every_s, threading.Event(), threading.Event()

    def __enter__(self) -> Dripping:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.over.set()
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.over.is_set():
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(1)
            self.accepted.set()
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000):
                if self.over.wait(self.every_s):
                    return
                connection.sendall(bytes([byte]))


class Postgres:
    """A database server of its own, reached without a password from this machine alone."""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
        folder = self.folder
        self.uri = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if os.geteuid() == 0:  # it will not run as root
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres")
        self._run(
            "pg_ctl",
            "-D",
            f"{folder}/data",
            "-o",
            f"-p {self.port} -k {folder}",
            "-l",
            f"{folder}/log",
            "-w",
            "start",
        )

    @staticmethod
    def program(name: str) -> str | None:
        places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(places[-1]) if places else shutil.which(name)

    def _run(self, name: str, *arguments: str) -> None:
        line = [str(self.program(name)), *arguments]
        user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **user)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)


def _listener(port: int) -> socket.socket:
    """A listener at a port whose last owner may still be ending."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
