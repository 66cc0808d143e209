"""Whether a finished sweep's report and MLflow are still as its last start left them.

Then the next start has nothing to do but to print the table again, which takes a second instead of
ten. A stamp beside the report names all that the report and MLflow were made from and what was
made. Whatever cannot be compared, or differs, makes the start an ordinary one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from runners.plan import Sweep
from runners.store.atomic import replace
from runners.store.disk import Disk
from runners.store.trials import Store

NAME = ".finished.json"
ROOT = Path(__file__).parents[2]
CODE = ("analysis", "runners", "scconv")
# their versions decide what a report looks like, and what MLflow has
PACKAGES = ("matplotlib", "mlflow", "scipy")


def write(
    folder: Path, sweep: Sweep, store: Store, database: Path | None, files: list[Path], said: str
) -> None:
    """Stamp a report that is complete.

    Args:
        database: MLflow's sqlite file; None for a server, whose state cannot be compared.
        files: of the report.
        said: what the command printed.
    """
    made_from = _made_from(sweep, store, database)
    if made_from is None:
        return
    names = [file.name for file in files]
    content = {"made_from": made_from, "made": _digests(folder, names), "said": said}
    with contextlib.suppress(OSError):
        replace(folder / NAME, json.dumps(content).encode())


def read(folder: Path, sweep: Sweep, store: Store, database: Path | None) -> str | None:
    """What the command printed when it finished; None where anything has changed since."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if content["made_from"] != _made_from(sweep, store, database):
            return None
        return content["said"] if content["made"] == _digests(folder, content["made"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_from(sweep: Sweep, store: Store, database: Path | None) -> dict[str, Any] | None:
    """All that a report and MLflow are made from; None where it cannot be compared."""
    # a search's proposals are in a journal, and a bucket's files are requests
    if sweep.search or database is None or not isinstance(store.files, Disk):
        return None
    # by their state alone: what reads every record again takes as long as what it spares
    records = [_state(Path(store.address(t.id, "record.json"))) for t in sweep.trials]
    for trial in sweep.trials if sweep.evaluate else ():
        records.append(_state(Path(store.address(trial.id, "evaluation.json"))))
    data = store.files.read("datasets.json") if store.files.exists("datasets.json") else b""
    return {
        "sweep": [sweep.digest, list(sweep.overrides), str(Path(sweep.path).resolve())],
        "data": [_digest(data), list(sweep.notes)],
        "store": [str(store.root), [t.id for t in sweep.trials], records],
        "mlflow": [str(database), *_state(database)],
        "code": _code(),
        "packages": [metadata.version(name) for name in PACKAGES],
    }


def _state(file: Path) -> list[int]:
    """What changes with every write, and with every file that takes its place."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _code() -> str:
    """Of the product's own files, by their sizes and times."""
    found = []
    for room in CODE:
        for file in sorted((ROOT / room).rglob("*")):
            if file.suffix in (".py", ".csv", ".html", ".css", ".js", ".mplstyle"):
                state = file.stat()
                found.append((str(file.relative_to(ROOT)), state.st_size, state.st_mtime_ns))
    return _digest(repr(found).encode())


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _digest((folder / name).read_bytes()) for name in names}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
