"""The space of a search: its parameters as a sweep file writes them, and its cells.

Needs no Optuna, so that a sweep file is checked at once.

lr: {low: 0.01, high: 0.5, log: true}      a float; `step` quantises it
options.groups: [1, 2, 4]                  choices
options.gn_groups: {choices: [4, 8], when: {options.order: [[sru]]}}
                                           only where an earlier parameter has one of these values
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from runners.errors import SweepError, suggest
from runners.plan import foreign
from runners.plan.checking import validate

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
class _Written:
    """A parameter as the file has it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    choices: Annotated[list, Field(min_length=1)] | None = None
    low: float | int | None = None
    high: float | int | None = None
    step: Annotated[float | int, Field(gt=0)] | None = None
    log: bool = False
    when: dict[str, Any] = field(default_factory=dict)


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


def parse(raw: Any, seeds: tuple[int, ...]) -> Search:
    """The key `search`, checked.

    Raises:
        SweepError: place, rule, value and way out.
    """
    if not isinstance(raw, dict):
        raise SweepError(
            f"search: must be a mapping with mode, space and trials, got {raw!r}; see "
            "sweeps/pareto.yaml"
        )
    written: Written = validate(Written, raw, lambda key: f"search.{key}", table="search")
    if written.seed in seeds:
        raise SweepError(
            f"search.seed: {written.seed} is a seed of the comparison, which must not know what it "
            "was chosen by; use another"
        )
    for key, (low, high) in written.constraints.items():
        if not low < high:
            raise SweepError(
                f"search.constraints.{key}: must be [low, high] with low < high, got [{low:g}, "
                f"{high:g}]"
            )
    parameters: list[Parameter] = []
    for name, content in written.space.items():
        parameters.append(_parameter(name, content, parameters))
    search = Search(written, tuple(parameters))
    if written.sampler == "grid" and search.cells is None:
        endless = next(
            (f"{p.name} has neither" for p in parameters if p.values is None),
            f"at most {MOST:,} cells",
        )
        raise SweepError(
            f"search.sampler: a grid needs choices or a step, and {endless}; give it a step, or "
            "use tpe"
        )
    return search


def _parameter(name: str, raw: Any, earlier: list[Parameter]) -> Parameter:
    place = f"search.space.{name}"
    if not isinstance(raw, dict):
        if way := foreign.expression(raw):
            raise SweepError(f"{place}: must be a list or a mapping, got {raw!r}{way}")
        raw = {"choices": raw}
    w: _Written = validate(_Written, raw, lambda key: f"{place}.{key}", table="parameter")
    when = {
        key: _condition(f"{place}.when", key, values, earlier) for key, values in w.when.items()
    }
    if w.choices is not None:
        if {w.low, w.high, w.step} != {None} or w.log:
            raise SweepError(f"{place}: has choices and a range; keep one")
        texts = [repr(c) for c in w.choices]
        if len({*texts}) < len(texts) or len({short(c) for c in w.choices}) < len(texts):
            raise SweepError(f"{place}: each choice must occur once, got {w.choices}")
        if any(isinstance(c, dict) for c in w.choices):
            raise SweepError(
                f"{place}: a choice must be a number, text or a list of them, got {w.choices}"
            )
        return Parameter(name, tuple(w.choices), when=when)
    if w.low is None or w.high is None:
        raise SweepError(
            f"{place}: needs choices, or low and high; such as [1, 2, 4] or "
            f"{{low: 0.01, high: 0.5, log: true}}"
        )
    if not (math.isfinite(w.low) and math.isfinite(w.high) and w.low < w.high):
        raise SweepError(f"{place}: low must be below high, got {w.low:g} and {w.high:g}")
    if w.log and (w.low <= 0 or w.step is not None):
        raise SweepError(
            f"{place}: a log range starts above 0 and has no step, got low {w.low:g}"
            + (f", step {w.step:g}" if w.step else "")
        )
    if w.step is not None and (w.high - w.low) / w.step > MOST:
        raise SweepError(
            f"{place}: {w.low:g} to {w.high:g} in steps of {w.step:g} are more than {MOST:,} "
            "values; use a larger step, or none"
        )
    if w.step is not None and not math.isclose(
        (w.high - w.low) / w.step, round((w.high - w.low) / w.step), abs_tol=1e-6
    ):
        raise SweepError(
            f"{place}: high - low must be a multiple of step, got {w.low:g} to {w.high:g} in steps "
            f"of {w.step:g}"
        )
    return Parameter(name, (), w.low, w.high, w.step, w.log, when)


def _condition(place: str, key: str, values: Any, earlier: list[Parameter]) -> tuple:
    known = {p.name: p for p in earlier}
    if key not in known:
        raise SweepError(
            f"{place}: '{key}' is not a parameter before this "
            f"one{suggest(key, known) if known else '; move it up'}"
        )
    allowed = tuple(values) if isinstance(values, list) else (values,)
    possible = known[key].values
    for value in allowed:
        if possible is None or value not in possible:
            there = (
                f"its values are {possible}"
                if possible
                else "it has endlessly many values; give it choices"
            )
            raise SweepError(f"{place}.{key}: can never be {value!r}; {there}")
    return allowed


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
