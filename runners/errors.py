"""Every error that the product raises on purpose, and what follows from each.

| error | whose fault | what happens | exit status |
|---|---|---|---|
| SweepError | the input's | one line: the rule, the value, the way out; nothing is launched | 2 |
| StoreError | the machine's: a full or unreachable store | retried, then the sweep stops | 75 |
| StoreDenied | the machine's: no permission | the sweep stops at once | 75; 2 at its start |
| StoreUnreadable | the disk's: a damaged sector | the file before is used, or stop | as above |
| Held | nobody's: another process holds the lock | the trial is tried again later | - |
| Unfinished | a limit's, or the store's | the sweep stops; the same command continues | 75 |
| Diverged | the trial's: its loss is not finite | recorded as diverged, never averaged in | 1 |
| ValueError in a trial | the trial's: its config makes it certain | recorded as failed | 1 |
| any other error in a trial | the trial's | two more attempts, then recorded as failed | 1 |

Workers that end without an error have a table of their own, in runners/launch/attempts.py.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

from runners.redaction import mask

TRACEBACK = "Traceback (most recent call last):"


class SweepError(ValueError):
    """The user's input cannot be run; one line: the place, the rule, the value, the way out."""

    def __init__(self, message: str):
        # the value that is repeated may hold line breaks, and a URI in it a password
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in mask(message)))


class StoreError(OSError):
    """The store cannot be read or written: a full disk, a network that is down."""

    def __init__(self, message: str):
        super().__init__(mask(message))


class Unfinished(Exception):
    """The command stops before its work is finished; the same command continues."""


class StoreDenied(StoreError):
    """The store may not be used so: no permission, or a file where a folder must be."""


class StoreUnreadable(StoreError):
    """The disk cannot read this one file, though it is there: a damaged sector."""


class Held(TimeoutError):
    """Another process holds the lock; the message names it, where the lock does."""


class Diverged(Exception):
    """The training loss is no longer finite."""


def reason(error: BaseException, longest: int = 300) -> str:
    """The error's type and message on one line, without the hints that some libraries add."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # a user's exception may not even have a text
        text = ""
    # DataLoader and compile workers put another process's traceback into the message
    if TRACEBACK in text:
        inner = text.rsplit(TRACEBACK, 1)[1].splitlines()
        text = "\n".join(itertools.dropwhile(lambda line: not line or line[0].isspace(), inner))
        name = name if text and text.split(":")[0].rsplit(".", 1)[-1] != name else ""
    said = _first_paragraph(text)
    return mask(": ".join(part for part in (name, said) if part))[:longest]


def _first_paragraph(text: str) -> str:
    """Up to the first empty line or hint; on to the next where only a heading stands there."""
    words: list[str] = []
    for line in text.strip().splitlines():
        heading = bool(words) and words[-1].endswith(":")
        if (not line.strip() and not heading) or line.strip().lower().startswith("hint:"):
            break
        words += line.split()
    return " ".join(words)


def suggest(name: str, known: Iterable[str]) -> str:
    """The way out of an unknown name: the nearest known one, else all of them."""
    close = nearest(name, known := [*known])
    return f": did you mean '{close}'?" if close else f"; there are {', '.join(sorted(known))}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that an unknown one may be a slip of; empty where none is near."""
    return next(iter(difflib.get_close_matches(str(name), [*known], n=1)), "")
