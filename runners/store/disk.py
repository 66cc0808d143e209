"""A store in a folder, also one that several machines share."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from runners.errors import StoreUnreadable
from runners.store import atomic, flock, several
from runners.store.lease import Lease, Watch, living
from runners.store.lines import DiskLines
from runners.store.listing import Listed, walk
from runners.store.retry import Patience

T = TypeVar("T")
READERS = 4  # threads, for a folder that another machine serves
READS = 3  # attempts at a file that the disk cannot read


class Disk:
    """A folder. Locks are the system's own, freed when their process ends, however it ends.

    On a file system without flock() a lock is a file that its owner renews
    (runners/store/lease.py).
    """

    def __init__(self, root: Path, patience_s: float = 0):
        self.root, self.local = root, root
        self.patience = Patience(patience_s)
        self.watch = Watch()

    def address(self, key: str) -> str:
        """The file's path, for people."""
        return os.path.join(self.root, key)

    def read(self, key: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: there is none.
            StoreUnreadable: it is there, and the disk cannot read it.
        """
        failures = 0

        def task() -> bytes:
            nonlocal failures
            try:
                return (self.root / key).read_bytes()
            except OSError as error:
                failures += error.errno == errno.EIO
                if failures >= READS or (failures and not self.patience.seconds):
                    raise StoreUnreadable(
                        f"{self.address(key)} cannot be read: {error.strerror}; bring the file"
                        " back from a copy, or move it away"
                    ) from error
                raise

        return self._try(task, key, "read")

    def several(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """(key, content) of these files, of those that are there."""
        return several.read(self.read, keys, READERS)

    def listed(self, folder: str, wanted: int) -> contextlib.AbstractContextManager[None]:
        """Nothing: whether a file is there takes no time."""
        return contextlib.nullcontext()

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace a file as a whole, or make it."""
        self._try(lambda: atomic.replace(self.root / key, *parts), key, "written")

    def create(self, key: str, *parts: bytes | memoryview) -> bool:
        """Make a file; False where there is one already, which stays."""
        return self._try(lambda: atomic.create(self.root / key, *parts), key, "written")

    def exists(self, key: str) -> bool:
        def task() -> bool:
            try:
                (self.root / key).stat()
            except FileNotFoundError:
                return False
            return True

        return self._try(task, key, "read")

    def delete(self, key: str) -> None:
        """Remove a file, if there is one."""
        self._try(lambda: (self.root / key).unlink(missing_ok=True), key, "deleted")

    def keep(self, key: str, name: str) -> None:
        """The same content under a second name as well, where the disk has hard links."""
        path, second = self.root / key, self.root / name
        spare = second.with_name(f"{second.name}.{uuid.uuid4().hex[:8]}.tmp")
        with contextlib.suppress(OSError):
            os.link(path, spare)
            os.replace(spare, second)
        # replacing a link by another of the same file does nothing
        with contextlib.suppress(OSError):
            spare.unlink(missing_ok=True)

    def tidy(self, folder: str) -> None:
        """Remove what a process that was killed while it wrote has left in the folder."""
        for litter in (self.root / folder).glob("*.tmp"):
            litter.unlink(missing_ok=True)

    def listing(self, folder: str = "") -> dict[str, int]:
        """Key -> bytes, of all files below the folder."""
        return {key: file.bytes for key, file in self.versions(folder).items()}

    def versions(self, folder: str = "") -> dict[str, Listed]:
        """Key -> bytes and version, of all files below the folder."""
        above = f"{folder.rstrip('/')}/" if folder else ""
        return self._try(lambda: dict(walk(self.root / folder, above)), folder, "read")

    def lines(self, key: str) -> DiskLines:
        """A file of lines that is appended to."""
        return DiskLines(self.root / key, self.patience)

    @contextlib.contextmanager
    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[str], None] = lambda owner: None
    ) -> Iterator[None]:
        """Lock the file at `key` against other processes, waiting for up to `wait_s` seconds.

        Raises:
            Held: another process still has the lock; its message is what that process gave as `me`.
        """
        path = self.root / key
        with self._try(lambda: flock.open_lock(path), key, "written") as file:
            try:
                flock.take(file, wait_s)
            except OSError as error:
                if error.errno not in flock.NO_FLOCK:
                    raise
            else:
                # on a full disk the lock stays without its owner's name
                with contextlib.suppress(OSError):
                    flock.sign(file, me)
                yield
                return
        with Lease(flock.Generations(path), me, self.patience).held(wait_s, lost):
            yield

    def check_locks(self) -> None:
        """Nothing: what a file system lacks shows when a lock is taken."""

    def owner(self, key: str) -> str:
        """Which process has locked the file at `key`, without waiting; empty: none."""

        def task() -> str:
            try:
                return flock.owner(self.root / key)
            except OSError as error:
                if error.errno not in flock.NO_FLOCK:
                    raise
            entry = self.watch.look(flock.Generations(self.root / key))
            return (entry.owner or "another process") if entry.alive else ""

        return self._try(task, key, "read")

    def owners(self, keys: Iterable[str]) -> dict[str, str]:
        """Key -> which process has locked it, of those that a living process has."""
        paths = {key: self.root / key for key in keys}
        found, unsure = flock.owners(paths)
        look = self.watch.look
        return found | living(lambda key: look(flock.Generations(paths[key])), unsure)

    def _try(self, task: Callable[[], T], key: str, done: str) -> T:
        return self.patience.retry(task, f"{self.address(key)} cannot be {done}")
