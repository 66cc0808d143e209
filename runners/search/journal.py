"""Optuna's journal beside the trials: one JSON object a line, which optuna-dashboard reads, too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from runners.errors import SweepError
from runners.store import Store
from runners.store.place import Lines


def storage(store: Store, key: str) -> JournalStorage:
    """The journal at `key`, for Optuna; one for all the studies in it."""
    if key not in store.books:
        store.books[key] = Journal(store.files.lines(key), store.files.address(key))
    return JournalStorage(store.books[key])


class Journal(BaseJournalBackend):
    """A journal of Optuna's operations.

    Raises:
        SweepError: a line cannot be read; names the file and the line.
        StoreError: the file cannot be read or written.
    """

    def __init__(self, lines: Lines, address: str):
        self.lines, self.address = lines, address
        self.logs: list[dict[str, Any]] = []
        self.unread: list[bytes] = []

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        self.unread += self.lines.new()
        while self.unread:
            self.logs.append(self._parsed(self.unread[0]))
            del self.unread[0]
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lines.append(*(json.dumps(log, separators=(",", ":")).encode() for log in logs))

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            log = json.loads(line)
            if isinstance(log, dict) and "op_code" in log:
                return log
        except ValueError:
            pass
        raise SweepError(
            f"{self.address}: line {len(self.logs) + 1} is damaged; move the file away, and the"
            " same command makes the same proposals again, with the results in the store"
        )
