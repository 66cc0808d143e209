"""What this machine has read of a bucket: each object's content in a file, by its key and version.

A copy begins with the SHA-256 of its content, so that one that was damaged is read again from the
bucket. Only this user can read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterable

from runners.store import cache

DIGEST = 32  # bytes of SHA-256 at the start of a file


class Copies:
    """Those of the place `root` in a bucket. One that cannot be kept is read from the bucket."""

    def __init__(self, root: str):
        place = hashlib.sha256(root.encode()).hexdigest()[:16]
        self.folder = cache.folder() / f"objects-{place}"

    def get(self, key: str, version: str) -> bytes | None:
        """The content of this version; None where there is no sound copy."""
        with contextlib.suppress(OSError):
            cache.check(self.folder)
            found = (self.folder / _name(key, version)).read_bytes()
            if hashlib.sha256(found[DIGEST:]).digest() == found[:DIGEST]:
                return found[DIGEST:]
        return None

    def put(self, key: str, version: str, content: bytes) -> None:
        """Keep the content of this version."""
        with contextlib.suppress(OSError):
            cache.make(self.folder)
            path = self.folder / _name(key, version)
            # it need not survive a power cut: a part of it is no sound copy
            temporary = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
            with open(temporary, "xb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)

    def tidy(self, there: Iterable[tuple[str, str]]) -> None:
        """Remove the copies of all but these (key, version)."""
        wanted = {_name(*found) for found in there}
        with contextlib.suppress(OSError):
            cache.check(self.folder)
            for file in self.folder.iterdir():
                if file.name not in wanted:
                    file.unlink(missing_ok=True)


def _name(key: str, version: str) -> str:
    return hashlib.sha256(f"{key} {version}".encode()).hexdigest()[:32]
