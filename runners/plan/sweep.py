"""A sweep as a value: its variants, its seeds, and the trials that follow. Needs no torch.

A sweep is a list of trials; a trial is a config and a seed; a trial's id is the hash of everything
that can change its numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from runners.plan import space
from runners.plan.catalogue import Lookup, data_key, defaults_of, plain
from runners.plan.config import Config, Data, Own, Trial
from runners.plan.evaluating import TOP1, Evaluate
from runners.plan.kinds import KINDS
from runners.plan.seeds import Growth
from runners.plan.settings import config_of
from runners.plan.space import Cell, Search, Whole


@dataclass(frozen=True)
class Resources:
    """What one trial occupies. `gpu` 0.25 packs four on one; left out, it is 1 where there is a GPU
    and 0 elsewhere; `auto` is found out by measuring (runners/packing.py). `keep_stable`: of
    `schedule: wsd`, the state before the decay stays in the store, so that a longer training goes
    on from it.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    gpu: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"] | None = None
    cpu: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    keep_stable: bool = False

    @property
    def share(self) -> float | None:
        """Of a GPU; None where it is left out, or still to be found out."""
        return None if self.gpu == "auto" else self.gpu

    @property
    def threads(self) -> int:
        """Of a trial, on the CPU; and the processes that decode its images."""
        return max(1, int(self.cpu))


@dataclass(frozen=True)
class Limits:
    """Where one start of the command ends: hours, gigabytes of the store, failed trials. The next
    start goes on.
    """

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
    seeds: tuple[int, ...]  # all that a variant may have
    resources: Resources = Resources()
    limits: Limits = Limits()
    factors: dict[str, list] = field(default_factory=dict)
    # of the factors' grid: variant -> their values
    cells: dict[str, tuple] = field(default_factory=dict)
    margin_pp: float | None = None  # a difference below this, in percentage points, does not matter
    at_least: float | None = None  # the part of the baseline's accuracy that is to be kept
    evaluate: Evaluate | None = None
    fills: dict[str, str] = field(default_factory=dict)  # variant -> what it says of its own
    measure: str = TOP1  # what variants are compared by
    reference: str = ""
    report: tuple[str, ...] = ("comparison", "curves", "cost")
    lookup: Lookup = field(default_factory=Lookup)  # the files that its names stand for
    overrides: tuple[str, ...] = ()
    base: dict[str, Any] = field(default_factory=dict)  # as in the file
    # variant -> its place in the file, its settings
    arms: dict[str, tuple[str, dict]] = field(default_factory=dict)
    text: str = ""  # of the file, as it was read
    search: Search | None = None
    settled: bool = True  # False while a search has yet to say what is compared
    found: tuple[str, ...] = ()  # the variants that it said
    growth: Growth | None = None
    grown: dict[str, int] = field(default_factory=dict)  # variant -> its seeds, where they grow
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
        """Seeds outermost, so that a sweep cut off is balanced. None of what is being tuned."""
        return [*self._trials]

    @cached_property
    def _trials(self) -> tuple[Trial, ...]:
        return _planned(self)

    def seeds_of(self, variant: str) -> int:
        """How many seeds of a variant are planned: the first of all that it may have."""
        return self.grown.get(variant, self.growth.first) if self.growth else len(self.seeds)

    @property
    def distinct(self) -> list[Trial]:
        """The trials to train: each once, under the first variant that it belongs to.

        Variants that differ in their fill alone are one training, which is evaluated for each.
        """
        return [*self._distinct]

    @cached_property
    def _distinct(self) -> tuple[Trial, ...]:
        return _each_once(self._trials)

    def grown_to_all(self) -> Sweep:
        """The sweep with every seed that its variants may grow to."""
        return replace(self, grown=dict.fromkeys(self.variants, len(self.seeds)))

    def trial(self, variant: str, config: Config, seed: int) -> Trial:
        """One variant with one seed, as this sweep plans it."""
        own, keep = self.own(config), self.resources.keep_stable
        trial = Trial(self.name, variant, config, seed, own, self.digest, keep_stable=keep)
        # the trials of a search never read the test set
        if self.evaluate and config.test:
            trial = replace(trial, evaluate=self.evaluate, fills=(self.fill(variant),))
        return trial

    def candidate(self, cell: Cell, variant: str = "", *, searching: bool = True) -> Config:
        """The config of a search's cell: on top of a variant where each is tuned, else of `base`.

        Args:
            searching: as a trial of the search, with its own settings and without the test set;
                else as one of the comparison.

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

    def fill(self, variant: str) -> str:
        """What stands for an absent channel; "" where the file leaves it to the stem."""
        # what a search finds is on top of base
        usual: str = self.base.get("fill") or ""
        return self.fills.get(variant, usual)

    def own(self, config: Config) -> Own:
        """What a trial with this config uses that is not the package's."""
        files = {
            kind.key: self.lookup.user_file(kind, getattr(config, kind.key)).path for kind in KINDS
        }
        key = data_key(config.dataset, config.dataset_digest, config.dataset_options)
        return Own(**files, data=self.lookup.data.get(key))

    def with_data(self, data: dict[str, Data]) -> Sweep:
        """The sweep with what was measured of its data sets, by `data_key`: it enters the ids."""
        variants = {}
        for name, c in self.variants.items():
            measured = data.get(data_key(c.dataset, c.dataset_digest, c.dataset_options))
            variants[name] = replace(c, data=measured.identity) if measured else c
        return replace(self, variants=variants, lookup=replace(self.lookup, data=data))

    def varying(self) -> dict[str, dict[str, Any]]:
        """variant -> the settings in which the variants differ (options by their own names)."""
        flat = {v: _flat(c, self.lookup) for v, c in self.variants.items()}
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


def _planned(sweep: Sweep) -> tuple[Trial, ...]:
    if not sweep.settled and sweep.search and sweep.search.written.mode == "tune":
        return ()
    # what they use is looked up once for each variant
    first = {name: sweep.trial(name, config, 0) for name, config in sweep.variants.items()}
    return tuple(
        replace(first[variant], seed=seed)
        for n, seed in enumerate(sweep.seeds)
        for variant in sweep.variants
        if n < sweep.seeds_of(variant)
    )


def _each_once(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    found: dict[str, Trial] = {}
    for trial in trials:
        first = found.setdefault(trial.id, trial)
        if fills := tuple(fill for fill in trial.fills if fill not in first.fills):
            found[trial.id] = replace(first, fills=first.fills + fills)
    return tuple(found.values())


def _flat(config: Config, lookup: Lookup) -> dict[str, Any]:
    """Every setting by its own name, the options at their defaults too."""
    dropped = {
        "data",
        "compile_version",
        *(k.options for k in KINDS),
        *(k.digest for k in KINDS),
        *(k.version for k in KINDS),
    }
    flat = {key: value for key, value in asdict(config).items() if key not in dropped}
    for kind in KINDS:
        defaults = defaults_of(kind, lookup.file(kind, getattr(config, kind.key)))
        options = {k: plain(v) for k, v in defaults.items()} | getattr(config, kind.options)
        flat |= {space.label(f"{kind.options}.{k}"): v for k, v in options.items()}
    return flat
