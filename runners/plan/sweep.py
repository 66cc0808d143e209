"""From a question in YAML to a list of trials: load, check, plan, identify. Without torch, so planning is instant.

A sweep is a list of trials; a trial is a config and a seed; a trial's id is the hash of everything that can change its numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from runners.errors import SweepError, suggest
from runners.plan import space
from runners.plan.catalogue import KINDS, Lookup, data_key, defaults_of, plain
from runners.plan.checking import validate
from runners.plan.config import Config, Data, Own, Trial
from runners.plan.reading import Document, override, read
from runners.plan.settings import config_of, inherits
from runners.plan.space import Cell, Search, Whole

MOST_TRIALS = 100_000  # of a sweep


@dataclass(frozen=True)
class Resources:
    """What one trial occupies. `gpu` 0.25 packs four on one; left out, it is 1 where there is a GPU and 0 elsewhere."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    gpu: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    cpu: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1


@dataclass(frozen=True)
class Limits:
    """Where one start of the command ends: hours, gigabytes of the store, failed trials. The next start goes on."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    disk_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    failures: Whole | None = None
    # without an epoch, and a trial's worker is ended and started again
    stall_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class Sweep:
    """A question, its variants and its seeds."""

    name: str
    path: str
    question: str
    baseline: str
    variants: dict[str, Config]
    seeds: tuple[int, ...]
    resources: Resources = Resources()
    limits: Limits = Limits()
    factors: dict[str, list] = field(default_factory=dict)
    cells: dict[str, tuple] = field(
        default_factory=dict
    )  # of the factors' grid: variant -> their values
    margin_pp: float | None = None  # a difference below this, in percentage points, does not matter
    reference: str = ""
    report: tuple[str, ...] = ("comparison", "curves", "cost")
    lookup: Lookup = field(default_factory=Lookup)  # the files that its names stand for
    overrides: tuple[str, ...] = ()
    base: dict[str, Any] = field(default_factory=dict)  # as in the file
    arms: dict[str, tuple[str, dict]] = field(
        default_factory=dict
    )  # variant -> its place in the file, its settings
    text: str = ""  # of the file, as it was read
    search: Search | None = None
    settled: bool = True  # False while a search has yet to say what is compared
    found: tuple[str, ...] = ()  # the variants that it said
    notes: tuple[str, ...] = ()  # what a reader must know of its data, a sentence each

    @property
    def label(self) -> str:
        """The name of its results: the sweep's own, so long as nothing was overridden."""
        return self.name + (
            f"-{hashlib.sha256(repr(self.overrides).encode()).hexdigest()[:6]}"
            if self.overrides
            else ""
        )

    @cached_property
    def digest(self) -> str:
        """Of the file, as it was read."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def trials(self) -> list[Trial]:
        """Seeds outermost: whatever is finished when a sweep is cut off is a balanced comparison. None of what is being tuned."""
        if not self.settled and self.search and self.search.written.mode == "tune":
            return []
        return [
            self.trial(variant, config, seed)
            for seed in self.seeds
            for variant, config in self.variants.items()
        ]

    def trial(self, variant: str, config: Config, seed: int) -> Trial:
        """One variant with one seed, as this sweep plans it."""
        return Trial(self.name, variant, config, seed, self.own(config), self.digest)

    def candidate(self, cell: Cell, variant: str = "", *, searching: bool = True) -> Config:
        """The config of a search's cell: on top of a variant where each is tuned, else of `base`.

        Args:
            searching: as a trial of the search, with its own settings and without the test set; else as one of the comparison.

        Raises:
            SweepError: the cell's settings cannot go together.
        """
        assert self.search
        arm = dict(self.arms[variant][1]) if variant else {}
        for layer in (self.search.written.base if searching else {}, space.settings(cell)):
            merged = dict(layer)
            for kind in KINDS:
                # another convolution's options would mean nothing to this one
                before = {} if kind.key in layer else arm.get(kind.options) or {}
                if options := before | layer.get(kind.options, {}):
                    merged[kind.options] = options
            arm |= merged
        config = config_of("search.space", self.base, arm, self.lookup)
        return replace(config, test=not searching)

    def own(self, config: Config) -> Own:
        """What a trial with this config uses that is not the package's."""
        conv, backbone, dataset = (
            self.lookup.user_file(kind, getattr(config, kind.key)).path for kind in KINDS
        )
        key = data_key(config.dataset, config.dataset_digest, config.dataset_options)
        return Own(conv, backbone, dataset, self.lookup.data.get(key))

    def with_data(self, data: dict[str, Data]) -> Sweep:
        """The sweep with what was measured of its data sets, by `data_key`: its trials' identity."""
        variants = {}
        for name, c in self.variants.items():
            measured = data.get(data_key(c.dataset, c.dataset_digest, c.dataset_options))
            variants[name] = replace(c, data=measured.identity) if measured else c
        return replace(self, variants=variants, lookup=replace(self.lookup, data=data))

    def varying(self) -> dict[str, dict[str, Any]]:
        """variant -> the settings in which the variants differ (options by their own names)."""
        flat = {v: self._flat(c) for v, c in self.variants.items()}
        keys = dict.fromkeys(k for row in flat.values() for k in row)
        named = {
            label
            for c in self.variants.values()
            for kind in KINDS
            for key in getattr(c, kind.options)
            if (label := space.label(f"{kind.options}.{key}"))
        }
        differing = [
            k
            for k in keys
            if len({json.dumps(row[k]) for row in flat.values() if k in row}) > 1 or k in named
        ]
        return {v: {k: row[k] for k in differing if k in row} for v, row in flat.items()}

    def _flat(self, config: Config) -> dict[str, Any]:
        """Every setting by its own name, the options at their defaults too."""
        dropped = {
            "data",
            "conv_version",
            "compile_version",
            *(k.options for k in KINDS),
            *(k.digest for k in KINDS),
        }
        flat = {key: value for key, value in asdict(config).items() if key not in dropped}
        for kind in KINDS:
            defaults = defaults_of(kind, self.lookup.file(kind, getattr(config, kind.key)))
            options = {k: plain(v) for k, v in defaults.items()} | getattr(config, kind.options)
            flat |= {space.label(f"{kind.options}.{k}"): v for k, v in options.items()}
        return flat


@dataclass(frozen=True)
class _File:
    """The keys of a sweep file."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    question: str
    baseline: str
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    factors: dict[str, Annotated[list, Field(min_length=1)]] = field(default_factory=dict)
    seeds: (
        Whole | Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1)]
    ) = 3
    resources: Resources = Resources()
    limits: Limits = Limits()
    margin_pp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    search: dict[str, Any] | None = None
    reference: str = ""
    report: tuple[Literal["comparison", "curves", "cost", "tradeoff"], ...] = (
        "comparison",
        "curves",
        "cost",
    )


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
    path = Path(path)
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
            f"a sweep's name is its file's: letters, digits, '_', '-' and '.' only, got {path.stem!r}; rename the file"
        )
    raw = read(path)
    for setting in sets:
        override(raw, setting)
    if seeds is not None:
        raw["seeds"] = seeds
        raw.forget("seeds")
    return raw


def _file(raw: Document) -> tuple[_File, tuple[int, ...]]:
    """What the file says, checked, and its seeds."""
    file: _File = validate(_File, raw, table="file")
    _refuse_too_many(file)
    seed_list = tuple(range(file.seeds)) if isinstance(file.seeds, int) else tuple(file.seeds)
    if len(set(seed_list)) < len(seed_list):
        raise SweepError(f"seeds: each must occur once, got {list(seed_list)}")
    return file, seed_list


def _chosen(variants: dict[str, Config], baseline: str, only: tuple[str, ...]) -> dict[str, Config]:
    """The variants that are asked for, of different configurations, the baseline among those of the file."""
    _refuse_twins(variants)
    if baseline not in variants:
        raise SweepError(
            f"baseline: no variant is called {baseline!r}{suggest(baseline, variants)}"
        )
    for name in only:
        if name not in variants:
            raise SweepError(f"--only: no variant is called {name!r}{suggest(name, variants)}")
    return {v: c for v, c in variants.items() if v in only} if only else variants


def _refuse_too_many(file: _File) -> None:
    """Count the trials before any of them is made."""
    seeds = file.seeds if isinstance(file.seeds, int) else len(file.seeds)
    cells = math.prod(len(values) for values in file.factors.values()) if file.factors else 0
    trials = (cells + len(file.variants)) * seeds
    if cells > MOST_TRIALS:
        raise SweepError(
            f"factors: the full grid has {cells:,} cells, and a sweep has at most {MOST_TRIALS:,} "
            "trials; name fewer values, or let a search choose (search.space, search.trials)"
        )
    if trials > MOST_TRIALS:
        raise SweepError(
            f"seeds: {seeds:,} seeds of {cells + len(file.variants):,} variants make {trials:,} "
            f"trials, and a sweep has at most {MOST_TRIALS:,}; use fewer seeds or variants"
        )


def _load(
    path: Path, raw: Document, sets: tuple[str, ...], seeds: int | None, only: tuple[str, ...]
) -> Sweep:
    file, seed_list = _file(raw)
    lookup = Lookup(path.parent)
    arms = _arms(file)
    search = space.parse(file.search, seed_list) if file.search is not None else None
    if not (search and search.written.mode != "tune"):
        _refuse_idle_options(file.base, [arm for _, arm in arms.values()])
    every = {name: config_of(place, file.base, arm, lookup) for name, (place, arm) in arms.items()}
    variants = _chosen(every, file.baseline, only)
    sweep = Sweep(
        name=path.stem,
        path=str(path),
        question=" ".join(file.question.split()),
        baseline=file.baseline,
        variants=variants,
        seeds=seed_list,
        resources=file.resources,
        limits=file.limits,
        factors=file.factors,
        cells={
            name: tuple(_level(v) for v in cell.values())
            for cell in space.grid(file.factors)
            if (name := space.name(cell)) in variants
        },
        margin_pp=file.margin_pp,
        reference=file.reference,
        report=file.report,
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


def _check_search(sweep: Sweep, search: Search) -> None:
    """Every choice, and both ends of every range, makes a config; and there is something to judge it by."""
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
                        f"search: for {here[1]} the variants '{other[0]}' and '{variant}' are the same configuration; remove one"
                    )
                if other != here:
                    raise SweepError(
                        f"search.space.{name}: {other[1]} and {here[1]} are the same configuration; remove one"
                    )
            if not config.val_fraction:
                raise SweepError(
                    "search: trials are judged on a validation split, and val_fraction is 0; set base.val_fraction to 0.1"
                )
            if search.written.min_epochs > config.epochs:
                raise SweepError(
                    f"search.min_epochs: {search.written.min_epochs} is more than the {config.epochs} epochs of a trial"
                )


def _arms(file: _File) -> dict[str, tuple[str, dict]]:
    """variant -> (its place in the file, its settings): the variants as they stand, then the full grid of the factors."""
    arms: dict[str, tuple[str, dict]] = {
        name: (f"variants.{name}", dict(arm)) for name, arm in file.variants.items()
    }
    for cell in space.grid(file.factors):
        if (name := space.name(cell)) in arms:
            raise SweepError(
                f"factors: the cell {name!r} stands twice; remove the repeated value or the variant of that name"
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
                f"variants: a name is at most 60 printable characters without '/' and '\\' and no dot first, got {name!r}"
            )
    return arms


def _refuse_idle_options(base: dict, arms: list[dict]) -> None:
    for kind in KINDS:
        if base.get(kind.options) and not any(inherits(kind, base, arm) for arm in arms):
            thing = {"conv": "convolution", "dataset": "data set"}.get(kind.key, kind.key)
            raise SweepError(
                f"base.{kind.options}: no variant has base's {thing}, so they would apply to none; "
                "set them in the variants"
            )


def _refuse_twins(variants: Mapping[str, Config]) -> None:
    seen: dict[str, str] = {}
    for name, config in variants.items():
        twin = seen.setdefault(config.canonical, name)
        if twin != name:
            raise SweepError(
                f"variants: '{twin}' and '{name}' are the same configuration; change or remove one"
            )


def _level(value: Any) -> Any:
    """A factor's value as something that can be compared and ordered; YAML reads 1e-4 as text."""
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return space.short(value)
