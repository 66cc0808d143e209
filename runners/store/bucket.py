"""A store in a bucket of an S3 service."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from runners.errors import Held, SweepError
from runners.store.retry import patiently

T = TypeVar("T")
LEASE_S = 20.0  # without a sign of life, and a lock in a bucket is taken over
SETTLE_S = 1.0  # for two that take it at once to see each other


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
        found = patiently(
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
        return patiently(task, self.patience_s, f"{self.address(key)} cannot be {what}")

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
