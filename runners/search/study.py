"""One study: Optuna's journal beside the trials, what it proposed, and what came of that. The one
file that knows Optuna.

A proposal is a function of the seed, its number and the outcomes of all but the last `ahead` trials
before it: on a CPU the same search proposes the same points on every machine, however often it is
killed. The study is kept in Optuna's journal file, for optuna-dashboard and for the next start;
what a trial came to is read from the store.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from runners.plan import Config, Own, Sweep, Trial, space
from runners.plan.space import Cell, Search
from runners.search import journal
from runners.store import Epoch, Record, State, Store

optuna.logging.set_verbosity(optuna.logging.WARNING)

CAP = 20  # proposals per trial: where nearly all are impossible or repeated, a search ends
PATIENCE = (
    3  # proposals in a row that need no training, before one is drawn from the cells not tried yet
)
# macs_m and params_m of a config's network; raises ValueError
Cost = Callable[[Config, Own], dict[str, float]]


@dataclass(frozen=True)
class Proposal:
    """A cell that Optuna proposed, and what came of it.

    `first` is the number of the proposal that had this cell first: its own, unless the answer came
    from the store. `why`: it was not trained.
    """

    number: int
    cell: Cell
    params: dict[str, Any]  # as Optuna keeps them
    trial: Trial | None
    first: int
    cost: dict[str, float]
    variant: str = ""  # the one being tuned
    violation: float = 0.0
    why: str = ""
    record: Record | None = None

    @property
    def trained(self) -> bool:
        """It is one of the budget's trials: neither impossible nor repeated."""
        return self.trial is not None and self.first == self.number

    @property
    def status(self) -> str:
        return "not trained" if self.why else self.record.status if self.record else "not finished"

    @property
    def top1(self) -> float | None:
        """Validation top-1 after the last epoch, if it was trained to the end."""
        return (
            self.record.val_score if self.record and self.record.status == State.FINISHED else None
        )


class Study:
    """One search's proposals so far, and its next; `variant` is the one being tuned, or empty."""

    def __init__(self, sweep: Sweep, variant: str, store: Store, cost: Cost | None = None):
        assert sweep.search
        self.sweep, self.variant, self.store, self.cost = sweep, variant, store, cost
        self.search, self.written = sweep.search, sweep.search.written
        self.key = f"studies/{sweep.name}.journal"
        self.proposals: list[Proposal] = []
        self._study: optuna.Study | None = None
        if store.files.exists(self.key):
            known = {s.study_name for s in optuna.get_all_study_summaries(self._storage)}
            if self.name in known:
                self._study = optuna.load_study(study_name=self.name, storage=self._storage)
                self.proposals = [
                    self._read(kept) for kept in self._study.get_trials(deepcopy=False)
                ]
                for trial in {p.trial.id: p.trial for p in self.proposals if p.trial}.values():
                    self._look(trial)

    @cached_property
    def _storage(self) -> JournalStorage:
        return journal.storage(self.store, self.key)

    @cached_property
    def name(self) -> str:
        """Of the study in its file. What changes a proposal changes it; more `trials` go on with
        the same.
        """
        written = {k: v for k, v in asdict(self.written).items() if k not in ("trials", "confirm")}
        candidates = [
            self.sweep.candidate(cell, self.variant).written() for _, cell in self.search.probes
        ]
        content = json.dumps([written, candidates], sort_keys=True, default=str)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return "-".join(filter(None, (self.sweep.name, self.variant, digest)))

    @property
    def spent(self) -> int:
        """Trials of the budget that were proposed."""
        return sum(p.trained for p in self.proposals)

    @property
    def over(self) -> bool:
        """Nothing more will be proposed."""
        enough = (
            self.spent >= self.written.trials or len(self.proposals) >= CAP * self.written.trials
        )
        return enough or len(self._tried) >= self._size

    @property
    def _tried(self) -> set[str]:
        return {space.name(p.cell) for p in self.proposals}

    @property
    def done(self) -> bool:
        return self.over and all(p.record or p.why for p in self.proposals)

    @cached_property
    def _size(self) -> float:
        cells = self.search.cells
        return float("inf") if cells is None else len(cells)

    def learn(self, record: Record) -> bool:
        """A trial has ended: note it at its proposals, and tell Optuna.

        Returns:
            False: another search has stopped it, which says nothing here; it is to be trained.
        """
        mine = [i for i, p in enumerate(self.proposals) if p.trial and p.trial.id == record.id]
        if mine and record.status == State.PRUNED and record.provenance.get("study") != self.name:
            if self.cost:
                self.store.forget_failure(record.id)
            return False
        for i in mine:
            if self.proposals[i].record is None:
                self._note(i, record)
        return True

    def _look(self, trial: Trial) -> None:
        """Read from the store how the trial ended, if it has."""
        if record := self.store.record(trial.id):
            self.learn(record)

    def _note(self, number: int, record: Record) -> None:
        self.proposals[number] = replace(self.proposals[number], record=record)
        if self.cost and self._study:
            self._tell(self._study, self.proposals[number])

    def next(self) -> Proposal | None:
        """One more proposal; None while outcomes that it has to know are missing."""
        ahead = [p for p in self.proposals if p.trained][-self.written.ahead :]
        if len(ahead) == self.written.ahead and not (ahead[0].record):
            return None
        known = ahead[0].number if len(ahead) == self.written.ahead else -1
        number = len(self.proposals)
        # a repeated cell is one observation; shown again, the sampler would only be surer of it
        history = [
            seen(self.search, p, p.first <= known) for p in self.proposals if p.first == p.number
        ]
        idle = next(
            (i for i, p in enumerate(reversed(self.proposals)) if p.trained), len(self.proposals)
        )
        params = propose(self.search, history, self._tried, number, idle)
        found = self._weigh(number, params)
        self._opened().add_trial(frozen(self.search, found))
        self.proposals.append(found)
        if found.trained and found.trial:
            self._look(found.trial)  # another sweep may have trained it
        elif answer := self.proposals[found.first].record:
            self._note(number, answer)
        return self.proposals[-1]

    def _opened(self) -> optuna.Study:
        if self._study is None:
            self._study = optuna.create_study(
                study_name=self.name,
                storage=self._storage,
                directions=_directions(self.search),
                load_if_exists=True,
            )
            with warnings.catch_warnings(action="ignore"):  # experimental
                self._study.set_metric_names(list(self.search.goals))
        return self._study

    def _weigh(self, number: int, params: dict[str, Any]) -> Proposal:
        """The proposal with its cost, which is exact before training; what is impossible or out of
        bounds is not trained.
        """
        assert self.cost
        cell = decode(self.search, params)
        for p in self.proposals:  # a cell has one cost
            if p.cell == cell:
                return replace(p, number=number, params=params, record=None)
        try:
            config = self.sweep.candidate(cell, self.variant)
            cost = self.cost(config, self.sweep.own(config))
        except Exception as error:  # a convolution of the user's own may raise anything
            return Proposal(number, cell, params, None, number, {}, self.variant, 1.0, told(error))
        violation, why = self.beyond(cost)
        if why:
            return Proposal(number, cell, params, None, number, cost, self.variant, violation, why)
        trial = self._trial(config, cell)
        same = next((p for p in self.proposals if p.trial and p.trial.id == trial.id), None)
        return Proposal(
            number, cell, params, trial, same.first if same else number, cost, self.variant
        )

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

    def _trial(self, config: Config, cell: Cell) -> Trial:
        label = ": ".join(filter(None, (self.variant, space.name(cell))))
        trial = self.sweep.trial(label, config, self.written.seed)
        return replace(trial, sweep=f"{self.sweep.name}/search")

    def _read(self, kept: FrozenTrial) -> Proposal:
        cell = decode(self.search, kept.params)
        attrs = kept.user_attrs
        cost, why = attrs.get("cost", {}), attrs.get("why", "")
        violation = sum(max(v, 0.0) for v in kept.constraints.values())
        trial = None if why else self._trial(self.sweep.candidate(cell, self.variant), cell)
        return Proposal(
            kept.number,
            cell,
            dict(kept.params),
            trial,
            attrs["first"],
            cost,
            self.variant,
            violation,
            why,
        )

    def _tell(self, study: optuna.Study, p: Proposal) -> None:
        """Bring Optuna's own book up to the store's. Tells once."""
        kept = study.get_trials(deepcopy=False)[p.number]
        assert p.record
        if kept.state.is_finished():
            return
        trial = optuna.Trial(study, kept._trial_id)  # the one way to a trial by its number
        for e in p.record.epochs:
            if (
                len(self.search.goals) == 1
                and e.epoch not in kept.intermediate_values
                and e.val_score is not None
            ):
                trial.report(e.val_score, e.epoch)
        trial.set_user_attr("minutes", p.record.minutes)
        if p.record.status == State.FINISHED:
            study.tell(p.number, _values(self.search, p))
        else:
            trial.set_user_attr("reason", p.record.reason)
            study.tell(
                p.number,
                state=TrialState.PRUNED if p.record.status == State.PRUNED else TrialState.FAIL,
            )

    def judge(self, p: Proposal, epochs: list[Epoch]) -> str:
        """Why Optuna's pruner stops the trial of this proposal, which has come to these epochs;
        empty where it does not.
        """
        study = self._opened()
        study.pruner = _pruner(self.search)
        kept = study.get_trials(deepcopy=False)[p.number]
        if kept.state.is_finished():
            return ""
        if why := kept.user_attrs.get("stop"):  # decided before a kill
            return why
        trial = optuna.Trial(study, kept._trial_id)
        assert p.trial
        for e in (
            e for e in epochs if e.epoch not in kept.intermediate_values and e.val_score is not None
        ):
            trial.report(e.val_score or 0.0, e.epoch)
            if e.epoch < p.trial.config.epochs and trial.should_prune():
                after = f"after epoch {e.epoch} of {p.trial.config.epochs}"
                why = f"{self.written.stop} stopped it {after}"
                trial.set_user_attr("stop", why)
                return why
        return ""


def propose(
    search: Search, history: Sequence[FrozenTrial], tried: set[str], number: int, idle: int = 0
) -> dict[str, Any]:
    """The parameters of the proposal with this number: a function of the search's seed, the number
    and the history alone.

    Args:
        history: what was proposed before, each trial once, with the outcomes that may be known.
        tried: the names of all cells that were proposed.
        idle: how many proposals before this needed no training. TPE takes the best of 24 draws and
            repeats itself where it sees no
            better: after such a one it takes a draw as it comes, and after PATIENCE a cell that was
                not tried.
    """
    w, afresh = search.written, idle >= PATIENCE
    seed = int.from_bytes(hashlib.sha256(f"{w.seed} proposal {number}".encode()).digest()[:4])
    if w.sampler == "grid" or (afresh and search.cells is not None):
        left = [
            encode(search, cell) for cell in search.cells or [] if space.name(cell) not in tried
        ]
        return left[0 if w.sampler == "grid" else random.Random(seed).randrange(len(left))]
    tpe = optuna.samplers.TPESampler(seed=seed, n_ei_candidates=1 if idle else 24)
    sampler = tpe if w.sampler == "tpe" and not afresh else optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(directions=_directions(search), sampler=sampler)
    study.add_trials(history)
    trial, cell = study.ask(), {}
    for p in search.parameters:
        if p.active(cell):
            cell[p.name] = _value(p, _suggest(trial, p))
    return dict(trial.params)


def _directions(search: Search) -> list[StudyDirection]:
    return [
        StudyDirection.MAXIMIZE if goal == "val_top1" else StudyDirection.MINIMIZE
        for goal in search.goals
    ]


def told(error: Exception) -> str:
    """An error in one line; its kind, where it is not one that speaks to users."""
    return ("" if isinstance(error, ValueError) else f"{type(error).__name__}: ") + " ".join(
        str(error).split()
    )


def distribution(p: space.Parameter) -> BaseDistribution:
    """A parameter as Optuna knows it."""
    if p.choices:
        return CategoricalDistribution(list(p.labels))
    if p.whole:
        return IntDistribution(int(p.low), int(p.high), log=p.log, step=int(p.step or 1))
    return FloatDistribution(p.low, p.high, log=p.log, step=p.step)


def decode(search: Search, params: dict[str, Any]) -> Cell:
    """Optuna's parameters as the cell that is trained."""
    return {p.name: _value(p, params[p.name]) for p in search.parameters if p.name in params}


def encode(search: Search, cell: Cell) -> dict[str, Any]:
    """A cell as Optuna keeps it."""
    labels = {p.name: {repr(v): k for k, v in p.labels.items()} for p in search.parameters}
    return {key: labels[key].get(repr(value), value) for key, value in cell.items()}


def _suggest(trial: optuna.Trial, p: space.Parameter) -> Any:
    if p.choices:
        return trial.suggest_categorical(p.name, list(p.labels))
    if p.whole:
        return trial.suggest_int(p.name, int(p.low), int(p.high), log=p.log, step=int(p.step or 1))
    return trial.suggest_float(p.name, p.low, p.high, log=p.log, step=p.step)


def _value(p: space.Parameter, value: Any) -> Any:
    return p.labels[value] if p.choices else p.rounded(value)


def seen(search: Search, p: Proposal, known: bool) -> FrozenTrial:
    """A proposal as the sampler sees it; its outcome only if `known`. A diverged training has no
    accuracy, a failed one says nothing.
    """
    if p.why or not known or p.record is None:
        return frozen(search, p)
    state = {
        State.FINISHED: TrialState.COMPLETE,
        State.DIVERGED: TrialState.COMPLETE,
        State.PRUNED: TrialState.PRUNED,
    }.get(p.record.status, TrialState.FAIL)
    values = _values(search, p) if state == TrialState.COMPLETE else None
    reported = (
        {e.epoch: e.val_score for e in p.record.epochs if e.val_score is not None}
        if state == TrialState.PRUNED
        else None
    )
    return create_trial(
        state=state,
        params=p.params,
        distributions=_distributions(search, p),
        values=values,
        intermediate_values=reported,
    )


def frozen(search: Search, p: Proposal) -> FrozenTrial:
    """A proposal for Optuna's book: not trained for a reason, or running."""
    attrs: dict[str, Any] = {"first": p.first, "cost": p.cost, "cell": space.name(p.cell)}
    attrs |= {"why": p.why} if p.why else {"trial": p.trial.id if p.trial else ""}
    state, bounds = (
        (TrialState.PRUNED, {"bounds": p.violation}) if p.why else (TrialState.RUNNING, None)
    )
    return create_trial(
        state=state,
        params=p.params,
        distributions=_distributions(search, p),
        user_attrs=attrs,
        constraints=bounds,
    )


def _distributions(search: Search, p: Proposal) -> dict[str, BaseDistribution]:
    return {
        parameter.name: distribution(parameter)
        for parameter in search.parameters
        if parameter.name in p.params
    }


def _values(search: Search, p: Proposal) -> list[float]:
    assert p.record
    top1 = p.record.val_score if p.record.status == State.FINISHED else 0.0
    return [top1 or 0.0, *(p.cost[goal] for goal in search.goals[1:])]


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.written.stop == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=4, n_warmup_steps=search.written.min_epochs
        )  # epochs count from 1
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=search.written.min_epochs, reduction_factor=3
    )


def importances(study: Study) -> dict[str, float]:
    """parameter -> its share of the variance of validation accuracy over the space (fANOVA); empty
    where too few or too alike.
    """
    book = optuna.create_study(direction="maximize")
    finished = [p for p in study.proposals if p.trained and p.top1 is not None]
    for p in finished:
        book.add_trial(
            create_trial(
                params=p.params, distributions=_distributions(study.search, p), value=p.top1
            )
        )
    if len(finished) < 4 or len({p.top1 for p in finished}) < 2:
        return {}
    return optuna.importance.get_param_importances(
        book, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
