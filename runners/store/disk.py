"""A store in a folder, also one that several machines share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from runners.errors import Held
from runners.store.retry import patiently


class Disk:
    """A folder. Locks are the system's own, freed when their process ends, however it ends."""

    def __init__(self, root: Path, patience_s: float = 0):
        self.root, self.patience_s, self.local = root, patience_s, root

    def address(self, key: str) -> str:
        return str(self.root / key)

    def read(self, key: str) -> bytes:
        return patiently(
            (self.root / key).read_bytes, self.patience_s, f"{self.root / key} cannot be read"
        )

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        patiently(
            lambda: _replace(self.root / key, *parts),
            self.patience_s,
            f"{self.root / key} cannot be written",
        )

    def exists(self, key: str) -> bool:
        return (self.root / key).exists()

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def keep(self, key: str, name: str) -> None:
        """The same content under a second name as well."""
        path, second = self.root / key, self.root / name
        spare = second.with_name(f"{second.name}.{os.getpid()}.tmp")
        spare.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a disk without hard links keeps one
            os.link(path, spare)
            os.replace(spare, second)
        spare.unlink(missing_ok=True)  # replacing a link by another of the same file does nothing

    def tidy(self, folder: str) -> None:
        """Remove what a process that was killed while it wrote has left in the folder."""
        for litter in (self.root / folder).glob("*.tmp"):
            litter.unlink(missing_ok=True)

    def bytes_used(self) -> int:
        total = 0
        for path in self.root.rglob("*"):
            with contextlib.suppress(
                FileNotFoundError
            ):  # a file that is just being moved into place
                total += path.lstat().st_size if path.is_file() else 0
        return total

    @contextlib.contextmanager
    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        with patiently(
            lambda: self._lock_file(key), self.patience_s, f"{self.root / key} cannot be written"
        ) as file:
            deadline = time.monotonic() + wait_s
            while not _flock(file):
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise Held(file.read().strip())
                time.sleep(0.2)
            with contextlib.suppress(OSError):  # on a full disk it stays without a name
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), me.encode())
            yield

    def _lock_file(self, key: str) -> TextIO:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        return open(self.root / key, "a+")


def _flock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _replace(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that at every moment either the old or the new content is there, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
