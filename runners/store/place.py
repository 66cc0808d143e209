"""Where a store keeps its files: a folder, also one that several machines share, or a bucket of an S3 service.

Both replace a file as a whole, so that a reader sees the old content or the new and a kill at any moment leaves one of the two.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from runners.errors import Held, StoreError, SweepError

T = TypeVar("T")
AGAIN_S = 5.0  # between two attempts to reach a place that is full or away
LEASE_S = 20.0  # without a sign of life, and a lock in a bucket is taken over
SETTLE_S = 1.0  # for two that take it at once to see each other


class Files(Protocol):
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


def at(root: str | Path, patience_s: float = 0) -> Files:
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


def _patiently(task: Callable[[], T], patience_s: float, what: str) -> T:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return task()
        except (FileNotFoundError, Held):
            raise
        except OSError as error:
            reason = f"{what}: {error.strerror or ' '.join(str(error).split())[:200]}"
            if (
                isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError)
                or "ACCESS_DENIED" in reason
            ):
                raise SweepError(reason) from None  # no waiting helps
            if time.monotonic() >= deadline:
                raise StoreError(reason) from error
            with contextlib.suppress(OSError):  # where this goes may be what is full
                print(f"{reason}; trying again for {deadline - time.monotonic():.0f} s", flush=True)
        time.sleep(AGAIN_S)


class Disk:
    """A folder. Locks are the system's own, freed when their process ends, however it ends."""

    def __init__(self, root: Path, patience_s: float = 0):
        self.root, self.patience_s, self.local = root, patience_s, root

    def address(self, key: str) -> str:
        return str(self.root / key)

    def read(self, key: str) -> bytes:
        return _patiently(
            (self.root / key).read_bytes, self.patience_s, f"{self.root / key} cannot be read"
        )

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        _patiently(
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
        with _patiently(
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


class Bucket:
    """s3://bucket/folder, through pyarrow: credentials and region as the AWS tools find them, other services by `?endpoint_override=`.

    A bucket knows no locks. Here one is an object that its holder rewrites every few seconds; whoever sees it unchanged for LEASE_S takes
    it over. Two that do so at the same moment see each other after SETTLE_S. A holder whose network is away for longer finds, when it is
    back, that it has lost the lock: it is told so by `lost`. Until then both may train a trial, to the same end, since a trial's numbers
    follow from its config and its seed.
    """

    def __init__(self, uri: str, patience_s: float = 0):
        from pyarrow import fs

        self.uri, self.patience_s = uri, patience_s
        try:
            self.fs, path = fs.FileSystem.from_uri(uri)
        except (OSError, ValueError) as error:
            raise SweepError(f"--storage {uri}: {' '.join(str(error).split())[:300]}") from None
        self.root = path.rstrip("/")
        bucket = self.root.split("/")[0]
        found = _patiently(
            lambda: self.fs.get_file_info(bucket), patience_s, f"--storage {uri} cannot be reached"
        )
        if found.type == fs.FileType.NotFound:
            raise SweepError(
                f"--storage {uri}: there is no bucket '{bucket}' (or it may not be seen with these credentials); create it first"
            )
        self.local = _cache()

    def address(self, key: str) -> str:
        return f"s3://{self.root}/{key}"

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _try(self, task: Callable[[], T], key: str, what: str) -> T:
        return _patiently(task, self.patience_s, f"{self.address(key)} cannot be {what}")

    def read(self, key: str) -> bytes:
        return self._try(lambda: self._get(key), key, "read")

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        data = b"".join(parts)
        self._try(lambda: self._put(key, data), key, "written")

    def read_once(self, key: str) -> bytes:
        """Without patience, and without a word: for what is said while a place is away. Nothing where there is none."""
        try:
            return self._get(key)
        except FileNotFoundError:
            return b""

    def write_once(self, key: str, data: bytes) -> None:
        """Without patience, and without a word."""
        self._put(key, data)

    def _get(self, key: str) -> bytes:
        with self.fs.open_input_stream(self._path(key)) as stream:
            return stream.readall()

    def _put(self, key: str, data: bytes) -> None:
        def task() -> None:
            with self.fs.open_output_stream(
                self._path(key)
            ) as stream:  # the object is there once the stream is closed, however that comes
                stream.write(data)

        _writers().submit(
            task
        ).result()  # a thread of its own: no signal can close the stream before its time

    def exists(self, key: str) -> bool:
        return self._try(lambda: self.fs.get_file_info(self._path(key)).is_file, key, "read")

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._try(lambda: self.fs.delete_file(self._path(key)), key, "deleted")

    def keep(self, key: str, name: str) -> None:
        self._try(lambda: self.fs.copy_file(self._path(key), self._path(name)), name, "written")

    def tidy(self, folder: str) -> None:
        """A write that was cut off leaves nothing that could be seen."""

    def bytes_used(self) -> int:
        from pyarrow import fs

        selector = fs.FileSelector(self.root, recursive=True, allow_not_found=True)
        return self._try(
            lambda: sum(info.size or 0 for info in self.fs.get_file_info(selector)), "", "read"
        )

    @contextlib.contextmanager
    def lock(
        self, key: str, me: str, wait_s: float, lost: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        token, released = uuid.uuid4().hex, threading.Event()
        self._try(lambda: self._take(key, me, token, max(wait_s, 1.5 * LEASE_S)), key, "written")
        heart = threading.Thread(
            target=self._beat, args=(key, me, token, released, lost), daemon=True
        )
        heart.start()
        try:
            yield
        finally:
            released.set()
            heart.join(LEASE_S / 4)
            with contextlib.suppress(OSError):
                if self._holder(key).get("token") == token:
                    self.fs.delete_file(self._path(key))

    def _take(self, key: str, me: str, token: str, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        seen, since = self._holder(key), time.monotonic()
        while True:
            if not seen or time.monotonic() - since > LEASE_S:
                self._say(key, me, token, 0)
                time.sleep(SETTLE_S)
                if self._holder(key).get("token") == token:
                    return
            if time.monotonic() > deadline:
                raise Held(seen.get("holder", ""))
            time.sleep(0.5)
            if (now := self._holder(key)) != seen:
                seen, since = now, time.monotonic()

    def _beat(
        self, key: str, me: str, token: str, released: threading.Event, lost: Callable[[], None]
    ) -> None:
        beat, last = 0, time.monotonic()
        while not released.wait(LEASE_S / 5):
            beat += 1
            with contextlib.suppress(OSError):
                if self._holder(key).get("token") != token or time.monotonic() - last > LEASE_S:
                    lost()
                    return  # taken for dead
                self._say(key, me, token, beat)
                last = time.monotonic()

    def _say(self, key: str, me: str, token: str, beat: int) -> None:
        self._put(key, json.dumps({"holder": me, "token": token, "beat": beat}).encode())

    def _holder(self, key: str) -> dict[str, Any]:
        try:
            return json.loads(self._get(key))
        except (FileNotFoundError, ValueError):  # what cannot be read holds nothing
            return {}


@functools.cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, "bucket")


def _cache() -> Path:
    """Of this user, on this machine; some containers give a user no home."""
    with contextlib.suppress(RuntimeError):
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scconv-sweeps"
    return Path(tempfile.gettempdir()) / f"scconv-sweeps-{os.getuid()}"
