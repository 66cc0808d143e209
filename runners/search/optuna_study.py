"""A study as Optuna keeps it in its journal: for optuna-dashboard, and for the next start."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from runners.plan.space import Search
from runners.search import journal
from runners.search.proposal import Proposal
from runners.search.sampler import directions, frozen, values
from runners.store import Epoch, State, Store

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaStudy:
    """One study of the journal at `key`; it is made there with its first proposal.

    Raises:
        SweepError: the journal is damaged.
        StoreError: it cannot be read or written.
    """

    def __init__(self, search: Search, name: str, store: Store, key: str):
        self.search, self.name, self.store, self.key = search, name, store, key
        self._study: optuna.Study | None = None
        if store.files.exists(key):
            known = {s.study_name for s in optuna.get_all_study_summaries(self.storage)}
            if name in known:
                self._study = optuna.load_study(study_name=name, storage=self.storage)

    @cached_property
    def storage(self) -> JournalStorage:
        """The whole journal, which has the other studies of the sweep as well."""
        return journal.storage(self.store, self.key)

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """One for each proposal, in their order."""
        return self._study.get_trials(deepcopy=False) if self._study else []

    def add(self, p: Proposal) -> None:
        """Write the next proposal down."""
        self._made().add_trial(frozen(self.search, p))

    def _made(self) -> optuna.Study:
        if self._study is None:
            self._study = optuna.create_study(
                study_name=self.name,
                storage=self.storage,
                directions=directions(self.search),
                load_if_exists=True,
            )
            with warnings.catch_warnings(action="ignore"):  # experimental
                self._study.set_metric_names(list(self.search.goals))
        return self._study

    def tell(self, p: Proposal) -> None:
        """Write down how the proposal's trial ended; once."""
        assert p.record
        study, kept = self._made(), self.trials[p.number]
        if kept.state.is_finished():
            return
        trial = optuna.Trial(study, kept._trial_id)  # the one way to a trial by its number
        # Optuna takes no reports where there are several goals
        epochs = p.record.epochs if len(self.search.goals) == 1 else []
        for e in epochs:
            if e.epoch not in kept.intermediate_values and e.val_score is not None:
                trial.report(e.val_score, e.epoch)
        trial.set_user_attr("minutes", p.record.minutes)
        if p.record.status == State.FINISHED:
            study.tell(p.number, values(self.search, p))
            return
        trial.set_user_attr("reason", p.record.reason)
        pruned = p.record.status == State.PRUNED
        study.tell(p.number, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def judge(self, p: Proposal, epochs: list[Epoch]) -> str:
        """Why Optuna's pruner stops the proposal's trial after these epochs; empty: it does not."""
        study = self._made()
        study.pruner = _pruner(self.search)
        kept = self.trials[p.number]
        if kept.state.is_finished():
            return ""
        if why := kept.user_attrs.get("stop"):  # decided before a kill
            return why
        trial = optuna.Trial(study, kept._trial_id)
        assert p.trial
        for e in epochs:
            if e.epoch in kept.intermediate_values or e.val_score is None:
                continue
            trial.report(e.val_score, e.epoch)
            if e.epoch < p.trial.config.epochs and trial.should_prune():
                after = f"after epoch {e.epoch} of {p.trial.config.epochs}"
                why = f"{self.search.written.stop} stopped it {after}"
                trial.set_user_attr("stop", why)
                return why
        return ""


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.written.stop == "median":
        # epochs count from 1
        return optuna.pruners.MedianPruner(
            n_startup_trials=4, n_warmup_steps=search.written.min_epochs
        )
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=search.written.min_epochs, reduction_factor=3
    )
