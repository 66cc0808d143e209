"""The seeds of a sweep: so many, a list, or as many as its comparisons turn out to need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from runners.errors import SweepError
from runners.plan.checking import validate
from runners.plan.space import Whole

MOST_TRIALS = 100_000  # of a sweep
MOST_LOOKS = 50
DECIDED = "decided"


@dataclass(frozen=True)
class HalfWidth:
    """Until each difference to the baseline is known so closely, in percentage points."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    half_width: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Growth:
    """Seeds in blocks. After each block the comparisons that are decided cost no more seeds.

    Attributes:
        first: seeds of every variant before the first look.
        most: seeds of a variant at most.
        until: "decided": a comparison takes seeds until it has a verdict; or until its interval is
            as narrow as half_width says.
        block: further seeds between two looks; as many as the first, where it is left out.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    first: Annotated[int, Field(strict=True, ge=2)]
    most: Annotated[int, Field(strict=True, ge=3)]
    until: str | dict[str, Any] = DECIDED
    block: Whole | None = None

    @property
    def looks(self) -> tuple[int, ...]:
        """The seeds of an undecided variant at each look."""
        block = self.block or self.first
        return (*range(self.first, self.most, block), self.most)

    @property
    def half_width(self) -> float | None:
        """What an interval has to reach; None: a verdict is what is waited for."""
        return self.until["half_width"] if isinstance(self.until, dict) else None


Counted = Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1)]
Seeds = Whole | Counted | dict[str, Any]


def parse(raw: int | list[int] | dict[str, Any]) -> int | list[int] | Growth:
    """The key `seeds`, checked.

    Raises:
        SweepError: they cannot grow as it is said, or a seed occurs twice.
    """
    if isinstance(raw, list) and len(set(raw)) < len(raw):
        raise SweepError(f"seeds: each must occur once, got {raw}")
    if not isinstance(raw, dict):
        return raw
    found: Growth = validate(Growth, raw, lambda key: f"seeds.{key}", table="seeds")
    if isinstance(found.until, dict):
        validate(HalfWidth, found.until, lambda key: f"seeds.until.{key}")
    elif found.until != DECIDED:
        raise SweepError(
            f"seeds.until: must be decided, or such as {{half_width: 0.3}}, got {found.until!r}"
        )
    if found.most <= found.first:
        raise SweepError(
            f"seeds.most: must be above first, which is {found.first}, got {found.most}; "
            f"for a fixed number write seeds: {found.first}"
        )
    if len(range(found.first, found.most, found.block or found.first)) >= MOST_LOOKS:
        raise SweepError(
            f"seeds.block: at most {MOST_LOOKS} looks, and blocks of {found.block or found.first} "
            f"up to {found.most} seeds make more; set a larger block"
        )
    return found


def listed(seeds: int | list[int] | Growth) -> tuple[int, ...]:
    """Every seed that a variant may have."""
    if isinstance(seeds, Growth):
        return tuple(range(seeds.most))
    return tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)


def refuse_too_many(
    seeds: int | list[int] | Growth, variants: int, factors: Mapping[str, Sequence[Any]]
) -> None:
    """Count the trials before any of them is made.

    Raises:
        SweepError: there are more than MOST_TRIALS.
    """
    n = _most(seeds)
    cells = math.prod(len(values) for values in factors.values()) if factors else 0
    trials = (cells + variants) * n
    if cells > MOST_TRIALS:
        raise SweepError(
            f"factors: the full grid has {cells:,} cells, and a sweep has at most {MOST_TRIALS:,} "
            "trials; name fewer values, or let a search choose (search.space, search.trials)"
        )
    if trials > MOST_TRIALS:
        raise SweepError(
            f"seeds: {n:,} seeds of {cells + variants:,} variants make {trials:,} "
            f"trials, and a sweep has at most {MOST_TRIALS:,}; use fewer seeds or variants"
        )


def _most(seeds: int | list[int] | Growth) -> int:
    if isinstance(seeds, Growth):
        return seeds.most
    return seeds if isinstance(seeds, int) else len(seeds)


def check_growth(seeds: int | list[int] | Growth, **others: object) -> None:
    """Refuse what looks at growing seeds cannot judge.

    Args:
        others: further keys of the file that are judged once, of a fixed design.

    Raises:
        SweepError: the file has one of them.
    """
    if isinstance(seeds, Growth) and (clash := [key for key, value in others.items() if value]):
        raise SweepError(
            f"seeds: growing seeds are judged by the differences to the baseline alone, and the "
            f"file has {clash[0]} as well; remove it, or give a number of seeds"
        )
