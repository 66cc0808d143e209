"""The part of a store that keeps evaluations: evaluation.json in a trial's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runners.plan import Trial
from runners.store import evaluation
from runners.store.evaluation import Evaluation
from runners.store.locks import TrialLock
from runners.store.place import Place
from runners.store.record import Record


class Evaluations:
    """What finished trials came to under conditions."""

    files: Place
    locked: dict[str, TrialLock]

    def evaluation(self, trial_id: str) -> Evaluation | None:
        """What was made of the trial under conditions; None for none that can be used.

        Raises:
            SweepError: it is of a later version.
            StoreError: it cannot be read.
        """
        try:
            content = self.files.read(_key(trial_id))
        except FileNotFoundError:
            return None
        return evaluation.load(content, trial_id, self.files.address(_key(trial_id)))

    def evaluations(self, trials: Iterable[Trial]) -> dict[str, Evaluation]:
        """trial id -> its evaluation, of the trials that ask for one and have one; read once."""
        ids = dict.fromkeys(trial.id for trial in trials if trial.evaluate)
        found = ((trial_id, self.evaluation(trial_id)) for trial_id in ids)
        return {trial_id: done for trial_id, done in found if done}

    def keep_evaluation(self, made: Evaluation) -> None:
        """Replace a trial's evaluation by this one.

        Raises:
            Held: another process took the trial over, while this one did not renew its lock.
        """
        if made.id in self.locked:
            self.locked[made.id].check()
        self.files.write(_key(made.id), evaluation.write(made))


def lacks(trial: Trial, record: Record | None, done: Evaluation | None) -> bool:
    """Whether the trial has finished, and is not evaluated as it should be."""
    if record is None or record.result is None or trial.evaluate is None:
        return False
    return done is None or not done.covers(trial, record)


def lacking(
    trials: Iterable[Trial], records: Mapping[str, Record], found: Mapping[str, Evaluation]
) -> list[Trial]:
    """The trials that have finished, and are not evaluated as they should be."""
    return [t for t in trials if lacks(t, records.get(t.id), found.get(t.id))]


def _key(trial_id: str) -> str:
    return f"trials/{trial_id}/evaluation.json"
