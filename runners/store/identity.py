"""The name of a store that stays, whatever path or host it is reached by.

MLflow's runs and the reports carry it. It is kept twice: without it, all of them would be made
again beside the old ones.
"""

from __future__ import annotations

import contextlib
import re
import sys
import uuid

from runners.errors import SweepError
from runners.store.place import Place

NAMES = ("identity", ".identity")


def read(files: Place) -> str | None:
    """The store's identity, or None where it has none yet."""
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            text = files.read(name).decode().strip()
            if re.fullmatch(r"[0-9a-f]{32}", text):
                return text
    return None


def get(files: Place) -> str:
    """The store's identity, made where there is none. A copy that is lost is restored."""
    found = read(files)
    if found is None:
        new = uuid.uuid4().hex
        # of two processes that are the first here, one makes it
        if not files.create(NAMES[0], new.encode()) and read(files) is None:
            files.write(NAMES[0], new.encode())  # it is there, and damaged
        found = read(files) or new
    for name in NAMES:
        if _is(files, name, found):
            continue
        if name == NAMES[0]:
            where = files.address(NAMES[0])
            print(f"{where} was lost or damaged; it is restored from its copy", file=sys.stderr)
        # a store that can only be read keeps the one that it has
        with contextlib.suppress(OSError, SweepError):
            files.write(name, found.encode())
    return found


def _is(files: Place, name: str, identity: str) -> bool:
    try:
        return files.read(name).strip() == identity.encode()
    except FileNotFoundError:
        return False
