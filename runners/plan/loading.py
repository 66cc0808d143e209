"""A sweep file is read, checked and made into a Sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from runners.errors import SweepError, suggest
from runners.plan import search_key, space
from runners.plan.catalogue import Lookup
from runners.plan.checking import validate
from runners.plan.config import Config
from runners.plan.evaluating import TOP1, Evaluate, check, fills_of, refuse_twins
from runners.plan.idle import refuse_options, refuse_wsd
from runners.plan.kinds import KINDS
from runners.plan.reading import Document, override, read
from runners.plan.seeds import Growth, Seeds, check_growth, listed, parse, refuse_too_many
from runners.plan.settings import config_of
from runners.plan.shipped import shipped
from runners.plan.space import Search
from runners.plan.sweep import Limits, Resources, Sweep

PARTS = "comparison", "conditions", "classes", "curves", "cost", "tradeoff"
USUAL = "comparison", "curves", "cost"


@dataclass(frozen=True)
class _File:
    """The keys of a sweep file."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    question: str
    baseline: str
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    factors: dict[str, Annotated[list, Field(min_length=1)]] = field(default_factory=dict)
    seeds: Seeds = 3
    resources: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=Limits)
    margin_pp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    at_least: Annotated[float, Field(gt=0, le=1)] | None = None
    search: dict[str, Any] | None = None
    evaluate: Evaluate | None = None
    measure: str = TOP1
    reference: str = ""
    report: tuple[Literal[PARTS], ...] | None = None  # type: ignore[valid-type]


def load(
    path: str | Path, sets: Iterable[str] = (), seeds: int | None = None, only: Iterable[str] = ()
) -> Sweep:
    """Read a sweep file strictly.

    Args:
        path: the YAML file; its stem is the sweep's name.
        sets: overrides such as "base.epochs=3", applied before anything is checked.
        seeds: how many seeds instead of the file's.
        only: keep these variants alone.

    Raises:
        SweepError: one line that says file, place, rule, value and way out.
    """
    path = shipped(Path(path))
    raw = Document()
    try:
        raw = _raw(path, tuple(sets), seeds)
        return _load(path, raw, tuple(sets), seeds, tuple(only))
    except SweepError as error:
        raise SweepError(f"{path}: {raw.locate(str(error))}") from None


def _raw(path: Path, sets: tuple[str, ...], seeds: int | None) -> Document:
    """The file as it stands, overrides applied."""
    if not re.fullmatch(r"[\w][\w.-]{0,60}", path.stem):
        raise SweepError(
            "a sweep's name is its file's: letters, digits, '_', '-' and '.' only, got "
            f"{path.stem!r}; rename the file"
        )
    raw = read(path)
    for setting in sets:
        override(raw, setting)
    if seeds is not None:
        raw["seeds"] = seeds
        raw.forget("seeds")
    return raw


def _file(raw: Document) -> tuple[_File, int | list[int] | Growth]:
    """What the file says, checked, and its seeds."""
    file: _File = validate(_File, raw, table="file")
    seeds = parse(file.seeds)
    refuse_too_many(seeds, len(file.variants), file.factors)
    check_growth(seeds, factors=file.factors, search=file.search, at_least=file.at_least)
    return file, seeds


def _chosen(variants: dict[str, Config], baseline: str, only: tuple[str, ...]) -> dict[str, Config]:
    """The variants that are asked for; the baseline is among those of the file."""
    if baseline not in variants:
        raise SweepError(
            f"baseline: no variant is called {baseline!r}{suggest(baseline, variants)}"
        )
    for name in only:
        if name not in variants:
            raise SweepError(f"--only: no variant is called {name!r}{suggest(name, variants)}")
    return {v: c for v, c in variants.items() if v in only} if only else variants


def _load(
    path: Path, raw: Document, sets: tuple[str, ...], seeds: int | None, only: tuple[str, ...]
) -> Sweep:
    (file, written), lookup = _file(raw), Lookup(path.parent)
    arms = _arms(file)
    search = search_key.parse(file.search, listed(written)) if file.search is not None else None
    every = _configs(file.base, arms, lookup, search, file.resources)
    fills = fills_of(file.base, arms)
    _check_evaluation(file, every, fills)
    variants = _chosen(every, file.baseline, only)
    sweep = Sweep(
        name=path.stem,
        path=str(path),
        question=" ".join(file.question.split()),
        baseline=file.baseline,
        variants=variants,
        seeds=listed(written),
        growth=written if isinstance(written, Growth) else None,
        resources=file.resources,
        limits=file.limits,
        factors=file.factors,
        cells={
            name: tuple(_level(v) for v in cell.values())
            for cell in space.grid(file.factors)
            if (name := space.name(cell)) in variants
        },
        margin_pp=file.margin_pp,
        at_least=file.at_least,
        evaluate=file.evaluate,
        fills={name: fills[name] for name in variants},
        measure=file.measure,
        reference=file.reference,
        report=file.report or (USUAL + ("conditions",) * bool(file.evaluate)),
        lookup=lookup,
        overrides=(
            *(s for s in sets if not s.strip().startswith(("resources", "limits"))),
            *([f"seeds={seeds}"] if seeds is not None else []),
            *(f"only={name}" for name in only),
        ),
        base=file.base,
        arms={name: arm for name, arm in arms.items() if name in variants},
        text=raw.text,
        search=search,
        settled=search is None,
    )
    if search:
        _check_search(sweep, search)
    return sweep


def _configs(
    base: dict,
    arms: dict[str, tuple[str, dict]],
    lookup: Lookup,
    search: Search | None,
    resources: Resources,
) -> dict[str, Config]:
    """variant -> its config; whatever base says is of use to one of them, or to a search."""
    if not (search and search.written.mode != "tune"):
        refuse_options(base, [arm for _, arm in arms.values()])
    every = {name: config_of(place, base, arm, lookup) for name, (place, arm) in arms.items()}
    if not (search and "schedule" in {**search.written.space, **search.written.base}):
        refuse_wsd(base, resources, every)
    return every


def _check_evaluation(file: _File, every: dict[str, Config], fills: dict[str, str]) -> None:
    """The conditions, the measure and the fills can go together, and no two variants are one."""
    check(file.evaluate, file.measure, fills, searches=file.search is not None)
    of_conditions = [part for part in file.report or () if part in ("conditions", "classes")]
    if of_conditions and not file.evaluate:
        raise SweepError(
            f"report: {of_conditions[0]} is made of the conditions of evaluate, which is missing; "
            "add evaluate: {channels: all}, or leave it out"
        )
    refuse_twins(every, fills)


def _check_search(sweep: Sweep, search: Search) -> None:
    """Every choice, and both ends of every range, makes a config; and there is something to judge
    it by.
    """
    for name in [*search.written.space, *search.written.base]:
        if name.partition(".")[0] in ("dataset", "dataset_options", "val_fraction", "recipe"):
            raise SweepError(
                f"search: '{name}' must be the same for the whole search; set it in base"
            )
    if twice := next((key for key in search.written.base if key in search.written.space), None):
        raise SweepError(f"search.base: '{twice}' is in the space as well; remove one")
    kept = {k: v for k, v in search.written.base.items() if k not in {x.options for x in KINDS}}
    config_of("search.base", sweep.base, kept, sweep.lookup)
    probes = list(search.probes)
    arms = [*sweep.variants] if search.written.mode == "tune" else [""]
    seen: dict[tuple[bool, str], tuple[str, str]] = {}
    for variant in arms:
        for name, cell in probes:
            try:
                config, compared = (
                    sweep.candidate(cell, variant),
                    sweep.candidate(cell, variant, searching=False),
                )
            except SweepError as error:
                raise SweepError(f"search.space.{name}, for {space.name(cell)}: {error}") from None
            for found in (config, compared):
                here = (variant, space.name(cell))
                other = seen.setdefault((found.test, found.canonical), here)
                if other[0] != variant:
                    raise SweepError(
                        f"search: for {here[1]} the variants '{other[0]}' and '{variant}' are the "
                        "same configuration; remove one"
                    )
                if other != here:
                    raise SweepError(
                        f"search.space.{name}: {other[1]} and {here[1]} are the same "
                        "configuration; remove one"
                    )
            if not config.val_fraction:
                raise SweepError(
                    "search: trials are judged on a validation split, and val_fraction is 0; set "
                    "base.val_fraction to 0.1"
                )
            if search.written.min_epochs > config.epochs:
                raise SweepError(
                    f"search.min_epochs: {search.written.min_epochs} is more than the "
                    f"{config.epochs} epochs of a trial"
                )


def _arms(file: _File) -> dict[str, tuple[str, dict]]:
    """variant -> (its place in the file, its settings): the variants as they stand, then the full
    grid of the factors.
    """
    arms: dict[str, tuple[str, dict]] = {
        name: (f"variants.{name}", dict(arm)) for name, arm in file.variants.items()
    }
    for cell in space.grid(file.factors):
        if (name := space.name(cell)) in arms:
            raise SweepError(
                f"factors: the cell {name!r} stands twice; remove the repeated value or the "
                "variant of that name"
            )
        arms[name] = ("factors", space.settings(cell))
    if not arms:
        raise SweepError(
            "variants: at least one is needed (or factors); see sweeps/quickstart.yaml"
        )
    for name in arms:
        if (
            not name.isprintable()
            or not name.strip()
            or len(name) > 60
            or re.search(r"[/\\]|^\.", name)
        ):
            raise SweepError(
                "variants: a name is at most 60 printable characters without '/' and '\\' and no "
                f"dot first, got {name!r}"
            )
    return arms


def _level(value: Any) -> Any:
    """A factor's value as something that can be compared and ordered; YAML reads 1e-4 as text."""
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return space.short(value)
