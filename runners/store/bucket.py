"""A store in a bucket of an S3 service."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property

from runners.errors import SweepError
from runners.store import cache
from runners.store.bucket_reading import BucketReading
from runners.store.lease import Entry, Lease, Watch, living
from runners.store.lines import BucketLines
from runners.store.retry import Patience
from runners.store.s3 import Address, NoBucket, ObjectCell, Objects, Refused, Unmet


class Bucket(BucketReading):
    """s3://bucket/folder; credentials and region as the AWS tools find them.

    Another service than Amazon's is named by `?endpoint_override=host:port&scheme=http`. Locks are
    made of conditional writes, which it must know.

    Args:
        proven: the bucket has been used by this sweep before: a refusal is an outage like others.
    """

    def __init__(self, uri: str, patience_s: float = 0, *, proven: bool = False):
        self.where = Address.parse(uri)
        self.root, self.local = self.where.root, cache.folder()
        self.patience, self.watch = Patience(patience_s), Watch()
        self.objects = Objects(self.where)
        self._look(proven)

    def _look(self, proven: bool) -> None:
        """Find what is wrong with the address before it is used."""
        wrong = f"--storage {self.where.uri}"

        def task() -> None:
            try:
                self.objects.look()
            except NoBucket:
                raise SweepError(
                    f"{wrong}: there is no bucket '{self.where.bucket}'; create it first"
                ) from None
            except Refused as error:
                if proven:
                    raise
                raise SweepError(
                    f"{wrong}: {error}; give credentials as for the AWS tools, with the right to"
                    " list, read, write and delete there"
                ) from None

        self.patience.retry(task, f"{wrong} cannot be reached")

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace a file as a whole, or make it."""
        data = b"".join(parts)
        self._try(lambda: self.objects.put(key, data), key, "written")

    def create(self, key: str, *parts: bytes | memoryview) -> bool:
        """Make a file; False where there is one already, which stays."""
        data = b"".join(parts)

        def task() -> bool:
            try:
                self.objects.put(key, data, IfNoneMatch="*")
            except Unmet:
                return False
            return True

        return self._try(task, key, "written")

    def delete(self, key: str) -> None:
        """Remove a file, if there is one."""
        self._try(lambda: self.objects.delete(key), key, "deleted")

    def keep(self, key: str, name: str) -> None:
        """The same content under a second name as well."""
        self._try(lambda: self.objects.copy(key, name), name, "written")

    def tidy(self, folder: str) -> None:
        """Nothing: a write that was cut off leaves no file."""

    def lines(self, key: str) -> BucketLines:
        """A file of lines that is appended to."""
        return BucketLines(self.cell(key), self.patience)

    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[str], None] = lambda owner: None
    ) -> contextlib.AbstractContextManager[None]:
        """Lock the file at `key` against other processes, waiting for up to `wait_s` seconds.

        Raises:
            Held: another process still has the lock; its message is what that process gave as `me`.
        """
        cell = ObjectCell(self._quick, key, self.address(key))
        return Lease(cell, me, self.patience).held(wait_s, lost)

    def owner(self, key: str) -> str:
        """Which process has locked the file at `key`, without waiting; empty: none.

        A dead one is known by looking again and again.
        """
        entry = self._entry(key)
        return (entry.owner or "another process") if entry.alive else ""

    def owners(self, keys: Iterable[str]) -> dict[str, str]:
        """Key -> which process has locked it, of those that a living process has.

        An owner lives if it renews its lock, which takes seconds to see.
        """
        return living(self._entry, keys)

    def check_locks(self) -> None:
        """See that the service heeds the conditions of a write.

        Raises:
            SweepError: it does not.
        """

        def task() -> None:
            if not self.objects.heeds_conditions(f"drivers/{uuid.uuid4().hex}.check"):
                raise SweepError(
                    f"--storage {self.where.uri}: this S3 service does not heed conditional writes"
                    " (If-None-Match, If-Match), which locks are made of; use a newer version of"
                    " it, another service, or a folder"
                )

        self._try(task, "drivers", "written")

    def cell(self, key: str) -> ObjectCell:
        """The file as a value with compare-and-swap."""
        return ObjectCell(self.objects, key, self.address(key))

    @cached_property
    def _quick(self) -> Objects:
        """A renewal of a lock that waits for long comes too late."""
        return Objects(self.where, quick=True)

    def _entry(self, key: str) -> Entry:
        return self._try(lambda: self.watch.look(self.cell(key)), key, "read")
