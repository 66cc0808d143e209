"""The space of a search: its parameters and its cells. Needs no Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

Cell = dict[str, Any]  # parameter -> value, of the parameters that are active
Whole = Annotated[int, Field(strict=True, ge=1)]
DIGITS = 4  # significant ones of a proposed float: what is printed is what ran
MOST = 100_000  # cells that are ever enumerated


@dataclass(frozen=True)
class Parameter:
    """One setting that a search chooses: `choices`, or a range from `low` to `high`."""

    name: str
    choices: tuple = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    when: dict[str, tuple] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return (
            isinstance(self.low, int)
            and isinstance(self.high, int)
            and (self.step is None or isinstance(self.step, int))
        )

    @property
    def values(self) -> list | None:
        """Every value it can have, or None where there are too many to name."""
        if self.choices:
            return list(self.choices)
        step = self.step if self.step is not None else 1 if self.whole else None
        if step is None or (self.high - self.low) / step >= MOST:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.rounded(self.low + i * step) for i in range(count)]

    @property
    def labels(self) -> dict[str | int | float | bool | None, Any]:
        """choice as Optuna keeps it -> choice: a list goes by its text."""
        return {short(c) if isinstance(c, list) else c: c for c in self.choices}

    def rounded(self, value: float) -> float:
        return (
            int(value) if self.whole else float(f"{value:.{12 if self.step else DIGITS}g}")
        )  # 0.1 + 2 * 0.1 is meant as 0.3

    def active(self, cell: Cell) -> bool:
        return all(key in cell and cell[key] in allowed for key, allowed in self.when.items())


@dataclass(frozen=True)
class Written:
    """The key `search` of a sweep file. `trials` counts trained ones, per variant in mode tune."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    mode: Literal["front", "tune", "screen"]
    space: Annotated[dict[str, Any], Field(min_length=1)]
    trials: Whole
    base: dict[str, Any] = field(
        default_factory=dict
    )  # what search trials do otherwise than the comparison's, such as fewer epochs
    constraints: dict[
        Literal["macs_m", "params_m"], Annotated[list[float], Field(min_length=2, max_length=2)]
    ] = field(default_factory=dict)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    seed: Annotated[int, Field(strict=True, ge=0)] = (
        1000  # of the search's trials, and of its sampler
    )
    ahead: Whole = 4  # how many trials may be proposed before the first one's outcome is known
    confirm: Whole = 4  # how many of its finds enter the comparison
    stop: Literal["asha", "median"] = "asha"  # screen: how trials are stopped
    min_epochs: Whole = 1  # screen: no trial is stopped before


@dataclass(frozen=True)
class Search:
    """What is searched, and how."""

    written: Written
    parameters: tuple[Parameter, ...]

    @property
    def goals(self) -> tuple[str, ...]:
        return ("val_top1", "macs_m") if self.written.mode == "front" else ("val_top1",)

    def beyond(self, cost: dict[str, float]) -> tuple[float, str]:
        """By how much a cost is out of the search's constraints, and which; 0 and nothing where it
        is not.
        """
        violation, why = 0.0, ""
        for key, (low, high) in self.written.constraints.items():
            if excess := max(low - cost[key], cost[key] - high, 0.0):
                scale = abs(high) if 0 < abs(high) < math.inf else abs(low) or 1.0
                violation, why = (
                    violation + excess / scale,
                    f"{key} {cost[key]:.4g}, not {low:g} to {high:g}",
                )
        return violation, why

    @cached_property
    def cells(self) -> list[Cell] | None:
        """Every cell of the space, or None where there are too many to name."""
        values = [p.values for p in self.parameters]
        if any(v is None for v in values) or math.prod(len(v or []) for v in values) > MOST:
            return None
        return list(self._cells(0, {}))

    def _cells(self, i: int, cell: Cell) -> Iterator[Cell]:
        if i == len(self.parameters):
            yield cell
        elif (p := self.parameters[i]).active(cell):
            for value in p.values or []:
                yield from self._cells(i + 1, cell | {p.name: value})
        else:
            yield from self._cells(i + 1, cell)

    @property
    def probes(self) -> Iterator[tuple[str, Cell]]:
        """(parameter, cell) pairs that cover every choice and both ends of every range."""
        for p in self.parameters:
            for value in p.choices or (p.low, p.high):
                cell = self._first(p.name, value)
                if p.name in cell:
                    yield p.name, cell

    def _first(self, name: str, value: Any) -> Cell:
        """A cell in which the parameter `name` has `value`."""
        wanted: dict[str, tuple] = {name: (value,)}
        for p in reversed(self.parameters):
            if p.name in wanted:
                wanted = {k: v for k, v in p.when.items() if k not in wanted} | wanted
        cell: Cell = {}
        for p in self.parameters:
            if p.active(cell):
                cell[p.name] = wanted.get(p.name, p.choices or (p.low,))[0]
        return cell


def name(cell: Cell) -> str:
    """What a cell is called: "alpha=0.25,groups=2"."""
    return ",".join(f"{label(key)}={short(value)}" for key, value in cell.items())


def label(key: str) -> str:
    """What a setting is called: alpha for options.alpha, backbone.width for another's option."""
    return key.removeprefix("options.").replace("_options.", ".")


def short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def settings(cell: Cell) -> dict[str, Any]:
    """A cell as a variant's settings: "options.alpha" is the option `alpha` of the convolution."""
    found: dict[str, Any] = {}
    for key, value in cell.items():
        owner, dot, option = key.partition(".")
        if dot and owner.endswith("options"):
            found.setdefault(owner, {})[option] = value
        else:
            found[key] = value
    return found


def grid(factors: dict[str, list]) -> list[Cell]:
    """Every combination of the factors' values."""
    return (
        [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]
        if factors
        else []
    )
