"""Every image file is opened once, decoded and hashed, in parallel; what was good is remembered.

The training decodes a file when its turn comes, a test image only after the last epoch: a damaged
one must be known before. A file that has its size and its time of change still is not opened again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runners.data import faults

if TYPE_CHECKING:
    from PIL.Image import Image

MANY = 5000  # files whose opening takes long enough to be announced
PIECE = 20_000  # files after which what was found is written down
DRAFT = (32, 32)  # a JPEG is read to its end at an eighth of its size, in a third of the time


@dataclass(frozen=True)
class Opened:
    """The digest of each file's bytes, in the order asked for, and a phrase for each bad file."""

    digests: list[str]
    sizes: list[int]
    problems: list[str]


def open_all(paths: Sequence[str], cache: Path | None) -> Opened:
    """Open every file that was not opened before as it is now.

    Args:
        cache: the folder where good files are remembered, by path, size and time of change.
    """
    memory = _Memory(paths, cache)
    stats = [_stat(path) for path in paths]
    known = [memory.digest(path, stat) for path, stat in zip(paths, stats, strict=True)]
    new = [i for i, digest in enumerate(known) if not digest]
    if len(new) > MANY:
        print(f"opening {len(new):,} image files once, to find damaged ones", file=sys.stderr)
    problems: list[str] = []
    threads = min(32, (os.cpu_count() or 1) + 4)
    # Pillow warns of odd metadata and palettes in files that it reads
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(new), PIECE):
            piece = new[start : start + PIECE]
            good = []
            opened = pool.map(_open, [paths[i] for i in piece])
            for i, (digest, problem) in zip(piece, opened, strict=True):
                known[i] = digest
                if problem:
                    problems.append(problem)
                else:
                    good.append((paths[i], stats[i], digest))
            memory.add(good)
    return Opened(known, [size for size, _ in stats], problems)


def names_and_sizes(train: Sequence[str], test: Sequence[str]) -> tuple[str, str]:
    """(digest of both, digest of the training files alone): every name and size.

    To hash the bytes of 150 GB of images in every process would take longer than a screening.
    """
    root, whole = common_folder([*train, *test]), hashlib.sha256()
    digests = []
    for half in (train, test):
        for path in half:
            line = f"{os.path.relpath(path, root)} {_stat(path)[0]}\n"
            # a name from an old archive or camera need not be UTF-8
            whole.update(os.fsencode(line))
        digests.append(whole.hexdigest()[:16])
    return digests[1], digests[0]


def common_folder(paths: Sequence[str]) -> str:
    """The folder that all of them are in."""
    return os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""


def _stat(path: str) -> tuple[int, int]:
    """Size and time of change in ns; of a file that is not there, two that none has."""
    try:
        stat = os.stat(path)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _open(path: str) -> tuple[str, str]:
    """The digest of a file's bytes, and what is wrong with the image in it."""
    from PIL import Image

    content = b""
    if not os.path.isfile(path):
        return "", faults.reason(path, "no file")
    try:
        content = Path(path).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", DRAFT)
            check_depth(image)
            image.convert("RGB")
        problem = ""
    except Exception as error:  # a damaged file fails in many ways
        problem = faults.reason(path, error)
    return hashlib.sha256(content).hexdigest()[:16], problem


def check_depth(image: Image) -> None:
    """Refuse values that become white or black when they are read as bytes."""
    if image.mode == "F":
        raise ValueError("its pixels are floats, and bytes from 0 to 255 are read: convert them")
    if image.mode.startswith("I") and (high := int(np.max(image.getextrema()))) > 255:
        raise ValueError(
            f"its pixels go up to {high}, and all above 255 would be white: convert it to 8 bits"
        )


class _Memory:
    """The good files of one tree, a line each in a file of the cache; the last line of a path
    counts.
    """

    def __init__(self, paths: Sequence[str], cache: Path | None):
        self.root = common_folder(paths)
        self.known: dict[str, tuple[int, int, str]] = {}
        self.file: Path | None = None
        if cache is not None:
            name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
            self.file = cache / f"opened-{name}.jsonl"
            self._read(self.file)

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in lines:
            try:
                path, size, changed, digest = json.loads(line)
            except (ValueError, TypeError):  # a line that a crash cut off
                continue
            self.known[path] = size, changed, digest

    def digest(self, path: str, stat: tuple[int, int]) -> str:
        """Of a good file that is as it was; empty for every other."""
        size, changed, digest = self.known.get(os.path.relpath(path, self.root), (0, 0, ""))
        return digest if (size, changed) == stat else ""

    def add(self, good: list[tuple[str, tuple[int, int], str]]) -> None:
        if self.file is None or not good:
            return
        lines = [
            json.dumps([os.path.relpath(path, self.root), *stat, digest])
            for path, stat, digest in good
        ]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with open(self.file, "a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        except OSError:
            pass  # a full disk: they are opened again next time
