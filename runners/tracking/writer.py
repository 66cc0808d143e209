"""The requests behind a tracker: each method is a task, to be run in the connection's thread."""

from __future__ import annotations

import json
import time

from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag

from runners.plan import Trial
from runners.store import Epoch, Evaluation, Record, State
from runners.store import evaluation as evaluations
from runners.store.origin import Origin
from runners.tracking import entries, view
from runners.tracking.artifacts import Artifacts
from runners.tracking.connection import Connection
from runners.tracking.experiment import find_or_create
from runners.tracking.phase import Phase
from runners.tracking.runs import COMPLETE, Runs

BATCH = 50  # epochs that are logged at once; MLflow takes 1,000 metrics


class Writer:
    """Writes the runs of a phase. `runs` is None until they were read, for the first time or
    again.
    """

    def __init__(self, phase: Phase, connection: Connection, origin: Origin):
        self.phase, self.connection, self.origin = phase, connection, origin
        self.experiment: Experiment | None = None
        self.runs: Runs | None = None
        self._failures = 0  # of the connection, when the runs were read
        self._artifacts = Artifacts(connection)

    def ready(self) -> Runs:
        """The experiment's runs, read again after a failure: an answer may have been lost."""
        client, failures = self.connection.client, self.connection.failures
        if self.runs is None or self._failures != failures:
            self.experiment = find_or_create(client, self.connection.uri, self.phase, self.origin)
            self._keep_view(self.experiment)
            self.runs = Runs(client, self.experiment.experiment_id, self.phase, self.origin.store)
            self._failures = failures
        return self.runs

    def _keep_view(self, experiment: Experiment) -> None:
        """Let the experiment open as the link to its charts says; a view of a user's own stays."""
        wanted = view.saved(self.phase)
        if experiment.tags.get(view.TAG) != wanted and len(wanted) <= view.LONGEST:
            self.connection.client.set_experiment_tag(experiment.experiment_id, view.TAG, wanted)

    def start(self, trial: Trial) -> None:
        """A run for the trial: made, or opened again."""
        runs = self.ready()
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
        tags |= self._colour(trial)
        run = client.create_run(self.experiment.experiment_id, tags=tags, run_name=trial.name)
        self.ready()[trial.id] = run
        client.log_batch(run.info.run_id, params=self._params(trial))
        return run

    def log(self, trial: Trial, epochs: list[Epoch]) -> Run:
        """The epochs that the trial's run does not have yet, each once."""
        runs = self.ready()
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

    def end(self, trial: Trial, record: Record, evaluation: Evaluation | None = None) -> None:
        """The whole of an ended trial; the tag COMPLETE is its last part but the status."""
        client = self.connection.client
        run_id = self.log(trial, record.epochs).info.run_id
        ended = record.epochs[-1].ended if record.epochs else time.time_ns() // 1_000_000
        finals = entries.final_metrics(record.result) if record.result else {}
        finals |= entries.condition_metrics(trial, evaluation) if evaluation else {}
        finals |= self.phase.costs.get(trial.variant, {})
        if finals:
            # step 0: bars in the UI
            client.log_batch(run_id, metrics=[Metric(k, v, ended, 0) for k, v in finals.items()])
        said = entries.final_tags(record) | self._colour(trial)
        if evaluation:
            said[entries.EVALUATION] = evaluations.digest(evaluation)
        tags = [RunTag(key, value) for key, value in said.items()]
        client.log_batch(run_id, tags=tags, params=self._params(trial))
        if digest := record.provenance.get("data"):
            self._log_dataset(run_id, trial.config.dataset, str(digest))
        config = json.dumps(record.config | {"seed": record.seed}, indent=1)
        self._artifacts.log_text(self.ready()[trial.id], config, "config.json")
        client.set_tag(run_id, COMPLETE, "yes")
        client.set_terminated(run_id, entries.STATUS[record.status], ended)
        self._refresh(trial)

    def _log_dataset(self, run_id: str, name: str, digest: str) -> None:
        source = json.dumps({"name": name})
        dataset = Dataset(name=name, digest=digest, source_type="runners.data", source=source)
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        self.connection.client.log_inputs(run_id, [used])

    def close(self) -> None:
        """Mark what still reads RUNNING as KILLED."""
        client, runs = self.connection.client, self.ready()
        for key, run in runs.items():
            if run.info.status == "RUNNING":
                client.set_tag(run.info.run_id, "status", "interrupted")
                client.set_terminated(run.info.run_id, "KILLED")
                runs[key] = client.get_run(run.info.run_id)

    def _colour(self, trial: Trial) -> dict[str, str]:
        """The tag that colours the run in the charts, as its variant has it in our figures."""
        shade = self.phase.colours.get(trial.variant)
        return {"mlflow.runColor": shade} if shade else {}

    def _params(self, trial: Trial) -> list[Param]:
        return [Param(key, value) for key, value in self.phase.params_of(trial).items()]

    def _refresh(self, trial: Trial) -> None:
        runs = self.ready()
        runs[trial.id] = self.connection.client.get_run(runs[trial.id].info.run_id)
