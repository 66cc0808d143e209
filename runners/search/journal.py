"""Optuna's journal beside the trials: on disk a file that grows, in a bucket one written anew."""

from __future__ import annotations

import json
import os
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from runners.errors import StoreError
from runners.store import Store
from runners.store.disk import Disk
from runners.store.place import Place


def storage(store: Store, key: str) -> JournalStorage:
    """The journal at `key`, for Optuna."""
    if isinstance(store.files, Disk):
        path = store.files.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_OnDisk(str(path)))
    if key not in store.books:  # one for all the studies in it
        store.books[key] = _Journal(store.files, key)
    return JournalStorage(store.books[key])


def mend(store: Store, key: str) -> None:
    """Cut off a last line that a crash left unfinished.

    Optuna would append to it, and never read the file again.
    """
    if not isinstance(store.files, Disk):
        return
    with open(store.files.root / key, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


class _OnDisk(JournalFileBackend):
    """Optuna's journal file; a line that a full disk took half of is taken back.

    A line behind half a one could never be read.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        before = os.path.getsize(self._file_path)
        try:
            super().append_logs(logs)
        except OSError as error:
            os.truncate(self._file_path, before)
            raise StoreError(
                f"{self._file_path} cannot be written: {error.strerror or error}"
            ) from error


class _Journal(BaseJournalBackend):
    """Optuna's journal in a bucket, where nothing can be appended to: it is written anew."""

    def __init__(self, files: Place, key: str):
        self.files, self.key = files, key
        self.lines = files.read(key).splitlines() if files.exists(key) else []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [*self.lines, *(json.dumps(log, separators=(",", ":")).encode() for log in logs)]
        self.files.write(self.key, b"\n".join(lines) + b"\n")
        self.lines = lines
