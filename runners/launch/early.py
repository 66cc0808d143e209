"""Ray, started before anything needs it: it takes seconds, and lets others work meanwhile."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def started() -> Iterator[None]:
    """Ray on this machine, for the first run inside; it ends with that run, or here.

    Raises:
        SweepError: it cannot be started.
    """
    from runners.launch import auth

    auth.use("local")  # before anything imports Ray
    from runners.launch import cluster

    cluster.connect("local")
    try:
        yield
    finally:
        if cluster.is_connected():
            # Ray's end takes seconds, and should not be cut off
            before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
            cluster.disconnect()
            for number, handler in before.items():
                signal.signal(number, handler)
