"""MLflow's places: what a URI names, the sqlite file and the folder of artifacts beside it.

Needs no mlflow, so that `--plan` can read a database at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runners.errors import SweepError
from runners.redaction import mask

DEFAULT_URI = "sqlite:///mlflow.db"
SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"  # the folder beside a database
MAGIC = b"SQLite format 3\0"
LOCK_S = 20.0  # what sqlite waits for another writer
LOOK_S = 1.0  # what it waits where a database is only looked at


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite database, absolute; None for another kind of URI.

    A path in a URI is percent-encoded, but people paste them as they are: where the folder of the
    literal path exists, that one is meant.
    """
    if not uri.startswith(SQLITE):
        return None
    written = _split(uri)[0]
    if written.startswith("~/"):
        written = os.path.expanduser(written)
    literal = Path(written)
    return (literal if literal.parent.is_dir() else Path(unquote(written))).resolve()


def _split(uri: str) -> tuple[str, str]:
    """A sqlite URI's path and its query. A "?" without names and values behind it is the path's."""
    found = re.fullmatch(
        r"(.*?)(\?\w+=[^/&=?]*(?:&\w+=[^/&=?]*)*)?", uri.removeprefix(SQLITE), re.S
    )
    assert found
    return found[1], found[2] or ""


def sqlite_uri(path: Path) -> str:
    """A database's URI as this machine's SQLAlchemy reads it back.

    Raises:
        SweepError: it cannot express the path.
    """
    from sqlalchemy.engine import URL, make_url

    uri = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    # before 2.1 it knew no escapes: a "?" in a path began the query
    if make_url(uri).database != str(path):
        raise SweepError(f"{path}: this SQLAlchemy cannot open such a path; use 2.1 or newer")
    return uri


def resolve(uri: str) -> str:
    """The URI for MLflow: of a sqlite file absolute and percent-encoded; any other as it is."""
    path = sqlite_path(uri)
    return sqlite_uri(path) + _split(uri)[1] if path else uri


def artifacts(uri: str, experiment: str) -> str | None:
    """Where an experiment's artifacts go: beside a local database; None: a server knows its own
    place.
    """
    if uri.startswith(("http:", "https:")) or "://" not in uri:
        return None
    path = sqlite_path(uri)
    folder = path.parent if path else Path.cwd()
    return (folder / ARTIFACTS / experiment).as_uri()


def local_folder(artifact_uri: str) -> Path | None:
    """The folder of a file: URI; None for a server's or a bucket's."""
    parts = urlsplit(artifact_uri)
    return Path(unquote(parts.path)) if parts.scheme in ("file", "") and parts.path else None


def check(uri: str) -> None:
    """Find at once what MLflow would try again for minutes without a word.

    Raises:
        SweepError: the sqlite file cannot be read and written, or is none.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    where = f"--tracking-uri {uri}"
    way = "name another by --tracking-uri, or move it away: MLflow is made again from the store"
    try:
        if path.is_dir():
            raise SweepError(f"{where}: {path} must be a file, and is a folder; {way}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with open(path, "r+b") as file:
                head = file.read(len(MAGIC))
            if head and head != MAGIC:
                raise SweepError(f"{where}: {path} is not a sqlite database; {way}")
        elif not os.access(path.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SweepError(f"{where}: {path} cannot be read and written: {reason}; {way}") from None
    _check_content(path, f"{where}: {path}", way)


def _check_content(path: Path, where: str, way: str) -> None:
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path, timeout=LOOK_S)) as database:
        try:
            names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            if names and "experiments" not in names:
                raise SweepError(f"{where} is another program's database; {way}")
        except sqlite3.OperationalError as error:
            # a lock is waited for elsewhere, with a word
            if "locked" not in str(error):
                raise SweepError(f"{where} cannot be read: {error}; {way}") from None
        except sqlite3.DatabaseError as error:
            raise SweepError(f"{where} is damaged: {error}; {way}") from None


def create(path: Path, initialise: Callable[[str], object]) -> None:
    """Make a new database aside and move it into place, if there is none or an empty file.

    A kill in MLflow's long first migration leaves a database that never opens. Two processes may
    do so at once: the first one's is used.

    Args:
        initialise: makes MLflow's tables at a URI.
    """
    for litter in path.parent.glob(f".{path.name}.*.new*"):
        if not _alive(litter.name.removeprefix(f".{path.name}.").split(".")[0]):
            litter.unlink(missing_ok=True)
    if path.exists():
        if path.stat().st_size:
            return
        path.unlink()
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)
    # the migrations log each of their steps
    logging.disable(logging.WARNING)
    try:
        initialise(sqlite_uri(aside))
    finally:
        logging.disable(logging.NOTSET)
    with contextlib.suppress(FileExistsError):  # another process was first
        os.link(aside, path)
    aside.unlink()


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def relocate(path: Path) -> str:
    """After a project has moved: let its database name the artifacts beside it; returns a line, or
    nothing.

    MLflow keeps absolute places, and would write into the old folder again. Only experiments that
    a sweep made are changed. A run whose artifacts did not come along is marked as incomplete, so
    that they are made again from the store.
    """
    new = (path.parent / ARTIFACTS).as_uri()
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_S)) as database, database:
        rows = database.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE experiment_id IN"
            " (SELECT experiment_id FROM experiment_tags WHERE key = 'sweep')"
        ).fetchall()
        moved = {e: old for e, place in rows if (old := _artifact_root(place or "")) and old != new}
        # the same folder by another path, such as a bind mount, is no move
        moved = {e: old for e, old in moved.items() if not _same(old, new)}
        for experiment, old in moved.items():
            _move(database, experiment, old, new)
    if not moved:
        return ""
    olds = ", ".join(sorted({str(local_folder(old)) for old in moved.values()}))
    return (
        f"{path} has moved: its artifacts were in {olds} and are now in {path.parent / ARTIFACTS}"
    )


def _artifact_root(place: str) -> str:
    """The URI up to and with "mlartifacts"; empty for any other place."""
    found = re.fullmatch(rf"(file://.*?/{ARTIFACTS})/.*", place)
    return found[1] if found else ""


def _same(old: str, new: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(str(local_folder(old)), str(local_folder(new)))
    return False


def _move(database: sqlite3.Connection, experiment: int, old: str, new: str) -> None:
    database.execute(
        "UPDATE experiments SET artifact_location = ? || substr(artifact_location, ?)"
        " WHERE experiment_id = ?",
        (new, len(old) + 1, experiment),
    )
    database.execute(
        "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
        " WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
        (new, len(old) + 1, experiment, len(old) + 1, old + "/"),
    )
    runs = database.execute(
        "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?", (experiment,)
    ).fetchall()
    for run, place in runs:
        folder = local_folder(place or "")
        if folder and not folder.is_dir():
            database.execute("DELETE FROM tags WHERE key = 'complete' AND run_uuid = ?", (run,))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that nothing is written to, not even a journal beside it."""
    uri = f"{path.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=LOOK_S)) as database:
        yield database


def finished_trials(uri: str, sweep: str) -> set[str]:
    """The ids of a sweep's trials that a local database shows as finished; of any store.

    Empty where it cannot be read, or is a server's: this is for a warning alone.
    """
    path = sqlite_path(uri)
    if path is None or not path.is_file():
        return set()
    query = (
        "SELECT DISTINCT trial.value FROM runs"
        " JOIN tags trial ON trial.run_uuid = runs.run_uuid AND trial.key = 'trial'"
        " JOIN tags sweep ON sweep.run_uuid = runs.run_uuid AND sweep.key = 'sweep'"
        " WHERE runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active' AND sweep.value = ?"
    )
    with contextlib.suppress(sqlite3.Error, OSError), reading(path) as database:
        return {row[0] for row in database.execute(query, (sweep,))}
    return set()


def shown(uri: str) -> str:
    """The URI for people: without its secrets."""
    return mask(uri)
