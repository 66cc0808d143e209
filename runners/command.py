"""What the three commands share."""

from __future__ import annotations

from runners.errors import SweepError
from runners.plan import Sweep
from runners.store import Store


def settled(sweep: Sweep, store: Store) -> Sweep:
    """The sweep with what its search found.

    Raises:
        SweepError: its search has not ended.
    """
    if sweep.search is None:
        return sweep
    from runners.search import (
        searching as search,  # which needs Optuna; a sweep without a search does not
    )

    sweep = search.conclude(sweep, store)
    if not sweep.settled:
        raise SweepError(
            f"{sweep.path}: its search has not ended, and says what is compared; run python -m runners.sweep {sweep.path} first"
        )
    return sweep
