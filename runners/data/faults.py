"""Why a file that should hold data does not, and the way out; from its first and last bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

MOST_NAMED = 10  # files that one message names
HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MARKUP = (b"<!doctype html", b"<html", b"<head", b"<body")


def reason(path: str | Path, error: Exception | str, what: str = "an image") -> str:
    """A phrase that begins with the file's name and says what is wrong with it.

    Args:
        error: what happened when it was read, for where its bytes do not explain it.
        what: as what it was to be read.
    """
    if found := _from_bytes(Path(path)):
        return f"{path} {found}"
    return f"{path} cannot be read as {what} ({said(error)}); remove or replace it"


def said(error: Exception | str) -> str:
    """What an error says, on one line; Pillow names the buffer in memory that it was given."""
    line = " ".join(str(error).split())
    return re.sub(r"cannot identify image file <.*>", "its content is of no known format", line)


def several(phrases: Sequence[str], of: int) -> str:
    """The phrases of `reason` for all files that are wrong, up to ten by name."""
    if len(phrases) == 1:
        return phrases[0]
    rest = len(phrases) - MOST_NAMED
    more = [f"and {rest} more"] if rest > 0 else []
    named = "; ".join([*phrases[:MOST_NAMED], *more])
    return f"{len(phrases)} of {of} files cannot be read: {named}"


def _from_bytes(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        if "annex" in os.readlink(path):
            return "is a git-annex link whose content is not here; run git annex get"
        return "is a link to a file that is not there; remove or replace it"
    # to open a pipe would wait for ever
    if path.exists() and not path.is_file():
        return "is a folder, a pipe or a device, and no file; remove it"
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
            tail = file.read()
    except FileNotFoundError:
        return "is not there any more"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not head:
        return "is empty (0 bytes), so it was not copied or downloaded whole; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data; run git lfs pull"
    if head[4:8] == b"ftyp":
        kind = "a HEIF picture" if head[8:12] in HEIF else "a video, or a picture of another format"
        return f"is {kind} by its content, whatever its name says; convert it to JPEG or PNG"
    text = head.lstrip().lower()
    if text.startswith(MARKUP):
        return "is a web page (HTML), not the data: a login or an error page; download it again"
    if text.startswith(b"<?xml") and b"<error>" in text:
        return "is a server's error message (XML), not the data; download it again"
    if head.startswith(b"PAR1") and tail != b"PAR1":
        return "is cut off: the end of the Parquet file is missing; fetch it again"
    if head.count(b"\0") == len(head) and not tail.strip(b"\0"):
        return "holds nothing but zeros, so it was not written whole; fetch it again"
    return ""
