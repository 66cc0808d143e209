"""The sweep files that come with the product, found from any directory."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[2]  # a checkout, or where the packages are installed


def shipped(path: Path) -> Path:
    """The path; where nothing is there, the product's own file of that name in `sweeps/`."""
    own = PACKAGE / path
    return own if path.parent == Path("sweeps") and not path.exists() and own.is_file() else path
