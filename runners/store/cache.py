"""The folder of this user on this machine for what can be made again."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def folder() -> Path:
    """$XDG_CACHE_HOME/scconv-sweeps, else ~/.cache/scconv-sweeps."""
    # some containers give a user no home
    with contextlib.suppress(RuntimeError):
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scconv-sweeps"
    return Path(tempfile.gettempdir()) / f"scconv-sweeps-{os.getuid()}"
