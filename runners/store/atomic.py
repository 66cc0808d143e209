"""Files on disk that are written as a whole: a reader sees all of one or nothing of it."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from runners import system

NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
ATTEMPTS = 3  # at a temporary file that another process tidied away


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        NotADirectoryError: a file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def replace(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that at every moment the old or the new content is there.

    That holds after a power cut, too.
    """
    _move_into_place(path, parts, os.replace)


def create(path: Path, *parts: bytes | memoryview) -> bool:
    """Write a file where there is none; False where there is one, which stays as it is."""
    try:
        if not path.exists():
            _move_into_place(path, parts, _link)
            return True
    except FileExistsError:
        pass
    return False


def _move_into_place(
    path: Path, parts: tuple[bytes | memoryview, ...], move: Callable[[Path, Path], None]
) -> None:
    for attempt in range(ATTEMPTS):
        temporary = _written_aside(path, parts)
        try:
            move(temporary, path)
            break
        # who locks a trial tidies its folder, where a driver may just be writing
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise OSError(errno.ESTALE, "its folder is being removed", str(path)) from None
        finally:
            temporary.unlink(missing_ok=True)
    system.sync_folder(path.parent)


def _link(source: Path, path: Path) -> None:
    """Give the file this name as well.

    Raises:
        FileExistsError: another file has it.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        # without hard links a reader may see the file before its content
        with open(path, "xb") as new:
            new.write(source.read_bytes())
            new.flush()
            os.fsync(new.fileno())


def _written_aside(path: Path, parts: tuple[bytes | memoryview, ...]) -> Path:
    """The content on disk, in a temporary file of this process beside the path."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
