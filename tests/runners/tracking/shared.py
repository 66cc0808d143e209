"""Records, trackers and readers that several tests of this folder use."""

import mlflow

from runners.store.origin import Origin
from runners.tracking import phase
from runners.tracking.connection import connect
from runners.tracking.summary import Summary
from runners.tracking.tracker import Tracker
from tests import records

STORE = "5" * 32  # the identity of a store


def epoch(n: int, ended: int = 1_700_000_000_000):
    row = {"loss": 2.0 / n, "val": 60.0 + n, "ended": ended + n, "sys": {"load": 0.5}}
    return records.epoch(n, **row)


def record(trial, status="finished", ended: int = 1_700_000_000_000):
    return records.record(trial, status, epochs=[epoch(n, ended) for n in (1, 2, 3)])


def connected(uri: str, sweep, store: str = STORE) -> Tracker:
    """A tracker of the comparison, as one start of the command makes it."""
    origin = Origin(sweep.name, store, str(sweep.path))
    return Tracker(phase.comparison(sweep), connect(uri), origin)


def summarise(uri: str, sweep, means: dict, ended: int, files=(), store: str = STORE) -> None:
    origin = Origin(sweep.name, store, str(sweep.path))
    lines = [{"variant": variant, "metrics": metrics} for variant, metrics in means.items()]
    Summary(phase.summary(sweep), connect(uri), origin).write(lines, ended, list(files))


def runs(uri: str, name: str = "tiny"):
    """A client, and the runs of an experiment by variant and seed."""
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    named = {r.data.tags.get("variant", "") + r.data.tags.get("seed", ""): r for r in found}
    assert len(named) == len(found)
    return client, named


def every_run(uri: str, trials_alone: bool = True) -> list:
    """All runs of all experiments that are not deleted; of trials alone."""
    client = mlflow.MlflowClient(uri)
    found = []
    for experiment in client.search_experiments():
        if not (trials_alone and experiment.name.endswith("/summary")):
            found += client.search_runs([experiment.experiment_id])
    return found


def steps(client, run, key="train/loss"):
    return sorted(m.step for m in client.get_metric_history(run.info.run_id, key))
