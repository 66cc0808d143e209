"""Folders of this process in /tmp; what a killed process left there, the next start removes.

A folder is in use as long as a process holds the lock on the file OWNED in it: the kernel releases
that lock when its process dies, however it dies. Only folders of this user that have such a file
are ever removed; nothing else in /tmp is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runners import system

PREFIX = "sweep-"
OWNED = "in-use-by-a-sweep"
# not $TMPDIR: on a cluster that may be a shared disk, which has no locks or no sockets, and it may
# be too long for the path of a socket (107 bytes)
ROOT = Path("/tmp")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new folder that this user alone can read; it is gone afterwards."""
    remove_abandoned()
    root = ROOT if os.access(ROOT, os.W_OK) else Path(tempfile.gettempdir())
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    with contextlib.ExitStack() as stack:
        # what still writes here is a process that is just ending
        stack.callback(shutil.rmtree, made, ignore_errors=True)
        # the file gets its name when it is locked: until then nobody takes the folder for abandoned
        file = stack.enter_context(open(made / f"{OWNED}.new", "w"))
        with contextlib.suppress(OSError):  # without a lock the folder is never removed by others
            system.flock(file)
            os.rename(made / f"{OWNED}.new", made / OWNED)
        yield made


def remove_abandoned() -> None:
    """Remove the folders that killed processes of this user left."""
    for path in ROOT.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    """Raises OSError: it is not ours, or in use."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return
    with open(path / OWNED, "r+") as file:
        system.flock(file)
        for entry in path.iterdir():
            if entry.name == OWNED:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        # the mark goes last: where something could not be removed, the next start tries again
        (path / OWNED).unlink()
        path.rmdir()
