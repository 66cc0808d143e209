"""A training's checkpoints: not after every epoch where epochs are short, and written while the
training goes on where that would hold it up.

A checkpoint of ResNet-20 takes a hundredth of a second to write, and its epoch on a small data set
half of one. So a checkpoint waits for a later epoch, for a few seconds at most, until the time that
the last one took is a hundredth of the training since.

A checkpoint of ResNet-50 takes half a second to write, and an epoch of CIFAR on a large GPU a few.
Where the last one took more than a twentieth of an epoch of at most half a minute, the next is
written by a thread, from a copy of the state, while the next epoch trains.

An epoch counts as saved when a checkpoint of it, or of a later one, is written. A kill or a stop
costs the epoch under way and those not saved; together at most a minute, where an epoch takes less
than half of one.

A trial of a search may be ended at each of its reports, by a driver that then drops its checkpoint:
nothing may be written at that moment, so its checkpoints are all written at once, after each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from torch import Tensor

from runners.store import Epoch, Store

SELDOM = 0.01  # of the training's time that writing takes where it can wait
WAIT_S = 5.0  # of training that a checkpoint may wait for
SHARE = 0.05  # of an epoch's time that writing may take
WORTH_S = 0.2  # and less than this is not worth a thread
LONGEST_S = 30.0  # of an epoch whose report may wait for the next one's end


class Saver:
    """The checkpoints of one trial; as a context, it waits for the last one at the end.

    Args:
        saved: how many epochs the store has already.
        behind: a checkpoint may be written while the next epoch trains, or after a later one.
    """

    def __init__(self, store: Store, trial_id: str, saved: int, *, behind: bool = True):
        self.store, self.trial_id, self.behind = store, trial_id, behind
        self._given = self._written = self._told = saved  # epochs: to be written, written, told
        self._seconds = 0.0  # that the last checkpoint took
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self.wait()

    def save(self, state: Callable[[], dict[str, Any]], epochs: list[Epoch]) -> None:
        """Keep the training's state after these epochs, now or while the next one trains; or leave
        it to a later epoch.

        Raises:
            Held, StoreError: as `Store.save`, of this checkpoint or of the one before.
        """
        if self._can_wait(epochs):
            return
        self.wait()
        self._given = len(epochs)
        epoch = epochs[-1].seconds
        short = self._seconds < max(WORTH_S, SHARE * epoch)
        if short or epoch > LONGEST_S or not self.behind:
            self._write(state(), list(epochs))
        else:
            self._writing = self._thread.submit(self._write, copied(state()), list(epochs))

    def _can_wait(self, epochs: list[Epoch]) -> bool:
        since = sum(epoch.seconds for epoch in epochs[self._given :])
        soon = since + epochs[-1].seconds <= WAIT_S
        return self.behind and soon and self._seconds > SELDOM * since

    def wait(self) -> None:
        """Until the last checkpoint is written.

        Raises:
            Held, StoreError: as `Store.save`.
        """
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def news(self, epochs: list[Epoch]) -> list[Epoch]:
        """Those that are in the store by now, and were not returned before."""
        told, self._told = self._told, self._written
        return epochs[told : self._told]

    def _write(self, state: dict[str, Any], epochs: list[Epoch]) -> None:
        start = time.perf_counter()
        self.store.save(self.trial_id, state, epochs)
        self._seconds = time.perf_counter() - start
        self._written = len(epochs)


def copied(state: Any) -> Any:
    """The same state on the CPU, which the training no longer changes."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        # a model's state has a note about its layers' versions beside its entries
        made = type(state)((key, copied(value)) for key, value in state.items())
        for name, value in getattr(state, "__dict__", {}).items():
            setattr(made, name, value)
        return made
    if isinstance(state, list | tuple):
        return type(state)(map(copied, state))
    return state
