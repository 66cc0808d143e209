"""Run trials: plan them, train one, keep what it leaves behind, launch many."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent


def _refuse_strangers() -> None:
    """A folder of the user's that is called as a room of this product hides it from `python -m`.

    Raises:
        ImportError: there is one; as a line and status 2 where a command is being started.
    """
    for room in ("analysis", "scconv"):
        spec = importlib.util.find_spec(room)
        found = Path(spec.origin).parent if spec and spec.origin else None
        if found and found.resolve() != (HERE / room).resolve():
            line = (
                f"{found} hides the package of that name in {HERE}; start this from another "
                "directory, rename that folder, or use the command `sweeps`"
            )
            if sys.argv[0] == "-m":  # Python is just looking for the command's module
                print(line, file=sys.stderr)
                raise SystemExit(2)
            raise ImportError(line)


_refuse_strangers()
