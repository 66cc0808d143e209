"""MLflow agrees with the store, however often and from wherever it is written."""

import shutil
from collections import Counter
from dataclasses import replace

import mlflow
import pytest

from runners.plan import load
from runners.search import searching as search
from runners.search.searching import Searching
from runners.store import Store
from runners.tracking import __main__ as rebuilding
from runners.tracking import writer
from tests.runners.tracking.shared import (
    connected,
    epoch,
    record,
    runs,
    steps,
    summarise,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep())


def test_a_trials_run_is_flat_named_and_complete(sweep, uri):
    trial = sweep.trials[1]
    tracker = connected(uri, sweep)
    tracker.start(trial)
    tracker.log(trial, [epoch(1)])
    tracker.log(trial, [epoch(2), epoch(3)])
    tracker.end(trial, record(trial))
    tracker.close()
    assert not tracker.troubled
    client, found = runs(uri)
    run = found["S+C0"]
    assert run.info.run_name == "S+C seed0" and run.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in run.data.tags
    params = {k: run.data.params[k] for k in ("variant", "backbone", "dataset", "epochs", "conv")}
    assert params == {
        "variant": "S+C",
        "backbone": "resnet20",
        "dataset": "synthetic",
        "epochs": "2",
        "conv": "scconv",
    }
    keys = {"train/loss", "val/loss", "val/top1", "lr", "test/top1", "test/top5", "sys/load"}
    keys |= {f"cost/{k}" for k in ("params_m", "macs_m", "images_per_s", "peak_memory_gb")}
    assert keys | {"cost/minutes"} <= set(run.data.metrics)
    assert steps(client, run) == [1, 2, 3] and steps(client, run, "test/top1") == [0]
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.digest, used.dataset.name) == ("d1", "synthetic")
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["config.json"]
    note = client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"]
    assert sweep.question in note


def test_telling_it_again_adds_nothing(sweep, uri):
    trial = sweep.trials[0]
    # three starts of the driver; each sends the checkpoint's epochs again, one at another time
    for _ in range(3):
        tracker = connected(uri, sweep)
        tracker.start(trial)
        tracker.log(trial, [epoch(1), epoch(2)])
        tracker.log(trial, [replace(epoch(2), ended=5)])
        tracker.connection.call(lambda: None)
    tracker.end(trial, record(trial))
    tracker.end(trial, record(trial))
    tracker.close()
    client, found = runs(uri)
    assert len(found) == 1 and steps(client, found["R200"]) == [1, 2, 3]
    assert steps(client, found["R200"], "test/top1") == [0]


def test_reconcile_completes_what_the_store_has_and_closes_orphans(sweep, uri):
    done, orphan, failed, _ = sweep.trials
    tracker = connected(uri, sweep)
    tracker.start(done)
    tracker.log(done, [epoch(1)])
    tracker.start(orphan)
    tracker.connection.call(lambda: None)
    records = {done.id: record(done), failed.id: record(failed, "diverged")}
    again = connected(uri, sweep)
    again.reconcile(sweep.trials, records.get)
    client, found = runs(uri)
    statuses = {"R200": "FINISHED", "S+C0": "KILLED", "R201": "FAILED"}
    assert {k: r.info.status for k, r in found.items()} == statuses
    assert steps(client, found["R200"]) == [1, 2, 3] and found["R201"].data.tags["reason"] == "why"
    again.start(orphan)
    again.connection.call(lambda: None)
    assert runs(uri)[1]["S+C0"].info.status == "RUNNING"
    again.close()
    assert runs(uri)[1]["S+C0"].info.status == "KILLED"


def test_a_failed_trial_that_is_run_again_shows_its_new_end(sweep, uri):
    trial = sweep.trials[0]
    connected(uri, sweep).reconcile([trial], {trial.id: record(trial, "failed")}.get)
    tracker = connected(uri, sweep)
    written = []
    tracker._end_and_wait = lambda *pair: written.append(pair)
    tracker.reconcile([trial], {trial.id: record(trial, "failed")}.get)
    assert not written, "what is there already is not written at every start"
    connected(uri, sweep).reconcile([trial], {trial.id: record(trial)}.get)
    client, found = runs(uri)
    assert found["R200"].info.status == "FINISHED" and steps(client, found["R200"]) == [1, 2, 3]


def test_summary_is_in_a_sibling_experiment_and_idempotent(sweep, uri, tmp_path):
    (tmp_path / "table.md").write_text("x")
    for _ in range(2):
        means = {"R20": {"n": 2.0, "test/top1_mean": 90.0}}
        summarise(uri, sweep, means, 1_700_000_000_000, [tmp_path / "table.md"])
        client, found = runs(uri, "tiny/summary")
        assert set(found) == {"R20", ""} and steps(client, found["R20"], "test/top1_mean") == [0]
        report = found[""].info.run_id
        assert [a.path for a in client.list_artifacts(report)] == ["table.md"]
    deleted = client.search_runs([found[""].info.experiment_id], "", 2)
    assert not deleted, "the same figures keep their runs"


def test_figures_that_changed_replace_the_summary(sweep, uri):
    before = {v: {"n": 3.0, "test/top1_mean": 5.0} for v in ("R20", "gone")}
    summarise(uri, sweep, before, 2000)
    summarise(uri, sweep, {"R20": {"n": 2.0, "test/top1_mean": -1.0}}, 1000)
    _, found = runs(uri, "tiny/summary")
    assert set(found) == {"R20", ""}
    assert found["R20"].data.metrics == {"n": 2.0, "test/top1_mean": -1.0}


def test_trouble_is_said_once_and_stops_nothing(sweep, uri, capsys, monkeypatch):
    tracker = connected(uri, sweep)
    tracker.check()

    def full(*arguments, **named):
        raise OSError("database or disk is full")

    monkeypatch.setattr(tracker.connection.client._client, "log_batch", full)
    for trial in sweep.trials:
        tracker.start(trial)
        tracker.log(trial, [epoch(1)])
    for _ in range(3):
        tracker.connection.try_again()
        tracker.log(sweep.trials[0], [epoch(1)])
    tracker.close()
    said = capsys.readouterr().err
    assert said.count("disk is full") == 1
    assert "the next start of this sweep catches up" in said


def test_an_end_that_failed_half_way_is_completed_by_the_next_start(sweep, uri, monkeypatch):
    trial = sweep.trials[0]
    tracker = connected(uri, sweep)
    tracker.start(trial)
    tracker.connection.call(lambda: None)

    def full(*arguments, **named):
        raise OSError("database or disk is full")

    monkeypatch.setattr(tracker.connection.client._client, "log_batch", full)
    tracker.end(trial, record(trial))
    tracker.connection.call(lambda: None)
    assert runs(uri)[1]["R200"].info.status == "RUNNING"
    connected(uri, sweep).reconcile(sweep.trials, {trial.id: record(trial)}.get)
    client, found = runs(uri)
    assert found["R200"].info.status == "FINISHED" and steps(client, found["R200"]) == [1, 2, 3]


def test_a_renamed_variant_gets_a_run_of_its_new_name(sweep, uri, write_sweep):
    trial = sweep.trials[1]
    connected(uri, sweep).reconcile([trial], {trial.id: record(trial)}.get)
    renamed = load(write_sweep(variants={"R20": {}, "new name": {"conv": "scconv"}}))
    tracker = connected(uri, renamed)
    tracker.reconcile(renamed.trials, {trial.id: record(trial)}.get)
    client, found = runs(uri)
    assert not tracker.troubled and set(found) == {"new name0"}
    assert found["new name0"].data.params["variant"] == "new name"
    assert steps(client, found["new name0"]) == [1, 2, 3]


def test_the_link_opens_the_charts(sweep, uri, monkeypatch):
    tracker = connected(uri, sweep)
    tracker.check()
    experiment = tracker.experiment
    charts = "runs?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey=sweeps"
    assert tracker.link.endswith(f"/#/experiments/{experiment}/{charts}")
    assert uri in tracker.command
    monkeypatch.setenv("MLFLOW_UI_URL", "http://localhost:5001/")
    assert tracker.link.startswith("http://localhost:5001/#/experiments/")


def test_a_lost_database_is_made_again_from_the_store(
    uri, write_sweep, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    space = {"lr": [0.05, 0.1]}
    path = write_sweep(
        search={"mode": "tune", "space": space, "sampler": "grid", "trials": 2, "ahead": 1}
    )
    sweep, store = load(path), Store("runs")
    work = Searching(sweep, store, lambda config, path: {"macs_m": 1.0, "params_m": 2.0})
    work.begin(Counter())
    while trial := work.next():
        work.learn(trial, store.commit(record(trial)))
    settled = search.conclude(sweep, store)
    for trial in settled.trials[:3]:
        store.commit(record(trial))
    uris = [f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new")]
    for name in ("old", "new"):
        shutil.copy(tmp_path / "mlflow.db", tmp_path / f"{name}.db")
    cut_off = connected(uris[0], settled, store.identity)
    cut_off.start(settled.trials[0])
    cut_off.connection.call(lambda: None)
    # the first is completed, the second made anew, then nothing changes
    for uri in (uris[0], uris[1], uris[1]):
        assert rebuilding.main(["rebuild", str(path), "--tracking-uri", uri]) == 0
        assert "7 ended trials are in MLflow; charts: " in capsys.readouterr().out
        client, found = runs(uri)
        wanted = dict.fromkeys(("R200", "S+C0", "R201"), ("FINISHED", [1, 2, 3]))
        assert {k: (r.info.status, steps(client, r)) for k, r in found.items()} == wanted
        client, found = runs(uri, "tiny/search")
        names = [f"{v}: lr={lr}1000" for v in ("R20", "S+C") for lr in ("0.05", "0.1")]
        assert sorted(found) == names
        run = found["S+C: lr=0.051000"]
        assert (run.data.params["variant"], run.data.params["lr"]) == ("S+C", "0.05")
        assert run.data.metrics["cost/macs_m"] == 1.0
        assert run.info.status == "FINISHED" and steps(client, run, "val/top1") == [1, 2, 3]


def test_without_an_option_mlflows_own_variable_says_where(uri, write_sweep, tmp_path, monkeypatch):
    from runners import sweep as command

    monkeypatch.chdir(tmp_path)
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "elsewhere.db")
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    assert command._arguments(["x.yaml"]).tracking_uri == elsewhere
    here = command._arguments(["x.yaml", "--tracking-uri", "sqlite:///here.db"])
    assert here.tracking_uri == "sqlite:///here.db"
    path = write_sweep()
    assert rebuilding.main(["rebuild", str(path)]) == 0
    assert {e.name for e in mlflow.MlflowClient(elsewhere).search_experiments()} == {
        "Default",
        "tiny",
    }
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert command._arguments(["x.yaml"]).tracking_uri == "sqlite:///mlflow.db"


def test_a_rebuild_that_cannot_be_is_one_line(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert rebuilding.main(["rebuild", "nothing.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nothing.yaml: cannot be read")
    path = str(write_sweep())
    assert rebuilding.main(["rebuild", path, "--tracking-uri", "nonsense://x"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_many_epochs_are_logged_in_batches_each_once(sweep, uri, monkeypatch):
    monkeypatch.setattr(writer, "BATCH", 2)
    trial = sweep.trials[0]
    tracker = connected(uri, sweep)
    tracker.log(trial, [epoch(n) for n in range(1, 6)])
    tracker.close()
    client, found = runs(uri)
    assert steps(client, found["R200"]) == [1, 2, 3, 4, 5]
