"""Finished trials that MLflow shows and the store lacks: is the store the one that is meant?

A store on a disk that is not mounted looks like a new one, and everything would be trained again.
"""

from __future__ import annotations

import sys

from runners.plan import Sweep
from runners.redaction import mask
from runners.store import Store


def warn(sweep: Sweep, store: Store, shown: set[str], where: str) -> None:
    """Print `warning`'s line, if there is one."""
    if line := warning(sweep, store, shown, where):
        print(line, file=sys.stderr)


def warning(sweep: Sweep, store: Store, shown: set[str], where: str) -> str:
    """A line if the store lacks trials of the sweep that are finished; else nothing.

    Args:
        shown: the ids of trials that MLflow shows as finished.
        where: MLflow's place.
    """
    # which trials a search will propose is not known here, but those shown are its own
    planned = shown if sweep.search else shown & {t.id for t in sweep.trials}
    lacking = sum(not store.ended(trial_id) for trial_id in planned)
    if not lacking:
        return ""
    trials = "1 finished trial" if lacking == 1 else f"{lacking} finished trials"
    return mask(
        f"warning: {where} shows {trials} of this sweep that --storage {store.root} does not have;"
        " is it mounted, and the one that is meant? (here they are trained again)"
    )
