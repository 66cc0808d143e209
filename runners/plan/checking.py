"""Dataclasses from what a file says, and one line for the first thing that is wrong.

Every message says the place, the rule, the value seen and the way out.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError
from runners.plan import foreign

# pydantic's words -> a reader's
WORDS = (
    ("Input should be", "must be"),
    ("Input should have", "must have"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "above"),
    ("less than", "below"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid boolean", "true or false"),
    ("a valid string", "text"),
    ("a valid dictionary", "a mapping"),
    ("a valid list", "a list"),
    ("a valid tuple", "a list"),
    ("an object", "a mapping"),
)
# parts of pydantic's locations that name a branch of a type and no place in the file
BRANCH = re.compile(
    r"(function-|list\[|tuple\[|dict\[|constrained-|literal\[|nullable|lax-or-strict).*"
    r"|int|float|str|bool|none"
)
EXTRA = ("unexpected_keyword_argument", "extra_forbidden")
FRACTIONS = ("milestones", "warmup")  # of the epochs; other tools write the epochs themselves


def validate(kind: type, raw: dict, place: Callable[[str], str] = str, *, table: str = "") -> Any:
    """`raw` as the dataclass `kind`.

    Args:
        place: says where in the file a key stands.
        table: which of foreign.TABLES has the names that other tools give its keys.

    Raises:
        SweepError: one line for the first thing that is wrong.
    """
    try:
        return _adapter(kind).validate_python(raw)
    except ValidationError as error:
        raise SweepError(_complaint(error, kind, raw, place, table)) from None


def _complaint(
    error: ValidationError, kind: type, raw: dict, place: Callable[[str], str], table: str
) -> str:
    errors = error.errors(include_url=False)
    # a file for another tool lacks our keys as well: its own ones say more
    extra = [e for e in errors if e["type"] in EXTRA]
    first = (extra or errors)[0]
    loc = _location(first)
    if not loc:
        return f"must be a mapping, got {_clip(first['input'])}"
    if extra:
        owner = _dataclass(typing.get_type_hints(kind)[loc[0]]) if loc[1:] else kind
        inside = ".".join([place(loc[0]), *loc[1:]])
        parent = inside[: -len(loc[-1])].rstrip(".")
        siblings = [
            x for e in errors if (x := _location(e))[:-1] == loc[:-1] and e["type"] == first["type"]
        ]
        known = [f.name for f in dataclasses.fields(owner)]
        said = foreign.unknown([x[-1] for x in siblings], known, table if owner is kind else loc[0])
        return f"{parent}: {said}" if parent else said
    where = ".".join([place(loc[0]), *loc[1:]])
    if first["type"] in ("missing", "missing_argument"):
        return f"'{where}' is missing; see sweeps/quickstart.yaml"
    # a value that fits no branch of a union has an error for each; the deepest one is meant
    same = [e for e in errors if _location(e)[:1] == loc[:1]]
    deepest = max(len(_location(e)) for e in same)
    meant = [e for e in same if len(_location(e)) == deepest]
    loc = _location(meant[0])
    meant = [e for e in meant if _location(e) == loc]
    # where the value has the type of one branch, the other branches' complaints mislead; but a word
    # that no branch has need not have been meant as a word
    fitting = [e for e in meant if not re.search("_(type|parsing)$", e["type"])]
    if any(e["type"] != "literal_error" for e in fitting):
        meant = fitting
    where = ".".join([place(loc[0]), *loc[1:]])
    rules = [*dict.fromkeys(_rule(e["msg"]) for e in meant)]
    if "must be a number" in rules:
        rules = [r for r in rules if r != "must be a whole number"]
    first = ", ".join([rules[0], *(r.removeprefix("must be ") for r in rules[1:-1])])
    rule = f"{first} or {rules[-1].removeprefix('must be ')}" if rules[1:] else first
    value = meant[0]["input"]
    return f"{where}: {rule}, got {_clip(value)}{_way_out(loc, value, raw)}"


def _dataclass(hint: Any) -> Any:
    """The dataclass of a field, which may be left out."""
    return next((x for x in typing.get_args(hint) if dataclasses.is_dataclass(x)), hint)


def _location(error: Any) -> list[str]:
    return [str(part) for part in error["loc"] if not BRANCH.fullmatch(str(part))]


def _rule(message: str) -> str:
    message = re.sub(r", unable to parse .*", "", message)
    for theirs, ours in WORDS:
        message = message.replace(theirs, ours)
    short = re.fullmatch(
        r"\w+ should have at least (\d+) items? after validation, not \d+", message
    )
    if short:
        return f"must have at least {short[1]} value{'s' if short[1] != '1' else ''}"
    return message[0].lower() + message[1:]


def _way_out(loc: list[str], value: Any, raw: dict) -> str:
    if loc[0] in FRACTIONS and isinstance(value, int | float) and value >= 1:
        epochs = raw.get("epochs", 200)
        known = isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > value
        return "; it is a fraction of the epochs" + (
            f": {value:g} of {epochs} is {value / epochs:.4g}" if known else ", such as 0.5"
        )
    return foreign.way_out(loc, value)


@functools.cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)  # building one takes longer than a hundred validations


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
