"""The half of a bucket that reads: each file is a request, so that many are listed first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from runners.store import several
from runners.store.copies import Copies
from runners.store.listing import Listed
from runners.store.retry import Patience
from runners.store.s3 import Address, Objects

T = TypeVar("T")
READERS = 16  # threads: a request is waited for, not worked for
MANY = 200  # trials that a command asks for, from which on a listing of all is cheaper
PER_PAGE = 10  # so long as each page of the listing, of 1,000 files, spares as many requests


class BucketReading:
    """What is read of s3://bucket/folder."""

    where: Address
    objects: Objects
    patience: Patience
    # what was listed, and of which folder, while a command only looks
    _listed: dict[str, Listed] | None = None
    _below = ""

    def address(self, key: str) -> str:
        """The file's address, for people."""
        return f"s3://{self.where.root}/{key}"

    def read(self, key: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: there is none.
        """
        if self._found(key) is False:
            raise FileNotFoundError(key)
        return self._try(lambda: self.objects.get(key)[0], key, "read")

    def several(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """(key, content) of these files, of those that are there.

        What was listed and has not changed since this machine read it is not asked for again.
        """

        def one(key: str) -> bytes:
            if not (self._listed and key in self._listed):
                return self.read(key)
            if (copy := copies.get(key, self._listed[key].version)) is not None:
                return copy
            content, version = self._try(lambda: self.objects.get(key), key, "read")
            copies.put(key, version, content)
            return content

        copies = Copies(self.where.root)
        yield from several.read(one, keys, READERS, far=True)

    @contextlib.contextmanager
    def listed(self, folder: str, wanted: int) -> Iterator[None]:
        """For a command that only looks: ask once which files are in the folder, if it wants many.

        What others write there meanwhile is not seen.
        """
        before = self._listed, self._below
        if wanted > MANY:
            self._below = f"{folder}/"
            # of a store that has far more than is wanted, files are asked for one by one
            self._listed = self._list(folder, max(1, wanted // PER_PAGE))
        try:
            yield
        finally:
            if self._listed is not None:
                Copies(self.where.root).tidy((key, f.version) for key, f in self._listed.items())
            self._listed, self._below = before

    def _found(self, key: str) -> bool | None:
        """Whether a file is there, as it was listed; None: it was not."""
        if self._listed is None or not key.startswith(self._below):
            return None
        return key in self._listed

    def exists(self, key: str) -> bool:
        if (found := self._found(key)) is not None:
            return found
        return self._try(lambda: self.objects.exists(key), key, "read")

    def listing(self, folder: str = "") -> dict[str, int]:
        """Key -> bytes, of all files below the folder."""
        return {key: file.bytes for key, file in self.versions(folder).items()}

    def versions(self, folder: str = "") -> dict[str, Listed]:
        """Key -> bytes and version, of all files below the folder."""
        return self._list(folder) or {}

    def _list(self, folder: str, pages: int | None = None) -> dict[str, Listed] | None:
        return self._try(lambda: self.objects.listing(folder, pages), folder, "read")

    def _try(self, task: Callable[[], T], key: str, done: str) -> T:
        return self.patience.retry(task, f"{self.address(key)} cannot be {done}")
