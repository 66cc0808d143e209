"""MLflow, opened in the background: its import and a new database's tables take two seconds."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from runners.tracking import database

if TYPE_CHECKING:
    from runners.tracking.connection import Connection


class Opening:
    """A connection to MLflow at a URI, which `begin` opens. No process waits for it to end.

    Raises:
        SweepError: the sqlite file cannot be read and written, or is none.
    """

    def __init__(self, uri: str):
        database.check(uri)
        self.uri = uri
        self._future: Future[Connection] = Future()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Open it in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._open, daemon=True, name="opening mlflow")
            self._thread.start()

    def connection(self) -> Connection:
        """Wait for it.

        Raises:
            SweepError: it cannot be opened.
        """
        self.begin()
        return self._future.result()

    def _open(self) -> None:
        try:
            from runners.tracking.connection import connect_checked

            self._future.set_result(connect_checked(self.uri))
        except BaseException as error:  # for whoever waits
            self._future.set_exception(error)
