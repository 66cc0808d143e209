"""Files that other packages ship, found without importing those: an import may take a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def find(package: str, place: str) -> Path | None:
    """The file at `place` inside an installed package; None: it is not there.

    Args:
        place: relative to the package's folder.
    """
    return next((f for d in _folders(package) if (f := Path(d, place)).is_file()), None)


def _folders(package: str) -> Iterable[str]:
    try:
        spec = find_spec(package)
    except ValueError:  # it is loaded, and was made by hand
        return getattr(sys.modules[package], "__path__", ())
    return (spec.submodule_search_locations if spec else None) or ()
