"""The key `search` of a sweep file, read and checked.

Each parameter of its space is written in one of these ways:

lr: {low: 0.01, high: 0.5, log: true}      a float; `step` quantises it
options.groups: [1, 2, 4]                  choices
options.gn_groups: {choices: [4, 8], when: {options.order: [[sru]]}}
                                           only where an earlier parameter has one of these values
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from runners.errors import SweepError, suggest
from runners.plan import foreign
from runners.plan.checking import validate
from runners.plan.space import MOST, Parameter, Search, Written, short


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
