"""The runs of an experiment that are ours: by our tags, or because they show the same training.

A run is a trial's if its tags `store` and `trial` say so. Tags can be removed in the UI, and a
store can lose its identity; then a run is recognised by the times at which its epochs ended, which
only the training that this store has in its records can have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from mlflow.entities import Run

from runners.plan import Trial
from runners.store import Epoch, Evaluation, Record
from runners.store.evaluation import digest
from runners.tracking.entries import EPOCH_KEY, EVALUATION, STATUS, final_tags
from runners.tracking.experiment import search_runs
from runners.tracking.phase import Phase

COMPLETE = "complete"  # a tag: set last, when all of an ended trial is in its run


class Runs(dict[str, Run]):
    """trial id -> its run. `strangers` may be of our trials, but do not say so.

    Must be made and used in a task of the connection.
    """

    def __init__(self, client: Any, experiment: str, phase: Phase, store: str):
        super().__init__()
        self.client, self.store, self.phase = client, store, phase
        self.strangers: dict[tuple[str, str], list[Run]] = defaultdict(list)
        self.finished_elsewhere: set[str] = set()  # trials that other stores have finished
        self._epochs: dict[str, dict[int, int]] = {}
        planned = {t.id: t for t in phase.trials}
        for run in search_runs(client, experiment):
            self._sort(run, planned)

    def _sort(self, run: Run, planned: dict[str, Trial]) -> None:
        tags, params = run.data.tags, run.data.params
        trial_id = tags.get("trial", "")
        if tags.get("store") != self.store or not trial_id:
            names = (params.get("variant", ""), params.get("seed", ""))
            self.strangers[names].append(run)
            if run.info.status == "FINISHED" and trial_id:
                self.finished_elsewhere.add(trial_id)
            return
        trial = planned.get(trial_id)
        wanted = self.phase.params_of(trial) if trial else {}
        # a param cannot be changed, so a renamed variant gets a run of its new name
        if any(params.get(key, value) != value for key, value in wanted.items()):
            self.client.delete_run(run.info.run_id)
        elif twin := self.get(trial_id):
            # a server's answer was lost, and the run made again
            less, more = sorted((twin, run), key=is_whole)
            self.client.delete_run(less.info.run_id)
            self[trial_id] = more
        else:
            self[trial_id] = run

    def epochs(self, run: Run) -> dict[int, int]:
        """The epochs that a run has, with the times at which they ended; read once."""
        run_id = run.info.run_id
        if run_id not in self._epochs:
            history = self.client.get_metric_history(run_id, EPOCH_KEY)
            self._epochs[run_id] = {m.step: m.timestamp for m in history}
        return self._epochs[run_id]

    def may_be_known(self, trial: Trial) -> bool:
        """Whether a run that does not say so may be the trial's."""
        return bool(self.strangers.get((trial.variant, str(trial.seed))))

    def recognise(self, trial: Trial, epochs: Iterable[Epoch]) -> Run | None:
        """A run that shows this very training: all its epochs ended when ours did."""
        times = {e.epoch: e.ended for e in epochs}
        for run in self.strangers.get((trial.variant, str(trial.seed)), []):
            shown = self.epochs(run)
            if shown and all(times.get(epoch) == at for epoch, at in shown.items()):
                return self._adopt(run, trial)
        return None

    def _adopt(self, run: Run, trial: Trial) -> Run:
        self.strangers[trial.variant, str(trial.seed)].remove(run)
        tags = {"trial": trial.id, "store": self.store}
        # a whole run that names another store stays as it is: it may be a copy of ours
        if is_whole(run) and run.data.tags.get("store", self.store) != self.store:
            tags = {}
        for key, value in tags.items():
            if run.data.tags.get(key) != value:
                self.client.set_tag(run.info.run_id, key, value)
        self[trial.id] = run
        return run


def is_whole(run: Run) -> bool:
    """Whether the whole of a finished trial was written; it stays so."""
    return run.info.status == "FINISHED" and COMPLETE in run.data.tags


def shows(run: Run, evaluation: Evaluation | None) -> bool:
    """Whether the figures of this evaluation were written."""
    return evaluation is None or run.data.tags.get(EVALUATION) == digest(evaluation)


def agrees(run: Run, record: Record) -> bool:
    """Whether the whole of this record was written; a trial that failed can be run again."""
    wanted = final_tags(record)
    same = all(run.data.tags.get(key) == wanted[key] for key in ("status", "reason"))
    return same and COMPLETE in run.data.tags and run.info.status == STATUS[record.status]
