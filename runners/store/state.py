"""The states of a trial, one word each: in plans, on the console, in MLflow's tags, in reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    """Where a trial stands. Equal to its word, so that it compares with and prints as text."""

    NEW = "new", "the store has nothing of it"
    RUNNING = "running", "it has begun and not ended; the same command continues it"
    FINISHED = "finished", "trained to its last epoch, or to where it stopped early"
    FAILED = "failed", "an error ended it; --retry-failed runs it again"
    DIVERGED = "diverged", "its loss was no longer finite; --retry-failed runs it again"
    PRUNED = "pruned", "its search stopped it early, because it was not promising"

    meaning: str

    def __new__(cls, word: str, meaning: str) -> State:
        state = str.__new__(cls, word)
        state._value_, state.meaning = word, meaning
        return state

    @property
    def ended(self) -> bool:
        """Whether the trial has a record."""
        return self not in (State.NEW, State.RUNNING)


def counted(states: Iterable[str]) -> dict[str, int]:
    """state -> how many, in the states' own order; other words come last."""
    counts = Counter(map(str, states))
    known = {str(state): counts.pop(state) for state in State if state in counts}
    return known | dict(sorted(counts.items()))
