"""A phase's runs in MLflow, one flat run per trial. MLflow is a view: it can be lost and made
again.

    python -m runners.tracking rebuild sweeps/order.yaml

Only the driver writes, so a sweep is one writer however many workers it has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag

from runners.plan import Trial
from runners.store import Epoch, Record, State
from runners.store.origin import Origin
from runners.tracking import entries, links
from runners.tracking.artifacts import Artifacts
from runners.tracking.connection import Connection
from runners.tracking.experiment import find_or_create
from runners.tracking.phase import Phase
from runners.tracking.runs import COMPLETE, Runs, agrees, is_whole

if TYPE_CHECKING:
    from runners.search.study import Proposal

BATCH = 50  # epochs that are logged at once; MLflow takes 1,000 metrics


class Tracker:
    """Shows a phase. Nothing that it does raises, except `check`; `start`, `log` and `end` do not
    wait.
    """

    def __init__(self, phase: Phase, connection: Connection, origin: Origin):
        self.phase, self.connection, self.origin = phase, connection, origin
        self.experiment: Experiment | None = None
        self._runs: Runs | None = None
        self._failures = 0  # of the connection, when the runs were read
        self._artifacts = Artifacts(connection)

    @property
    def troubled(self) -> bool:
        return self.connection.troubled

    def check(self) -> None:
        """Find the experiment and its runs, before anything is launched.

        Raises:
            SweepError: MLflow cannot be read, or the experiment not be made.
        """
        self.connection.strictly(self._ready)

    def finished_elsewhere(self) -> set[str]:
        """The ids of trials that MLflow shows as finished in other stores."""
        return set() if self._runs is None else set(self._runs.finished_elsewhere)

    @property
    def command(self) -> str:
        """How to start the UI, or nothing where a server runs."""
        return links.command(self.connection.uri)

    @property
    def link(self) -> str:
        """The page with the charts."""
        experiment = self.experiment.experiment_id if self.experiment else ""
        return links.charts(self.connection.uri, experiment)

    @property
    def charts(self) -> str:
        """What to do to see them."""
        return f"{self.command}, then {self.link}" if self.command else self.link

    def learn(self, proposal: Proposal) -> None:
        """A trial that the search proposes, and what it chose."""
        self.phase.add(proposal)

    def reconcile(self, trials: Iterable[Trial], record: Callable[[str], Record | None]) -> None:
        """Make MLflow agree with the store, and wait for it.

        Every ended trial gets its whole run, and no run of a dead driver stays RUNNING.
        """
        self.connection.try_again()
        self.connection.call(self._ready)
        for trial in trials:
            run = self._runs.get(trial.id) if self._runs is not None else None
            if run is not None and is_whole(run):
                continue
            ended = record(trial.id)
            if ended and not (run is not None and agrees(run, ended)):
                self._end_and_wait(trial, ended)
        self.close()

    def _end_and_wait(self, trial: Trial, record: Record) -> None:
        self.connection.call(lambda: self._end(trial, record))

    def start(self, trial: Trial) -> None:
        """A run for the trial: made, or opened again."""
        self.connection.post(lambda: self._start(trial))

    def log(self, trial: Trial, epochs: list[Epoch]) -> None:
        """The epochs that the run does not have yet, each once."""
        self.connection.post(lambda: self._log(trial, epochs))

    def end(self, trial: Trial, record: Record) -> None:
        """The whole of an ended trial: epochs, final figures, config, evidence."""
        self.connection.post(lambda: self._end(trial, record))

    def close(self) -> None:
        """Mark what still reads RUNNING as KILLED, and wait for all that was posted.

        An interrupted trial's run is opened again when the trial goes on.
        """
        self.connection.call(self._close)

    # below: tasks of the connection, in its thread

    def _ready(self) -> Runs:
        """The experiment's runs, read again after a failure: an answer may have been lost."""
        client, failures = self.connection.client, self.connection.failures
        if self._runs is None or self._failures != failures:
            self.experiment = find_or_create(client, self.connection.uri, self.phase, self.origin)
            self._runs = Runs(client, self.experiment.experiment_id, self.phase, self.origin.store)
            self._failures = failures
        return self._runs

    def _start(self, trial: Trial) -> None:
        runs = self._ready()
        run = runs.get(trial.id)
        if run is None:
            # a run that may be the trial's is recognised by its epochs, with the first that come
            if not runs.may_be_known(trial):
                self._create(trial)
        elif run.info.status != "RUNNING":
            self._reopen(trial, run)

    def _reopen(self, trial: Trial, run: Run) -> None:
        client, run_id = self.connection.client, run.info.run_id
        if COMPLETE in run.data.tags:
            client.delete_tag(run_id, COMPLETE)
        client.log_batch(
            run_id, tags=[RunTag("status", str(State.RUNNING))], params=self._params(trial)
        )
        client.update_run(run_id, status="RUNNING")
        self._refresh(trial)

    def _create(self, trial: Trial) -> Run:
        # run and tags come into being together, so that a kill leaves no run without its trial
        assert self.experiment
        client, tags = self.connection.client, entries.first_tags(trial, self.origin.store)
        run = client.create_run(self.experiment.experiment_id, tags=tags, run_name=trial.name)
        self._ready()[trial.id] = run
        client.log_batch(run.info.run_id, params=self._params(trial))
        return run

    def _log(self, trial: Trial, epochs: list[Epoch]) -> Run:
        runs = self._ready()
        run = runs.get(trial.id) or runs.recognise(trial, epochs) or self._create(trial)
        have = runs.epochs(run)
        new = [e for e in epochs if e.epoch not in have]
        # whole epochs at a time, since one metric of an epoch stands for all
        for i in range(0, len(new), BATCH):
            batch = new[i : i + BATCH]
            metrics = [m for e in batch for m in entries.epoch_metrics(e)]
            self.connection.client.log_batch(run.info.run_id, metrics=metrics)
            have.update((e.epoch, e.ended) for e in batch)
        return run

    def _end(self, trial: Trial, record: Record) -> None:
        client = self.connection.client
        run_id = self._log(trial, record.epochs).info.run_id
        ended = record.epochs[-1].ended if record.epochs else time.time_ns() // 1_000_000
        finals = entries.final_metrics(record.result) if record.result else {}
        finals |= self.phase.costs.get(trial.variant, {})
        if finals:
            # step 0: bars in the UI
            client.log_batch(run_id, metrics=[Metric(k, v, ended, 0) for k, v in finals.items()])
        tags = [RunTag(k, v) for k, v in entries.final_tags(record).items()]
        client.log_batch(run_id, tags=tags, params=self._params(trial))
        if digest := record.provenance.get("data"):
            self._log_dataset(run_id, trial.config.dataset, str(digest))
        config = json.dumps(record.config | {"seed": record.seed}, indent=1)
        self._artifacts.log_text(self._ready()[trial.id], config, "config.json")
        client.set_tag(run_id, COMPLETE, "yes")
        client.set_terminated(run_id, entries.STATUS[record.status], ended)
        self._refresh(trial)

    def _log_dataset(self, run_id: str, name: str, digest: str) -> None:
        source = json.dumps({"name": name})
        dataset = Dataset(name=name, digest=digest, source_type="runners.data", source=source)
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        self.connection.client.log_inputs(run_id, [used])

    def _close(self) -> None:
        client = self.connection.client
        for key, run in self._ready().items():
            if run.info.status == "RUNNING":
                client.set_tag(run.info.run_id, "status", "interrupted")
                client.set_terminated(run.info.run_id, "KILLED")
                self._ready()[key] = client.get_run(run.info.run_id)

    def _params(self, trial: Trial) -> list[Param]:
        return [Param(key, value) for key, value in self.phase.params_of(trial).items()]

    def _refresh(self, trial: Trial) -> None:
        runs = self._ready()
        runs[trial.id] = self.connection.client.get_run(runs[trial.id].info.run_id)
