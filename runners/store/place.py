"""Where a store keeps its files: in a folder or in a bucket of an S3 service.

Both replace a file as a whole: a reader sees the old content or the new, and a kill at any moment
leaves one of the two.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from runners.errors import SweepError
from runners.store.bucket import Bucket
from runners.store.disk import Disk


class Place(Protocol):
    """What both can do. A key is a path below the root, with slashes; `local` is a folder of this machine for what can be made again."""

    local: Path

    def address(self, key: str) -> str: ...
    def read(self, key: str) -> bytes: ...
    def write(self, key: str, *parts: bytes | memoryview) -> None: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def keep(self, key: str, name: str) -> None: ...
    def tidy(self, folder: str) -> None: ...
    def bytes_used(self) -> int: ...
    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[], None] = ...
    ) -> contextlib.AbstractContextManager[None]: ...


def at(root: str | Path, patience_s: float = 0) -> Place:
    """The files at a path, or at s3://bucket/path; where they cannot be reached, it is tried again for `patience_s` seconds.

    Raises:
        SweepError: the address is not one that can be used.
        StoreError: it cannot be reached.
    """
    if not re.match(r"\w+:/", str(root)):
        return Disk(Path(root).resolve(), patience_s)
    if not re.fullmatch(r"s3://[^/?]+(/[^/?]+)*/?(\?.*)?", str(root)):
        raise SweepError(f"--storage {root}: a folder, or s3://bucket/folder")
    return Bucket(str(root), patience_s)
