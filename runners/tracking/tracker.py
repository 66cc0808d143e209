"""A phase's runs in MLflow, one flat run per trial. MLflow is a view: it can be made again.

    python -m runners.tracking rebuild sweeps/order.yaml

Only the driver writes, so a sweep is one writer however many workers it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from runners.plan import Trial
from runners.store import Epoch, Evaluation, Record
from runners.store.origin import Origin
from runners.tracking import links
from runners.tracking.connection import Connection
from runners.tracking.phase import Phase
from runners.tracking.runs import agrees, is_whole, shows
from runners.tracking.writer import Writer

if TYPE_CHECKING:
    from runners.search.proposal import Proposal


class Tracker:
    """Shows a phase. Only `check` raises; `start`, `log` and `end` do not wait."""

    def __init__(self, phase: Phase, connection: Connection, origin: Origin):
        self.phase, self.connection, self.origin = phase, connection, origin
        self._writer = Writer(phase, connection, origin)

    @property
    def troubled(self) -> bool:
        """Whether something could not be written."""
        return self.connection.troubled

    @property
    def experiment(self) -> str:
        """The id of the phase's experiment; empty until it was found."""
        return self._writer.experiment.experiment_id if self._writer.experiment else ""

    @property
    def command(self) -> str:
        """How to start the UI, or nothing where a server runs."""
        return links.command(self.connection.uri)

    @property
    def link(self) -> str:
        """The page with the charts."""
        return links.charts(self.connection.uri, self.experiment)

    @property
    def charts(self) -> str:
        """How to see them."""
        return f"{self.command}, then {self.link}" if self.command else self.link

    def check(self) -> None:
        """Find the experiment and its runs, before anything is launched.

        Raises:
            SweepError: MLflow cannot be read, or the experiment not be made.
        """
        self.connection.strictly(self._writer.ready)

    def finished_elsewhere(self) -> set[str]:
        """The ids of trials that MLflow shows as finished in other stores."""
        runs = self._writer.runs
        return set() if runs is None else set(runs.finished_elsewhere)

    def learn(self, proposal: Proposal) -> None:
        """A trial that the search proposes, and what it chose."""
        self.phase.add(proposal)

    def reconcile(
        self,
        trials: Iterable[Trial],
        record: Callable[[str], Record | None],
        evaluation: Callable[[str], Evaluation | None] = lambda trial_id: None,
    ) -> None:
        """Make MLflow agree with the store, and wait for it.

        Every ended trial gets its whole run, and no run of a dead driver stays RUNNING.
        """
        self.connection.try_again()
        self.connection.call(self._writer.ready)
        for trial in trials:
            runs = self._writer.runs
            run = runs.get(trial.id) if runs is not None else None
            done = evaluation(trial.id)
            if run is not None and is_whole(run) and shows(run, done):
                continue
            ended = record(trial.id)
            if ended and not (run is not None and agrees(run, ended) and shows(run, done)):
                self._end_and_wait(trial, ended, done)
        self.close()

    def _end_and_wait(self, trial: Trial, record: Record, evaluation: Evaluation | None) -> None:
        self.connection.call(lambda: self._writer.end(trial, record, evaluation))

    def start(self, trial: Trial) -> None:
        """A run for the trial: made, or opened again."""
        self.connection.post(lambda: self._writer.start(trial))

    def log(self, trial: Trial, epochs: list[Epoch]) -> None:
        """The epochs that the run does not have yet, each once."""
        self.connection.post(lambda: self._writer.log(trial, epochs))

    def end(self, trial: Trial, record: Record, evaluation: Evaluation | None = None) -> None:
        """The whole of an ended trial: epochs, final figures, config, evidence."""
        self.connection.post(lambda: self._writer.end(trial, record, evaluation))

    def close(self) -> None:
        """Mark what still reads RUNNING as KILLED, and wait for all that was posted.

        An interrupted trial's run is opened again when the trial goes on.
        """
        self.connection.call(self._writer.close)
