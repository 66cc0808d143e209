"""Servers that tests start, stop and start again: MLflow's, and PostgreSQL where this machine has it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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
