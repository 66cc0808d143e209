"""A folder for what Ray Tune writes during one round; those of killed drivers are removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A new folder in the system's place for temporary files, removed at the end.

    Its name has the driver's process number, so that a later driver knows whether its owner lives.
    """
    _sweep_up(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"sweep-{os.getpid()}-") as path:
        yield path


def _sweep_up(place: Path) -> None:
    """Remove this user's folders whose driver is dead."""
    for path in place.glob("sweep-*-*"):
        name = re.fullmatch(r"sweep-(\d+)-[a-z0-9_]+", path.name)
        with contextlib.suppress(OSError):
            ours = path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink()
            if name and ours and not _alive(int(name[1])):
                shutil.rmtree(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's process has the number
    return True
