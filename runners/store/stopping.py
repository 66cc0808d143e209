"""Early stopping as a function of the epochs so far: a resumed trial stops where a whole one does.

L. Prechelt, "Early stopping, but when?", in Neural Networks: Tricks of the Trade, 1998: training
ends when the validation has not been better for a number of epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runners.plan import Config, EarlyStop

if TYPE_CHECKING:
    from runners.store.record import Epoch


def stopped(config: Config, epochs: Sequence[Epoch]) -> int | None:
    """The epoch after which the training ends early, counted from 1; None: it goes on."""
    stop = config.early_stop
    if stop is None:
        return None
    for n, best in enumerate(_bests(stop, epochs), 1):
        if n - best >= stop.patience:
            return n
    return None


def kept_epoch(stop: EarlyStop | None, epochs: Sequence[Epoch]) -> int:
    """The epoch whose weights are tested, counted from 1; 0 without epochs."""
    if stop is None or stop.keep == "last" or not epochs:
        return len(epochs)
    return _bests(stop, epochs)[-1]


def _bests(stop: EarlyStop, epochs: Sequence[Epoch]) -> list[int]:
    """After each epoch, which one was the best so far: of equals the first."""
    found: list[int] = []
    highest = -math.inf
    for n, epoch in enumerate(epochs, 1):
        # a loss that overflowed is not in the epoch
        value = epoch.val.get(stop.monitor, math.nan)
        height = -value if stop.monitor == "loss" else value
        better = height > highest
        highest = height if better else highest
        found.append(n if better or not found else found[-1])
    return found
