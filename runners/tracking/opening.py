"""MLflow, opened in the background: its import and a new database's tables take two seconds."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING

from runners.errors import SweepError
from runners.redaction import mask
from runners.tracking import database
from runners.tracking.deadline import Late, Line

if TYPE_CHECKING:
    from runners.tracking.connection import Connection

OPEN_S = 240.0  # its import included; what takes longer than the connection's own limit hangs


class Opening:
    """A connection to MLflow at a URI, which `begin` opens. No process waits for it to end.

    Raises:
        SweepError: the sqlite file cannot be read and written, or is none.
    """

    def __init__(self, uri: str):
        database.check(uri)
        self.uri = uri
        self._line = Line()
        self._opened: Future[Connection] | None = None

    def begin(self) -> None:
        """Open it in the background, without a word: nobody waits for it yet."""
        if self._opened is None:
            self._opened = opened = Future()
            self._line.post(lambda: self._open(opened), OPEN_S)

    def connection(self) -> Connection:
        """Wait for it; prints what it waits for.

        Raises:
            SweepError: it cannot be opened.
        """
        self.begin()
        assert self._opened
        where = mask(self.uri)
        try:
            self._line.call(lambda: None, OPEN_S, lambda: _say(f"waiting for MLflow at {where}"))
        except Late:
            raise SweepError(
                f"--tracking-uri {where}: MLflow has not opened it for {OPEN_S:.0f} s; look after "
                "the disk or the server, or name another place"
            ) from None
        return self._opened.result()

    def _open(self, opened: Future[Connection]) -> None:
        try:
            from runners.tracking.connection import connect_checked

            opened.set_result(connect_checked(self.uri))
        except BaseException as error:  # for whoever waits
            opened.set_exception(error)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
