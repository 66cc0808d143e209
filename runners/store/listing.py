"""What is in a folder and below it, without reading it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Listed(NamedTuple):
    """What a listing says of a file; `version` is another one whenever the file was written."""

    bytes: int
    version: str


def walk(folder: Path) -> Iterator[tuple[str, Listed]]:
    """(path below the folder, what is said of it) of all files; nothing of what just goes away."""
    waiting = [(os.fspath(folder), "")]
    while waiting:
        path, below = waiting.pop()
        # a folder or a file may just be moved, into place or away
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                name = below + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{name}/"))
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_file():
                        found = entry.stat(follow_symlinks=False)
                        yield name, Listed(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")
