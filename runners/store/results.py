"""The folder of a sweep's report, results/<sweep>/, and the small file in it that names its maker.

Two sweep files of one name, or two stores, would overwrite each other's report: the second one to
come gets a folder of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from runners.redaction import mask
from runners.store import identity
from runners.store.disk import Disk
from runners.store.origin import Origin
from runners.store.trials import Store

MARKER = ".made-by.json"


def choose(base: Path, label: str, path: str | Path, store: Store) -> Path:
    """Where the report of a sweep file's trials in this store goes, or is.

    Args:
        base: the folder of all reports.
        label: the name of the sweep's results.
        path: the sweep file.
    """
    origin, folder = _origin(path, store), base / label
    if _is_free(folder, origin):
        return folder
    other = hashlib.sha256(f"{origin.store} {origin.file}".encode()).hexdigest()[:6]
    return base / f"{label}-{other}"


def claim(base: Path, label: str, path: str | Path, store: Store) -> tuple[Path, str]:
    """The same folder, made and marked; and a line if it is not the one of the sweep's name.

    Raises:
        OSError: it cannot be written.
    """
    folder, origin = choose(base, label, path, store), _origin(path, store)
    folder.mkdir(parents=True, exist_ok=True)
    bucket = not isinstance(store.root, Path)
    storage = mask(store.root) if bucket else os.path.relpath(store.root, folder.resolve())
    marker = {
        "sweep": label,
        "file": origin.file,
        "store": origin.store,
        "storage": storage,
    }
    text = json.dumps(marker, indent=1) + "\n"
    with contextlib.suppress(OSError):
        if (folder / MARKER).read_text(encoding="utf-8") == text:
            text = ""
    if text:
        (folder / MARKER).write_text(text, encoding="utf-8")
    if folder == base / label:
        return folder, ""
    other = _read(base / label)
    whose = f"of {other.get('file')} and the store {other.get('storage')}"
    return folder, f"{base / label} is the report {whose}; this one is in {folder}"


def _origin(path: str | Path, store: Store) -> Origin:
    # nothing is written into a store that is only read for a report
    return Origin.of(path, store, identity.read(store.files) or "")


def _is_free(folder: Path, origin: Origin) -> bool:
    """Whether this sweep may write there: nobody has, or it has, or the maker is no more."""
    marker = _read(folder)
    if not marker:
        return True
    store, file = str(marker.get("store")), str(marker.get("file"))
    if store == origin.store:
        return origin.is_mine(store, file)
    return not _is_alive(folder, str(marker.get("storage")), store)


def _read(folder: Path) -> dict:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _is_alive(folder: Path, storage: str, store: str) -> bool:
    """Whether the other store is still there. A bucket is taken as there: asking may take
    minutes.
    """
    if "://" in storage:
        return True
    root = (folder / storage).resolve()
    return root.is_dir() and identity.read(Disk(root)) == store
