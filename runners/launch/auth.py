"""Who may talk to Ray: a token for every run, in the environment alone.

Ray runs whatever a client sends. With a token it refuses every client that lacks it. A local sweep
gets a token of its own, which nobody else knows, and listens on loopback alone; a cluster has a
token that its nodes share, and listens on all interfaces. Ray reads these variables when it is
imported, so `use` comes before that.
"""

from __future__ import annotations

import functools
import os
import secrets
import sys
from pathlib import Path

from runners.errors import SweepError

GENERATE = "`ray get-auth-token --generate` makes one; give it to every node and to this process"


def use(address: str) -> None:
    """Set the environment for Ray on this machine, or for the cluster at `address`.

    A cluster that was started without a token is joined after a warning, if RAY_AUTH_MODE=disabled
    asks for it.

    Raises:
        SweepError: there is no token for the cluster.
    """
    if address == "local":
        # whatever the user has is for another cluster
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_own_token())
        # Ray then takes this machine for one that cannot be part of a cluster: it binds all of its
        # ports to loopback
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    elif os.environ.get("RAY_AUTH_MODE") == "disabled":
        print(
            f"--address {address}: RAY_AUTH_MODE is disabled, so every program that reaches this "
            f"cluster's ports can run code as you; a token prevents that: {GENERATE}",
            file=sys.stderr,
        )
    elif _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
    else:
        raise SweepError(
            f"--address {address}: a cluster needs a token, and RAY_AUTH_TOKEN, "
            f"RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token are not there; {GENERATE}. "
            "RAY_AUTH_MODE=disabled joins a cluster that has none"
        )


def mode() -> str:
    """How Ray checks who is there, in this process: "token", or not at all."""
    return os.environ.get("RAY_AUTH_MODE", "")


def warn_if_open(address: str, mode: str) -> None:
    """Warn of a cluster whose workers run in this mode, if that is one without a token.

    Such a cluster also lets those in who have one.
    """
    if mode != "token" and os.environ.get("RAY_AUTH_MODE") == "token":
        print(
            f"--address {address}: this cluster was started without a token, so every program that "
            f"reaches its ports can run code as its user; {GENERATE}",
            file=sys.stderr,
        )


def missing() -> dict[str, str]:
    """Variables for a process that has none of its own: a worker has its node's."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _own_token()}


@functools.cache
def _own_token() -> str:
    """One for each process: Ray keeps the first that it has read."""
    return secrets.token_hex(32)


def _has_token() -> bool:
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(given) or (Path.home() / ".ray" / "auth_token").is_file()
