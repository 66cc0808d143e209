"""Start MLflow's UI over the place that sweeps are shown in, for this machine alone.

python -m runners.tracking.ui
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from runners import command
from runners.errors import SweepError
from runners.redaction import mask
from runners.tracking import database

HOST = "127.0.0.1"


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: Ctrl-C ended the server, or one is running elsewhere; 2: nothing to show."""
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
    print(f"MLflow at http://{HOST}:{args.port}; Ctrl-C ends it", flush=True)
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
    ends = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    for number in ends:
        signal.signal(number, signal.default_int_handler)
    # in a session of its own, as a terminal's Ctrl-C would end it with a traceback
    server = subprocess.Popen([sys.executable, *line], env=environment, start_new_session=True)
    try:
        status = server.wait()
    except KeyboardInterrupt:
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        server.terminate()
        status = server.wait()
    if status:
        raise SweepError(f"MLflow's server ended with status {status}; what it said is above")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps ui", description="Start MLflow's UI over the sweeps, for this machine alone."
    )
    command.share(parser, "--tracking-uri")
    parser.add_argument("--port", type=int, default=5000, help="(default: 5000)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
