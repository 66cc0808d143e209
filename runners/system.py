"""What Unix alone has, in one place, with what stands in for it elsewhere.

Sweeps run on Linux and macOS; planning, training one trial and reporting need nothing of Unix. On
Windows a store's locks are leases, as on a disk without flock() (runners/store/lease.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import getpass
import os
import platform
import sys
from pathlib import Path
from typing import IO

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]


def flock(file: IO | int, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file against other processes; it is freed when this one ends.

    Raises:
        BlockingIOError: another process has locked it, and `wait` is False.
        OSError: the file system has no such locks, or this system has none (ENOSYS).
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


def sync_folder(path: Path) -> None:
    """Let the folder's entries survive a power cut, where a folder can be opened."""
    if fcntl is None:
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def peak_memory() -> int:
    """Peak resident bytes of this process since it began; 0 where that is not known."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# of glibc's mallopt(3): never give back the heap's end, no mapping of its own for a large block, no
# further heap for a new thread
MALLOC = {"M_TRIM_THRESHOLD": (-1, -1), "M_MMAP_MAX": (-4, 0), "M_ARENA_MAX": (-8, 1)}


def keep_memory() -> None:
    """Keep what this process frees from now on, where its allocator can be asked to.

    `give_back_memory` returns what is free by then. `MALLOC_ARENA_MAX=1` in the environment makes
    one heap of all threads' from the beginning; this can only keep new threads from having more.

    A training step frees all that it has allocated, and allocates it again. glibc returns large
    blocks at once, and the system fills each page with zeros before it gives it out again: a tenth
    to a fifth of a step's time on a CPU. The numbers are the same.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting in MALLOC.values():
            mallopt(*setting)


def give_back_memory() -> None:
    """Return to the system what this process has freed, where its allocator can be asked to.

    glibc keeps a heap for each thread, unless MALLOC_ARENA_MAX says otherwise, and a worker trains
    each trial in a new thread.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def cores() -> int:
    """The processor cores that this process may use; in a job of SLURM at most the node's part."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        usable = os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(usable, int(granted)) if granted.isdecimal() and int(granted) else usable


def host() -> str:
    """This machine's name."""
    return platform.node()


def user() -> str:
    """A name for this user that others here do not have."""
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
