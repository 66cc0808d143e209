"""Start MLflow's UI over the place that sweeps are shown in, for this machine alone.

python -m runners.tracking.ui
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys

from runners import command
from runners.errors import SweepError
from runners.redaction import mask
from runners.tracking import database

HOST = "127.0.0.1"
END_S = 10.0  # for what is being answered


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: a signal ended the server, or one runs elsewhere; 2: nothing to show, or it failed."""
    args = _arguments(argv)
    if args.tracking_uri.startswith("http"):
        print(f"the UI of this server is at {mask(args.tracking_uri)}")
        return command.DONE
    path = database.sqlite_path(args.tracking_uri)
    if path and not path.is_file():
        raise SweepError(
            f"{path} is not there: no sweep has been shown in it yet; run one first, or name "
            "another by --tracking-uri"
        )
    _serve(database.resolve(args.tracking_uri), args.port)
    return command.DONE


def _serve(uri: str, port: int) -> None:
    # in the environment, since a password on a command line is seen by all; without the queue for
    # jobs of language models, and with one worker, it takes a fifth of the memory
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    line = ["-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # nohup has it ignored
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    server = None
    try:
        print(f"MLflow at http://{HOST}:{port}; Ctrl-C ends it", flush=True)
        # in a session of its own, as a terminal's Ctrl-C would end it with a traceback
        server = subprocess.Popen([sys.executable, *line], env=environment, start_new_session=True)
        status = server.wait()
    except KeyboardInterrupt:
        if server:
            _end(server)
        return
    if status:
        raise SweepError(f"MLflow's server ended with status {status}; what it said is above")


def _end(server: subprocess.Popen) -> None:
    """Ask it to end; kill it and what it has started, where it does not or is asked twice."""
    with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        server.terminate()
        server.wait(END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps ui", description="Start MLflow's UI over the sweeps, for this machine alone."
    )
    command.share(parser, "--tracking-uri")
    parser.add_argument("--port", type=int, default=5000, help="(default: 5000)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
