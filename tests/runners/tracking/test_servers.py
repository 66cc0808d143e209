"""MLflow as a server that goes away and comes back, and on PostgreSQL."""

import importlib.util
from dataclasses import replace

import mlflow
import pytest

from runners.plan import load
from runners.store import Store
from runners.trial.run import run
from tests.runners.test_sweep import finish, start
from tests.runners.tracking.shared import connected
from tests.servers import Postgres, Server


def runs(uri: str, sweep: str) -> dict[str, tuple[str, list[int]]]:
    """name -> (status, steps of train/loss)"""
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(sweep).experiment_id])
    assert len({r.info.run_name for r in found}) == len(found)
    return {
        r.info.run_name: (
            r.info.status,
            [m.step for m in client.get_metric_history(r.info.run_id, "train/loss")],
        )
        for r in found
    }


def test_a_server_that_goes_away_misses_nothing_in_the_end(
    write_sweep, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("runners.tracking.connection.QUIET_S", 1.0)
    sweep, store = load(write_sweep(seeds=1)), Store(tmp_path / "runs")
    server = Server(tmp_path)
    try:
        tracker = connected(server.uri, sweep, store.identity)
        first, second = sweep.trials
        rows = [epoch for epochs in run(first, store, device="cpu") for epoch in epochs]
        tracker.start(first)
        tracker.log(first, rows[:1])
        tracker.connection.call(lambda: None)
        server.stop()
        tracker.log(first, rows[1:])
        tracker.end(first, store.record(first.id))
        tracker.start(second)
        tracker.connection.call(lambda: None)
        assert capsys.readouterr().err.count("MLflow: training goes on") == 1
        server.start()
        list(run(second, store, device="cpu"))
        tracker.reconcile(
            sweep.trials, store.record
        )  # as the end of the sweep, and its next start, do
        assert runs(server.uri, sweep.name) == {t.name: ("FINISHED", [1, 2]) for t in sweep.trials}
        again = connected(server.uri, replace(sweep, question="again"), store.identity)
        again.reconcile(sweep.trials, store.record)
        assert runs(server.uri, sweep.name) == {t.name: ("FINISHED", [1, 2]) for t in sweep.trials}
    finally:
        server.stop()


@pytest.mark.skipif(
    not Postgres.program("initdb") or not importlib.util.find_spec("psycopg"),
    reason="needs PostgreSQL and psycopg",
)
def test_mlflow_on_postgresql(write_sweep):
    path = write_sweep(seeds=1)
    database = Postgres()
    try:
        code, out = finish(start(path, "--tracking-uri", database.uri), path)
        assert code == 0 and "MLflow:" not in out.replace("; MLflow: ", "; "), out
        assert runs(database.uri, "tiny") == {
            t.name: ("FINISHED", [1, 2]) for t in load(path).trials
        }
    finally:
        database.stop()
