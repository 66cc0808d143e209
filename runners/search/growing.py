"""A comparison whose seeds grow: when all its trials have ended, it is asked for more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from runners.plan import Trial
from runners.search.queue import Work
from runners.store import Evaluation, Record, Store


class Growing(Work):
    """The trials of a comparison, block by block.

    Args:
        more: (records, evaluations) so far -> the trials that the comparison asks for by now.
    """

    def __init__(
        self,
        store: Store,
        records: Mapping[str, Record],
        evaluations: Mapping[str, Evaluation],
        more: Callable[[Mapping[str, Record], Mapping[str, Evaluation]], list[Trial]],
    ):
        super().__init__([], store, records, evaluations)
        self.more = more
        self.expect: Callable[[list[Trial]], None] = lambda trials: None  # hears of new trials

    def learn(self, trial: Trial, record: Record) -> None:
        super().learn(trial, record)
        if not self.left():
            known = {*self.records, *(t.id for t in self.trials)}
            new = [
                replace(t, own=self.store.keep_own(t.own, t.config))
                for t in self.more(self.records, self.evaluations)
                if t.id not in known
            ]
            self.trials += new
            self.waiting += new
            if new:
                self.expect(new)

    @property
    def over(self) -> bool:
        """A trial that runs may be the last of its block."""
        return not self.waiting and not self.left()
