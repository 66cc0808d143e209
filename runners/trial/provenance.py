"""What stands beside a number so that it can be believed: the code's commit, the process's memory."""

from __future__ import annotations

import contextlib
import functools
import json
import resource
import subprocess
import sys
from pathlib import Path


@functools.cache
def commit() -> dict[str, str]:
    """The commit of the code that runs, and whether it has uncommitted changes.

    Outside a checkout, what was written down when the container image was built (docker/Dockerfile); else "unknown".
    """

    def git(*args: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "--short=12", "HEAD"),
            "dirty": "yes" if git("status", "--porcelain", "-uno") else "no",
        }
    except (OSError, subprocess.SubprocessError):
        with contextlib.suppress(OSError, ValueError):
            return json.loads(Path(__file__).with_name("commit.json").read_text())
        return {"commit": "unknown", "dirty": "unknown"}


def reset_peak_memory() -> None:
    """Forget the process's peak: a worker trains one trial after the other. Linux alone can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak resident bytes of this process."""
    with contextlib.suppress(OSError):
        return next(
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
