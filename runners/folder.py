"""`runners.data` by the name that it had before it was a folder, for scripts that still use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runners import data


def find(root: Path) -> tuple[Any, Any, str]:
    """The image files of a tree train/CLASS/, val/CLASS/: to train on, to test on, their digest.

    Raises:
        ValueError: there is no such tree, or its two halves have different classes.
    """
    found = data.load("imagenet", root)
    return found.train, found.test, found.digest
