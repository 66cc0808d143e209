"""Files that other packages ship, found without importing those: an import may take a second."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def find(package: str, place: str) -> Path | None:
    """The file at `place` inside an installed package; None: it is not there.

    Args:
        place: relative to the package's folder.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder, place)).is_file():
            return file
    return None
