"""Locks on disk: the system's own, and another where a file system has none."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from runners import system
from runners.errors import Held
from runners.store import atomic

# what a file system without flock() answers: Lustre's default, some network and user-space ones
NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
POLL_S = 0.2


def open_lock(path: Path) -> TextIO:
    """The lock's file, which stays when the lock is released."""
    atomic.make_folder(path.parent)
    return open(path, "a+")


def take(file: TextIO, wait_s: float) -> None:
    """Lock an open file, waiting for up to `wait_s` seconds.

    Raises:
        Held: another process still has it; says which, where the file does.
        OSError: with one of NO_FLOCK.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            system.flock(file)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Held(_name(file)) from None
        time.sleep(POLL_S)


def sign(file: TextIO, me: str) -> None:
    """Write the owner's name into the lock's file."""
    os.truncate(file.fileno(), 0)
    os.write(file.fileno(), me.encode())


def owner(path: Path) -> str:
    """Who has locked the file, without waiting; empty: nobody.

    Raises:
        OSError: with one of NO_FLOCK.
    """
    try:
        file = open(path)  # noqa: SIM115 - in a with statement below
    except FileNotFoundError:
        return ""
    with file:
        try:
            # shared, so that two that only look do not see each other
            system.flock(file, shared=True)
        except BlockingIOError:
            return _name(file)
    return ""


def owners(paths: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    """Key -> who has locked its file, of those that are locked; and the keys without flock()."""
    found, without = {}, []
    for key, path in paths.items():
        try:
            if who := owner(path):
                found[key] = who
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
            without.append(key)
    return found, without


def _name(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"


class Generations:
    """A value on disk with compare-and-swap: each version is a file, `path.1`, `path.2`, ...

    A version is made by link(), which fails where the file exists: of two writers one wins. The
    highest is the value. It is never removed, so that no version comes twice.
    """

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)

    def load(self) -> tuple[bytes, str] | None:
        """The value and its version; None where there is none."""
        while version := max(self._versions(), default=0):
            try:
                return self._file(version).read_bytes(), str(version)
            except FileNotFoundError:  # replaced meanwhile
                continue
        return None

    def swap(self, version: str | None, value: bytes) -> str | None:
        """Replace the value of this version; its new version, or None: another was first."""
        new = int(version or 0) + 1
        if not atomic.create(self._file(new), value):
            return None
        versions = self._versions()
        # one that was slow may have made a version that others had left behind
        if max(versions) != new:
            self._file(new).unlink(missing_ok=True)
            return None
        for old in versions:
            if old < new:
                self._file(old).unlink(missing_ok=True)
        return str(new)

    def _file(self, version: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{version}")

    def _versions(self) -> list[int]:
        try:
            names = os.listdir(self.path.parent)
        except FileNotFoundError:
            return []
        pattern = re.compile(re.escape(self.path.name) + r"\.(\d+)")
        return [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
