"""The folder of this user on this machine for what can be made again, and files of it that remember
what took long to measure.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from runners import system

ROOT = Path(__file__).parents[2]


def folder() -> Path:
    """$XDG_CACHE_HOME/scconv-sweeps, else ~/.cache/scconv-sweeps."""
    return _folder(os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", ""))


def make(place: Path) -> None:
    """Make a folder of the cache, which only this user can read.

    Raises:
        OSError: it cannot be made, or is another user's.
    """
    folder().parent.mkdir(parents=True, exist_ok=True)
    for path in dict.fromkeys((folder(), place)):
        path.mkdir(mode=0o700, exist_ok=True)
        check(path)


def check(place: Path) -> None:
    """That a folder is this user's: in the folder of temporary files anybody could make it.

    Raises:
        OSError: it is another user's, a link (but the cache itself may be one), or not there.
    """
    if not hasattr(os, "getuid"):
        return
    owners = {place.lstat().st_uid, place.stat().st_uid}
    if owners != {os.getuid()} or (place.is_symlink() and place != folder()):
        raise PermissionError(f"{place} is not a folder of this user")


@functools.cache
def _folder(named: str, home: str) -> Path:
    # some containers give a user no home, or the root
    with contextlib.suppress(RuntimeError):
        if named or Path.home() != Path("/"):
            return Path(named or Path.home() / ".cache") / "scconv-sweeps"
    return Path(tempfile.gettempdir()) / f"scconv-sweeps-{system.user()}"


class Memory:
    """What was measured, by a key each, in a file of lines.

    Args:
        name: of the file.
        version: of all that the measures depend on and that is not in the keys, such as the code;
            the files of other versions are removed.

    A memory that cannot be read or written costs time alone.
    """

    def __init__(self, name: str, version: str):
        self.name, self.version = name, version

    def get(self, key: str) -> Any:
        """What is known under the key, a JSON value; None: nothing."""
        return _read(self._file).get(key)

    def put(self, key: str, value: Any) -> None:
        """Remember a JSON value."""
        self.put_all({key: value})

    def put_all(self, values: dict[str, Any]) -> None:
        """Remember several JSON values, by their keys."""
        if not values:
            return
        file = self._file
        _read(file).update(values)
        lines = "".join(f"{json.dumps(line)}\n" for line in values.items())
        with contextlib.suppress(OSError):
            if not file.exists():
                make(file.parent)
                for old in file.parent.glob(f"{self.name}-*.jsonl"):
                    old.unlink(missing_ok=True)
            # one write, so that the lines of several processes do not mix
            with open(file, "ab", buffering=0, opener=_private) as out:
                out.write(lines.encode())

    @functools.cached_property
    def _file(self) -> Path:
        return folder() / f"{self.name}-{self.version}.jsonl"


def _private(path: str, flags: int) -> int:
    """Open a file that only this user can read."""
    return os.open(path, flags, 0o600)


@functools.cache
def code(*places: str) -> str:
    """A digest of source files of this repository: of these, and of those in these folders."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted((ROOT / place).rglob("*.py")) or [ROOT / place]:
            digest.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _read(file: Path) -> dict[str, Any]:
    try:
        check(file.parent)
        content = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    found: dict[str, Any] = {}
    for line in content.splitlines():
        # a line that another process is just writing is left out
        with contextlib.suppress(ValueError, TypeError):
            key, value = json.loads(line)
            found[key] = value
    return found
