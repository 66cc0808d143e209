"""Ray, started before it is needed: it takes seconds, most of which it waits, so that other work is
done meanwhile.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from runners.launch import swallowed

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def started(meanwhile: Callable[[], object]) -> Iterator[None]:
    """Ray on this machine, for the first run inside; it ends with that run, or here.

    Args:
        meanwhile: called between Ray's import and its start, to begin other work in a thread. Not
            before the import: two imports at a time take as long as one after the other. Not at
            all where a folder of the user's has the name of one of ours.

    Raises:
        SweepError: it cannot be started.
    """
    from runners.launch import auth

    auth.use("local")  # before anything imports Ray
    with swallowed.raised_again():
        from runners.launch import cluster

    # else Ray's start changes the working directory for a while, of all threads
    if not cluster.hides(Path.cwd()):
        meanwhile()
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
