"""The connection to MLflow: opened with a deadline and a word, then used in one thread.

MLflow's troubles never stop a training: they are printed once, and the next start catches up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from runners.errors import SweepError
from runners.redaction import mask
from runners.tracking import database
from runners.tracking.deadline import Late, Line, check_abandoned, is_abandoned

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
)
import mlflow
import sqlalchemy

T = TypeVar("T")
OPEN_S = 120.0  # to answer at all, a first database's long migration included
TASK_S = 60.0  # for one task, such as a trial's whole run
LOCKED_S = 40.0  # while another program has locked the database; at the beginning twice that
HURRY_S = 20.0  # for all that is left to write, after a signal while Ray was ending
QUIET_S = 20.0  # without another attempt after a failure: a dead server must not delay every epoch


class Connection:
    """MLflow at a URI. `client` is to be used in tasks alone, which `post` and `call` run.

    `troubled`: something could not be written since it was opened.
    """

    def __init__(self, uri: str):
        self.uri = database.resolve(uri)
        self.shown = mask(uri)
        self._waiting = f"waiting for MLflow at {self.shown}"
        self.client: Any = None
        self.troubled = False
        self.failures = 0  # how often; a tracker reads its runs again after each
        self._quiet_until = 0.0
        self._until = float("inf")  # when the waiting for anything ends
        self._line = Line(self._fail)
        self._saying = threading.Lock()

    def post(self, task: Callable[[], object]) -> None:
        """Run it after all before it, and do not wait; its failure is printed."""
        if not self._line.post(lambda: self._forgiving(task), TASK_S):
            self._fail(TimeoutError("it is slower than the training"))

    def call(self, task: Callable[[], T]) -> T | None:
        """Run it and wait, at most for its deadline or until a signal; None where it failed."""
        try:
            return self._line.call(
                lambda: self._forgiving(task), TASK_S, self._word, until=self._until
            )
        except Late as error:
            self._fail(error)
            return None

    def strictly(self, task: Callable[[], T]) -> T:
        """Run it and wait; for the beginning, before anything is launched.

        Raises:
            SweepError: it failed, or is late.
        """
        return self._strictly(task, OPEN_S, lambda: say(self._waiting))

    def try_again(self) -> None:
        """Do not wait until QUIET_S have passed since a failure."""
        if self._quiet_until != float("inf"):
            self._quiet_until = 0.0

    @contextlib.contextmanager
    def until_signal(self, hurried: bool = False) -> Iterator[None]:
        """At the end of a sweep: Ctrl-C or SIGTERM ends the waiting for MLflow, and nothing else.

        Args:
            hurried: a signal has just come, so that no more than HURRY_S are left.
        """
        if hurried:
            self._until = time.monotonic() + HURRY_S
        try:
            yield
        except KeyboardInterrupt:
            self.give_up()

    def give_up(self) -> None:
        """Drop what is not written yet."""
        if self._quiet_until != float("inf"):
            say("MLflow is not waited for any more; the next start of this sweep catches up")
        self._line.abandon()
        self._quiet_until, self.troubled = float("inf"), True

    def _forgiving(self, task: Callable[[], T]) -> T | None:
        if time.monotonic() < self._quiet_until:
            return None
        try:
            return _patiently(task, LOCKED_S)
        except Exception as error:
            # one that was abandoned has been reported as late
            if not is_abandoned():
                self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        with self._saying:
            first, self.troubled = not self.troubled, True
            self.failures += 1
            self._quiet_until = max(self._quiet_until, time.monotonic() + QUIET_S)
        if first:
            say(f"MLflow: {type(error).__name__}: {self._reason(error)[:200]}")
            say("MLflow: training goes on; the next start of this sweep catches up")

    def _word(self) -> None:
        say(f"{self._waiting}; Ctrl-C ends the waiting")

    def _reason(self, error: Exception) -> str:
        return mask(" ".join(str(error).split()), self.uri)

    def open_quietly(self) -> None:
        """Open it; what it waits for is said by whoever waits for this."""
        self._strictly(self._open, OPEN_S, lambda: None)

    def _strictly(self, task: Callable[[], T], seconds: float, word: Callable[[], None]) -> T:
        where = f"--tracking-uri {self.shown}"
        try:
            return self._line.call(lambda: _patiently(task, 2 * LOCKED_S, _locked), seconds, word)
        except Late:
            raise SweepError(
                f"{where}: MLflow has not answered for {seconds:.0f} s; look after its server, or"
                " name another place"
            ) from None
        except SweepError:
            raise
        except Exception as error:
            hint = ""
            if isinstance(error, ModuleNotFoundError):
                hint = f"; pip install '{error.name}[binary]'"
            raise SweepError(
                f"{where}: MLflow cannot open it: {self._reason(error)[:200]}{hint}"
            ) from None

    def _open(self) -> None:
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # it logs a traceback of each error that it raises as well
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        _leave_folders_alone()
        if path := database.sqlite_path(self.uri):
            database.create(path, _initialise)
            if moved := database.relocate(path):
                say(moved)
        elif not self.uri.startswith(("http:", "https:")) and "://" in self.uri:
            # MLflow would try for two minutes without a word
            engine = sqlalchemy.create_engine(self.uri)
            engine.connect().close()
            engine.dispose()
        self.client = _Client(mlflow.MlflowClient(self.uri))
        self.client.search_experiments(max_results=1)


def connect(uri: str) -> Connection:
    """Open MLflow at a URI; prints what it waits for.

    Raises:
        SweepError: it cannot be opened.
    """
    database.check(uri)
    connection = Connection(uri)
    connection.strictly(connection._open)
    return connection


def connect_checked(uri: str) -> Connection:
    """The same of a URI that `database.check` has passed, without a word."""
    connection = Connection(uri)
    connection.open_quietly()
    return connection


class _Client:
    """MLflow's client, whose calls end a task that nobody waits for any more."""

    def __init__(self, client: mlflow.MlflowClient):
        self._client = client

    def __getattr__(self, name: str) -> Any:
        check_abandoned()
        return getattr(self._client, name)


def _patiently(
    task: Callable[[], T], seconds: float, locked: Callable[[], None] = lambda: None
) -> T:
    """Run it again while another program has locked the database; `locked` is called once."""
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            return task()
        except Exception as error:
            if "database is locked" not in str(error) or time.monotonic() > deadline:
                raise
        check_abandoned()
        if not said:
            locked()
        said = True
        time.sleep(0.2)


def _locked() -> None:
    say("MLflow's database is locked by another program; waiting for it")


def _initialise(uri: str) -> None:
    mlflow.MlflowClient(uri).search_experiments(max_results=1)


def _leave_folders_alone() -> None:
    """MLflow makes the parent folder of a sqlite URI without decoding it; ours is there already."""
    from mlflow.store.db import utils

    if hasattr(utils, "_make_parent_dirs_if_sqlite"):
        utils._make_parent_dirs_if_sqlite = lambda uri: None


def say(line: str) -> None:
    """A line for the person at the console; the results are on the other stream."""
    print(line, file=sys.stderr, flush=True)
