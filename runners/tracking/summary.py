"""Means over seeds and the report, in an experiment beside the trials': `<sweep>/summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.entities import Experiment, Metric, Run

from runners.store.origin import Origin
from runners.tracking.artifacts import Artifacts
from runners.tracking.connection import Connection
from runners.tracking.experiment import find_or_create, search_runs
from runners.tracking.phase import Phase

REPORT = "report"  # the name of the run that has the files; its variant is ""


class Summary:
    """Writes a sweep's summary. Only runs that this store made are changed or deleted."""

    def __init__(self, phase: Phase, connection: Connection, origin: Origin):
        self.phase, self.connection, self.origin = phase, connection, origin
        self._artifacts = Artifacts(connection)

    def write(self, lines: list[dict[str, Any]], ended: int, files: list[Path]) -> None:
        """Make the summary say this, and wait for it; does not raise.

        Args:
            lines: {"variant", "metrics"} each; a metric may be None.
            ended: when the last trial ended, in ms since 1970; the same figures have the same time.
            files: the report.
        """
        means = {}
        for line in lines:
            known = {k: float(v) for k, v in line["metrics"].items() if v is not None}
            means[line["variant"]] = known
        self.connection.call(lambda: self._write(means, ended, files))

    def _write(self, means: dict[str, dict[str, float]], ended: int, files: list[Path]) -> None:
        client = self.connection.client
        experiment = find_or_create(client, self.connection.uri, self.phase, self.origin)
        left = means | {"": {}}
        for run in self._mine(experiment):
            variant = run.data.tags.get("variant", "")
            # a metric's history cannot be taken back: figures that changed get a new run
            if self._stays(run, variant, left, files):
                del left[variant]
                self._artifacts.log_files(run, [] if variant else files)
            else:
                client.delete_run(run.info.run_id)
        for variant, metrics in left.items():
            self._create(experiment, variant, metrics, ended, [] if variant else files)

    def _mine(self, experiment: Experiment) -> list[Run]:
        """The runs that this store made; before they were tagged, those that only it can have
        made.
        """
        runs = list(search_runs(self.connection.client, experiment.experiment_id))
        mark = f"store.{self.origin.store}"
        alone = {key for key in experiment.tags if key.startswith("store.")} <= {mark}
        mine = []
        for run in runs:
            store = run.data.tags.get("store")
            untagged = store is None and "variant" in run.data.tags
            if store == self.origin.store or (untagged and alone and _is_named_by_us(run)):
                mine.append(run)
        return mine

    def _stays(self, run: Run, variant: str, left: dict, files: list[Path]) -> bool:
        if variant not in left or run.data.tags.get("store") != self.origin.store:
            return False
        if variant:
            return run.data.metrics == left[variant]
        # files are overwritten, but not taken away
        return self._artifacts.names(run) <= {file.name for file in files}

    def _create(
        self,
        experiment: Experiment,
        variant: str,
        metrics: dict[str, float],
        ended: int,
        files: list[Path],
    ) -> None:
        client = self.connection.client
        tags = {"variant": variant, "store": self.origin.store, "sweep": self.phase.tag}
        run = client.create_run(experiment.experiment_id, tags=tags, run_name=variant or REPORT)
        batch = [Metric(key, value, ended, 0) for key, value in metrics.items()]
        client.log_batch(run.info.run_id, metrics=batch)
        self._artifacts.log_files(run, files)
        client.set_terminated(run.info.run_id)


def _is_named_by_us(run: Run) -> bool:
    return run.info.run_name == (run.data.tags["variant"] or REPORT)
