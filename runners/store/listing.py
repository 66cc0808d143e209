"""What is in a folder and below it, without reading it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GONE = (FileNotFoundError, NotADirectoryError)


class Listed(NamedTuple):
    """What a listing says of a file; `version` is another one whenever the file was written."""

    bytes: int
    version: str


def walk(folder: Path, above: str) -> Iterator[tuple[str, Listed]]:
    """(key, what is said of it) of all files below the folder; nothing of what just goes away, and
    of folders in it that this user may not read, such as a disk's lost+found.

    Args:
        above: what a key has before the path below the folder.

    Raises:
        OSError: the disk cannot read a folder, or this user may not read the first one.
    """
    waiting = [(os.fspath(folder), above)]
    while waiting:
        path, below = waiting.pop()
        # a folder or a file may just be moved, into place or away
        hidden = GONE if path == os.fspath(folder) else (*GONE, PermissionError)
        with contextlib.suppress(*hidden), os.scandir(path) as entries:
            for entry in entries:
                name = below + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{name}/"))
                    continue
                with contextlib.suppress(*GONE):
                    if entry.is_file():
                        found = entry.stat(follow_symlinks=False)
                        yield name, Listed(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")
