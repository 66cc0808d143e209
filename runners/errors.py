"""Every error that the product raises on purpose, and what follows from each.

| error | whose fault | what happens | exit status |
|---|---|---|---|
| SweepError | the input's | one line says the rule, the value and the way out; nothing is launched | 2 |
| StoreError | the machine's: the store is full or unreachable | retried, then the sweep stops | 75 |
| Held | nobody's: another process holds the lock | the trial is tried again later | - |
| Diverged | the trial's: its loss is not finite | recorded as diverged, never averaged in | 1 |
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from runners.masking import mask


class SweepError(ValueError):
    """The user's input cannot be run; one line: the place, the rule, the value, the way out."""

    def __init__(self, message: str):
        # the value that is repeated may hold line breaks, and a URI in it a password
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in mask(message)))


class StoreError(OSError):
    """The store cannot be read or written: a full disk, a network that is down."""

    def __init__(self, message: str):
        super().__init__(mask(message))


class Held(TimeoutError):
    """Another process holds the lock; the message names it, where the lock does."""


class Diverged(Exception):
    """The training loss is no longer finite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The way out of an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(str(name), [*known], n=1)
    return f": did you mean '{close[0]}'?" if close else f"; there are {', '.join(sorted(known))}"
