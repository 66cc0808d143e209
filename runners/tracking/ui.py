"""Start MLflow's UI over the place that sweeps are shown in, for this machine alone.

python -m runners.tracking.ui
"""

from __future__ import annotations

import argparse
import os
import sys

from runners import command
from runners.errors import SweepError
from runners.redaction import mask
from runners.tracking import database

HOST = "127.0.0.1"


@command.exits
def main(argv: list[str] | None = None) -> int:
    """Becomes the server, until Ctrl-C; 0: one is running elsewhere; 2: nothing to show."""
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
    _become_server(database.resolve(args.tracking_uri), args.port)
    return command.DONE


def _become_server(uri: str, port: int) -> None:
    # in the environment, since a password on a command line is seen by all; without the queue for
    # jobs of language models, and with one worker, it takes a fifth of the memory
    os.environ.update(
        MLFLOW_BACKEND_STORE_URI=uri,
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    line = ["-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, *line])


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweeps ui", description="Start MLflow's UI over the sweeps, for this machine alone."
    )
    command.share(parser, "--tracking-uri")
    parser.add_argument("--port", type=int, default=5000, help="(default: 5000)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
