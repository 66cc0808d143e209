"""What Optuna's samplers propose: a function of the seed, the number and the history alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from runners.plan import space
from runners.plan.space import Cell, Search
from runners.search.proposal import Proposal
from runners.store import State

# proposals in a row that need no training, before one is drawn from the cells not tried yet
PATIENCE = 3


def propose(
    search: Search, history: Sequence[FrozenTrial], tried: set[str], number: int, idle: int = 0
) -> dict[str, Any]:
    """The parameters of the proposal with this number: a function of the search's seed, the number
    and the history alone.

    Args:
        history: what was proposed before, each trial once, with the outcomes that may be known.
        tried: the names of all cells that were proposed.
        idle: how many proposals before this needed no training. TPE takes the best of 24 draws and
            repeats itself where it sees no better: after such a one it takes a draw as it comes,
            and after PATIENCE a cell that was not tried.
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
    study = optuna.create_study(directions=directions(search), sampler=sampler)
    study.add_trials(history)
    trial, cell = study.ask(), {}
    for p in search.parameters:
        if p.active(cell):
            cell[p.name] = _value(p, _suggest(trial, p))
    return dict(trial.params)


def directions(search: Search) -> list[StudyDirection]:
    """Which way each goal is better."""
    return [
        StudyDirection.MAXIMIZE if goal == "val_top1" else StudyDirection.MINIMIZE
        for goal in search.goals
    ]


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
    outcome = values(search, p) if state == TrialState.COMPLETE else None
    reported = (
        {e.epoch: e.val_score for e in p.record.epochs if e.val_score is not None}
        if state == TrialState.PRUNED
        else None
    )
    return create_trial(
        state=state,
        params=p.params,
        distributions=distributions(search, p),
        values=outcome,
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
        distributions=distributions(search, p),
        user_attrs=attrs,
        constraints=bounds,
    )


def distributions(search: Search, p: Proposal) -> dict[str, BaseDistribution]:
    """The parameters that are active in a proposal, as Optuna knows them."""
    return {
        parameter.name: distribution(parameter)
        for parameter in search.parameters
        if parameter.name in p.params
    }


def values(search: Search, p: Proposal) -> list[float]:
    """What a finished trial came to, a number for each goal; a diverged one has no accuracy."""
    assert p.record
    score = p.record.val_score if p.record.status == State.FINISHED else 0.0
    return [score or 0.0, *(p.cost[goal] for goal in search.goals[1:])]
