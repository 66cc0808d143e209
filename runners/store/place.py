"""Where a store keeps its files: in a folder or in a bucket of an S3 service.

Both replace a file as a whole: a reader sees the old content or the new, and a kill at any moment
leaves one of the two.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from runners.errors import StoreDenied
from runners.store.bucket import Bucket
from runners.store.disk import Disk
from runners.store.listing import Listed
from runners.store.retry import Patience


class Lines(Protocol):
    """A file of lines that several processes append to."""

    def new(self) -> list[bytes]: ...
    def append(self, *lines: bytes) -> None: ...


class Place(Protocol):
    """What both can do. A key is a path below the root, with slashes.

    `local` is a folder of this machine, for what can be made again.
    """

    local: Path
    patience: Patience

    def address(self, key: str) -> str: ...
    def read(self, key: str) -> bytes: ...
    def several(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]: ...
    def listed(self, folder: str, wanted: int) -> contextlib.AbstractContextManager[None]: ...
    def write(self, key: str, *parts: bytes | memoryview) -> None: ...
    def create(self, key: str, *parts: bytes | memoryview) -> bool: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def keep(self, key: str, name: str) -> None: ...
    def tidy(self, folder: str) -> None: ...
    def listing(self, folder: str = "") -> dict[str, int]: ...
    def versions(self, folder: str = "") -> dict[str, Listed]: ...
    def lines(self, key: str) -> Lines: ...
    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[str], None] = ...
    ) -> contextlib.AbstractContextManager[None]: ...
    def owner(self, key: str) -> str: ...
    def owners(self, keys: Iterable[str]) -> dict[str, str]: ...
    def check_locks(self) -> None: ...


def at(root: str | Path, patience_s: float = 0, *, proven: bool = False) -> Place:
    """The place at a path, or at s3://bucket/folder; outages are waited out for `patience_s`.

    Args:
        proven: it has been used by this sweep before: a bucket's refusal is an outage like others.

    Raises:
        SweepError: the address is not one that can be used.
        StoreError: it cannot be reached, or StoreDenied: it is a link that leads nowhere.
    """
    if re.match(r"\w+:/", str(root)):
        return Bucket(str(root), patience_s, proven=proven)
    return Disk(_folder(Path(root)), patience_s)


def _folder(path: Path) -> Path:
    """Where the path leads. A link to a disk that is not mounted must not begin an empty store."""
    try:
        real = path.resolve()
    except (RuntimeError, OSError):
        raise StoreDenied(
            f"{path}: a link that leads back to itself; name another folder"
        ) from None
    if path.is_symlink() and not real.exists():
        raise StoreDenied(
            f"{path} is a link to {real}, which is not there; mount its disk, or make that folder"
        )
    return real
