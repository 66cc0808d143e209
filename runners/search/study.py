"""One study: what was proposed, what came of it, and what is proposed next.

A proposal is a function of the seed, its number and the outcomes of all but the last `ahead` trials
before it: on a CPU the same search proposes the same points on every machine, however often it is
killed. What was proposed is in Optuna's journal; what a trial came to is read from the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial

from runners.plan import Config, Own, Sweep, Trial, space
from runners.plan.space import Cell
from runners.search.optuna_study import OptunaStudy
from runners.search.proposal import Proposal
from runners.search.sampler import decode, propose, seen
from runners.store import Epoch, Record, State, Store

CAP = 20  # proposals per trial: where nearly all are impossible or repeated, a search ends
# macs_m and params_m of a config's network; raises ValueError
Cost = Callable[[Config, Own], dict[str, float]]


def trainable(sweep: Sweep, cell: Cell, variant: str) -> Config:
    """The config of a cell's trial in the search.

    Raises:
        SweepError: the cell's settings cannot go together, there or in the comparison, which has
            epochs of its own and would train the cell again.
    """
    sweep.candidate(cell, variant, searching=False)
    return sweep.candidate(cell, variant)


class Study:
    """One search's proposals so far, and its next; `variant` is the one being tuned, or empty."""

    def __init__(self, sweep: Sweep, variant: str, store: Store, cost: Cost | None = None):
        assert sweep.search
        self.sweep, self.variant, self.store, self.cost = sweep, variant, store, cost
        self.search, self.written = sweep.search, sweep.search.written
        self.kept = OptunaStudy(self.search, self.name, store, f"studies/{sweep.name}.journal")
        self.proposals = [self._read(trial) for trial in self.kept.trials]
        for trial in {p.trial.id: p.trial for p in self.proposals if p.trial}.values():
            self._look(trial)

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
        if self.cost:
            self.kept.tell(self.proposals[number])

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
        self.kept.add(found)
        self.proposals.append(found)
        if found.trained and found.trial:
            self._look(found.trial)  # another sweep may have trained it
        elif answer := self.proposals[found.first].record:
            self._note(number, answer)
        return self.proposals[-1]

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
            config = trainable(self.sweep, cell, self.variant)
            cost = self.cost(config, self.sweep.own(config))
        except Exception as error:  # a convolution of the user's own may raise anything
            return Proposal(number, cell, params, None, number, {}, self.variant, 1.0, told(error))
        violation, why = self.search.beyond(cost)
        if why:
            return Proposal(number, cell, params, None, number, cost, self.variant, violation, why)
        trial = self._trial(config, cell)
        same = next((p for p in self.proposals if p.trial and p.trial.id == trial.id), None)
        return Proposal(
            number, cell, params, trial, same.first if same else number, cost, self.variant
        )

    def judge(self, p: Proposal, epochs: list[Epoch]) -> str:
        """Why Optuna's pruner stops the proposal's trial after these epochs; empty: it does not."""
        return self.kept.judge(p, epochs)

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


def told(error: Exception) -> str:
    """An error in one line; its kind, where it is not one that speaks to users."""
    return ("" if isinstance(error, ValueError) else f"{type(error).__name__}: ") + " ".join(
        str(error).split()
    )
