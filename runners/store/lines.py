"""Files of lines that several processes append to, each line as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from runners import system
from runners.store import atomic, flock
from runners.store.lease import Cell
from runners.store.retry import Patience


class DiskLines:
    """Lines of a file on disk.

    A last line without its end is one that a killed process was writing, or that a process is just
    writing. It is not read, and the next that appends cuts it off.
    """

    def __init__(self, path: Path, patience: Patience):
        self.path, self.patience = path, patience
        self.position = 0  # behind the last line that was read

    def new(self) -> list[bytes]:
        """The lines since the last call."""
        content = self.patience.retry(self._tail, f"{self.path} cannot be read")
        whole = content.rfind(b"\n") + 1
        self.position += whole
        return content[:whole].splitlines()

    def append(self, *lines: bytes) -> None:
        """Write lines at the end."""
        self.patience.retry(lambda: self._append(lines), f"{self.path} cannot be written")

    def _tail(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.position)
                return file.read()
        except FileNotFoundError:
            return b""

    def _append(self, lines: tuple[bytes, ...]) -> None:
        atomic.make_folder(self.path.parent)
        with open(self.path, "ab+", buffering=0) as file, _alone(file.fileno()):
            before = _end_of_last_line(file.fileno())
            os.truncate(file.fileno(), before)
            try:
                content = b"".join(line + b"\n" for line in lines)
                while content:
                    content = content[os.write(file.fileno(), content) :]
                os.fsync(file.fileno())
            except OSError:
                # a full disk has taken a part of it
                os.truncate(file.fileno(), before)
                raise


@contextlib.contextmanager
def _alone(file: int):
    """Keep other processes from appending. Without flock() the lock of a sweep's search does."""
    try:
        system.flock(file, wait=True)
    except OSError as error:
        if error.errno not in flock.NO_FLOCK:
            raise
    yield


def _end_of_last_line(file: int) -> int:
    size = os.fstat(file).st_size
    end, chunk = size, 1 << 16
    while end:
        start = max(0, end - chunk)
        if (found := os.pread(file, end - start, start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


class BucketLines:
    """Lines of an object, which is written anew with each line.

    Lines of other processes are seen at the first look, and before a line is appended.
    """

    def __init__(self, cell: Cell, patience: Patience):
        self.cell, self.patience = cell, patience
        self.content, self.version = b"", None
        self.loaded, self.position = False, 0

    def new(self) -> list[bytes]:
        """The lines since the last call."""
        if not self.loaded:
            self._load()
        content = self.content[self.position :]
        whole = content.rfind(b"\n") + 1
        self.position += whole
        return content[:whole].splitlines()

    def append(self, *lines: bytes) -> None:
        """Write lines at the end."""
        if not self.loaded:
            self._load()
        added = b"".join(line + b"\n" for line in lines)
        while True:
            whole = self.content.rfind(b"\n") + 1
            content = self.content[:whole] + added
            version = self.patience.retry(
                lambda content=content: self.cell.swap(self.version, content),
                f"{self.cell.name} cannot be written",
            )
            if version:
                self.content, self.version = content, version
                return
            self._load()
            # an answer that was lost on its way: the write itself had arrived
            if self.content[whole:].startswith(added):
                return

    def _load(self) -> None:
        found = self.patience.retry(self.cell.load, f"{self.cell.name} cannot be read")
        self.content, self.version = found or (b"", None)
        self.loaded = True
