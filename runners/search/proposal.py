"""A proposal: a cell of the space, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runners.plan import Trial
from runners.plan.space import Cell
from runners.store import Record, State


@dataclass(frozen=True)
class Proposal:
    """A cell that Optuna proposed, and what came of it.

    `first` is the number of the proposal that had this cell first: its own, unless the answer came
    from the store. `why`: it was not trained.
    """

    number: int
    cell: Cell
    params: dict[str, Any]  # as Optuna keeps them
    trial: Trial | None
    first: int
    cost: dict[str, float]
    variant: str = ""  # the one being tuned
    violation: float = 0.0
    why: str = ""
    record: Record | None = None

    @property
    def trained(self) -> bool:
        """It is one of the budget's trials: neither impossible nor repeated."""
        return self.trial is not None and self.first == self.number

    @property
    def status(self) -> str:
        return "not trained" if self.why else self.record.status if self.record else "not finished"

    @property
    def score(self) -> float | None:
        """The primary score on the validation split, if it was trained to the end."""
        return (
            self.record.val_score if self.record and self.record.status == State.FINISHED else None
        )
