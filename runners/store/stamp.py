"""Whether a finished sweep's report and MLflow are still as its last start left them.

Then the next start has nothing to do but to print the table again, which takes a second instead of
ten. A stamp beside the report names all that the report and MLflow were made from and what was
made. Whatever cannot be compared, or differs, makes the start an ordinary one.

The figures have a stamp of their own: a report on what has not changed keeps them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from runners.plan import Sweep, reference
from runners.store.atomic import replace
from runners.store.disk import Disk
from runners.store.trials import Store

NAME = ".finished.json"
FIGURES = ".figures.json"
ROOT = Path(__file__).parents[2]
CODE = ("analysis", "runners", "scconv")
# their versions decide what a report looks like, and what MLflow has
PACKAGES = ("matplotlib", "mlflow", "numpy", "scipy")


def write(
    folder: Path, sweep: Sweep, store: Store, database: Path | None, files: list[Path], said: str
) -> None:
    """Stamp a report that is complete.

    Args:
        database: MLflow's sqlite file; None for a server, whose state cannot be compared.
        files: of the report.
        said: what the command printed.
    """
    if (inputs := _with_mlflow(sweep, store, database)) is not None:
        _write(folder / NAME, inputs, files, said=said)


def read(folder: Path, sweep: Sweep, store: Store, database: Path | None) -> str | None:
    """What the command printed when it finished; None where anything has changed since."""
    if (inputs := _with_mlflow(sweep, store, database)) is None:
        return None
    content = _read(folder / NAME, inputs)
    return content.get("said") if content else None


def keep_figures(folder: Path, inputs: dict[str, Any] | None, files: list[Path]) -> None:
    """Stamp figures that were made from these inputs; None: from what cannot be compared."""
    if inputs is not None:
        _write(folder / FIGURES, inputs, files)


def kept_figures(folder: Path, inputs: dict[str, Any] | None) -> list[Path] | None:
    """The figures that were made from the same inputs; None where anything has changed since."""
    content = None if inputs is None else _read(folder / FIGURES, inputs)
    return [folder / name for name in content["made"]] if content else None


def _write(file: Path, inputs: dict[str, Any], made: list[Path], **others: str) -> None:
    names = [path.name for path in made]
    content = {"made_from": inputs, "made": _digests(file.parent, names), **others}
    with contextlib.suppress(OSError):
        replace(file, json.dumps(content).encode())


def _read(file: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """What a stamp says; None where it is of other inputs, or something else was made since."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        same = content["made_from"] == inputs
        return (
            content if same and content["made"] == _digests(file.parent, content["made"]) else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _with_mlflow(sweep: Sweep, store: Store, database: Path | None) -> dict[str, Any] | None:
    """All that a report and MLflow are made from; None where it cannot be compared."""
    if database is None or (found := made_from(sweep, store)) is None:
        return None
    try:
        return found | {"mlflow": [str(database), *_state(database)]}
    except OSError:
        return None


def made_from(sweep: Sweep, store: Store) -> dict[str, Any] | None:
    """All that a report is made from; None where it cannot be compared: who reads it next says
    why.
    """
    with contextlib.suppress(OSError, ValueError):
        return _made_from(sweep, store)
    return None


def _made_from(sweep: Sweep, store: Store) -> dict[str, Any] | None:
    # a search's proposals are in a journal, and a bucket's files are requests
    if sweep.search or not isinstance(store.files, Disk):
        return None
    # by their state alone: what reads every record again takes as long as what it spares
    if sweep.growth:
        # whether there are more seeds follows from the records of those that there may be
        sweep = sweep.grown_to_all()
    names = ["record.json", "evaluation.json"] if sweep.evaluate else ["record.json"]
    records = [_state_or_none(store.address(t.id, name)) for name in names for t in sweep.trials]
    data = store.files.read("datasets.json") if store.files.exists("datasets.json") else b""
    printed = reference.file_of(sweep)
    return {
        "sweep": [sweep.digest, list(sweep.overrides), str(Path(sweep.path).resolve())],
        "data": [_digest(data), list(sweep.notes)],
        "reference": _digest(printed.read_bytes() if printed else b""),
        "store": [str(store.root), [t.id for t in sweep.trials], records],
        "code": _code(),
        "packages": [metadata.version(name) for name in PACKAGES],
    }


def _state(file: str | Path) -> list[int]:
    """What changes with every write, and with every file that takes its place."""
    state = os.stat(file)
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _state_or_none(file: str) -> list[int]:
    try:
        return _state(file)
    except FileNotFoundError:
        return []


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
