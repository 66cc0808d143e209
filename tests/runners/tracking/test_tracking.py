"""MLflow agrees with the store, however often and from wherever it is told."""

import multiprocessing
import sqlite3
import time
from collections import Counter
from dataclasses import replace

import mlflow
import pytest

from runners.errors import SweepError
from runners.plan import load
from runners.search import searching as search
from runners.search.searching import Searching
from runners.store import Store
from runners.tracking import tracker as tracking
from runners.tracking.tracker import Tracker
from tests import records


def epoch(n: int):
    return records.epoch(
        n, loss=2.0 / n, val=60.0 + n, ended=1_700_000_000_000 + n, sys={"load": 0.5}
    )


def record(trial, status="finished"):
    return records.record(trial, status, epochs=[epoch(n) for n in (1, 2, 3)])


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep())


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/mlflow.db"


def runs(uri, name="tiny"):
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return client, {r.data.tags.get("variant", "") + r.data.tags.get("seed", ""): r for r in found}


def steps(client, run, key="train/loss"):
    return sorted(m.step for m in client.get_metric_history(run.info.run_id, key))


def test_a_trials_run_is_flat_named_and_complete(sweep, uri):
    trial = sweep.trials[1]
    tracker = Tracker(sweep, uri)
    tracker.start(trial)
    tracker.log(trial, [epoch(1)])
    tracker.log(trial, [epoch(2), epoch(3)])
    tracker.end(trial, record(trial))
    assert not tracker.troubled
    client, found = runs(uri)
    run = found["S+C0"]
    assert (
        run.info.run_name == "S+C seed0"
        and run.info.status == "FINISHED"
        and "mlflow.parentRunId" not in run.data.tags
    )
    assert {k: run.data.params[k] for k in ("variant", "backbone", "dataset", "epochs", "conv")} == {
        "variant": "S+C", "backbone": "resnet20", "dataset": "synthetic", "epochs": "2", "conv": "scconv"}  # fmt: skip
    keys = {
        "train/loss",
        "val/loss",
        "val/top1",
        "lr",
        "test/top1",
        "test/top5",
        "cost/params_m",
        "cost/macs_m",
        "cost/images_per_s",
    }
    assert keys | {"cost/peak_memory_gb", "cost/minutes", "sys/load"} <= set(run.data.metrics)
    assert steps(client, run) == [1, 2, 3] and steps(client, run, "test/top1") == [0]
    assert (
        run.inputs.dataset_inputs[0].dataset.digest == "d1"
        and run.inputs.dataset_inputs[0].dataset.name == "synthetic"
    )
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["config.json"]
    assert (
        sweep.question in client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"]
    )


def test_telling_it_again_adds_nothing(sweep, uri):
    trial = sweep.trials[0]
    for _ in range(
        3
    ):  # three starts of the driver, the epochs resent from the checkpoint each time, one at another time
        tracker = Tracker(sweep, uri)
        tracker.start(trial)
        tracker.log(trial, [epoch(1), epoch(2)])
        tracker.log(trial, [replace(epoch(2), ended=5)])
    tracker.end(trial, record(trial))
    tracker.end(trial, record(trial))
    client, found = runs(uri)
    assert (
        len(found) == 1
        and steps(client, found["R200"]) == [1, 2, 3]
        and steps(client, found["R200"], "test/top1") == [0]
    )


def test_reconcile_completes_what_the_store_has_and_closes_orphans(sweep, uri):
    done, orphan, failed, _ = sweep.trials
    tracker = Tracker(sweep, uri)
    tracker.start(done)
    tracker.log(done, [epoch(1)])
    tracker.start(orphan)
    records = {done.id: record(done), failed.id: record(failed, "diverged")}
    again = Tracker(sweep, uri)
    again.reconcile(sweep.trials, records.get)
    client, found = runs(uri)
    assert {k: r.info.status for k, r in found.items()} == {
        "R200": "FINISHED",
        "S+C0": "KILLED",
        "R201": "FAILED",
    }
    assert steps(client, found["R200"]) == [1, 2, 3] and found["R201"].data.tags["reason"] == "why"
    again.start(orphan)
    assert runs(uri)[1]["S+C0"].info.status == "RUNNING"
    again.close()
    assert runs(uri)[1]["S+C0"].info.status == "KILLED"


def test_summary_is_in_a_sibling_experiment_and_idempotent(sweep, uri, tmp_path):
    (tmp_path / "table.md").write_text("x")
    tracker = Tracker(sweep, uri)
    for _ in range(2):
        tracker.summarise(
            [{"variant": "R20", "metrics": {"n": 2, "test/top1_mean": 90.0, "test/top1_sd": None}}],
            1_700_000_000_000,
            [tmp_path / "table.md"],
        )
    client, found = runs(uri, "tiny/summary")
    assert set(found) == {"R20", ""} and steps(client, found["R20"], "test/top1_mean") == [0]
    assert [a.path for a in client.list_artifacts(found[""].info.run_id)] == ["table.md"]


def test_trouble_is_said_once_and_stops_nothing(sweep, uri, capsys, monkeypatch):
    tracker = Tracker(sweep, uri)
    monkeypatch.setattr(
        tracker.client,
        "log_batch",
        lambda *a, **k: (_ for _ in ()).throw(OSError("database is locked")),
    )
    for trial in sweep.trials:
        tracker.start(trial)
        tracker.log(trial, [epoch(1)])
    for _ in range(3):
        tracker.quiet_until = 0
        tracker.log(sweep.trials[0], [epoch(1)])
    said = capsys.readouterr().err
    assert (
        said.count("database is locked") == 1 and "the next start of this sweep catches up" in said
    )


def _first_use(path):
    Tracker.__new__(Tracker)
    tracking._create_database(f"sqlite:///{path}")


def test_a_kill_while_the_database_is_made_leaves_none_and_no_litter(tmp_path):
    path = tmp_path / "mlflow.db"
    process = multiprocessing.get_context("spawn").Process(target=_first_use, args=(path,))
    process.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".mlflow.db.*.new")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not path.exists() and list(tmp_path.glob(".mlflow.db.*.new"))
    tracking._create_database(f"sqlite:///{path}")
    assert sqlite3.connect(path).execute("select count(*) from experiments").fetchone() == (1,)
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]


def test_the_link_opens_the_charts(sweep, uri):
    tracker = Tracker(sweep, uri)
    assert tracker.link.endswith(
        f"/#/experiments/{tracker.experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    )
    assert uri in tracker.command


def test_a_browsers_address_of_the_server_may_be_another(sweep, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_UI_URL", "http://localhost:5001/")
    assert Tracker(sweep, uri).link.startswith("http://localhost:5001/#/experiments/")


def test_an_end_that_failed_half_way_is_completed_by_the_next_start(sweep, uri, monkeypatch):
    trial = sweep.trials[0]
    tracker = Tracker(sweep, uri)
    tracker.start(trial)
    monkeypatch.setattr(
        tracker.client,
        "log_batch",
        lambda *a, **k: (_ for _ in ()).throw(OSError("database is locked")),
    )
    tracker.end(trial, record(trial))
    assert runs(uri)[1]["R200"].info.status == "RUNNING"
    Tracker(sweep, uri).reconcile(sweep.trials, {trial.id: record(trial)}.get)
    client, found = runs(uri)
    assert found["R200"].info.status == "FINISHED" and steps(client, found["R200"]) == [1, 2, 3]


def test_another_stores_runs_are_not_closed(sweep, uri):
    mine, other = Tracker(sweep, uri, "/a"), Tracker(sweep, uri, "/b")
    other.start(sweep.trials[0])
    Tracker(sweep, uri, "/a").reconcile(sweep.trials, lambda _: None)
    assert runs(uri)[1]["R200"].info.status == "RUNNING" and not mine.runs


def test_a_renamed_variant_gets_a_run_of_its_new_name(sweep, uri, write_sweep):
    trial = sweep.trials[1]
    Tracker(sweep, uri).end(trial, record(trial))
    renamed = load(write_sweep(variants={"R20": {}, "new name": {"conv": "scconv"}}))
    tracker = Tracker(renamed, uri)
    tracker.reconcile(renamed.trials, {trial.id: record(trial)}.get)
    client, found = runs(uri)
    assert not tracker.troubled and set(found) == {"new name0"}
    assert found["new name0"].data.params["variant"] == "new name" and steps(
        client, found["new name0"]
    ) == [1, 2, 3]


def test_figures_that_changed_replace_the_summary(sweep, uri):
    tracker = Tracker(sweep, uri)
    tracker.summarise(
        [{"variant": v, "metrics": {"n": 3, "test/top1_mean": 5.0}} for v in ("R20", "gone")],
        2000,
        [],
    )
    tracker.summarise([{"variant": "R20", "metrics": {"n": 2, "test/top1_mean": -1.0}}], 1000, [])
    _, found = runs(uri, "tiny/summary")
    assert set(found) == {"R20", ""} and found["R20"].data.metrics == {
        "n": 2.0,
        "test/top1_mean": -1.0,
    }


def test_a_lost_database_is_made_again_from_the_store(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = {"lr": [0.05, 0.1]}
    path = write_sweep(
        search={"mode": "tune", "space": space, "sampler": "grid", "trials": 2, "ahead": 1}
    )
    sweep, store = load(path), Store("runs")
    work = Searching(sweep, store, lambda config, path: {"macs_m": 1.0, "params_m": 2.0})
    work.begin(Counter())
    while trial := work.next():
        store.commit(record(trial))
    work.left()
    settled = search.conclude(sweep, store)
    for trial in settled.trials[:3]:
        store.commit(record(trial))
    uris = [f"sqlite:///{tmp_path}/{name}.db" for name in ("mlflow", "new")]
    Tracker(settled, uris[0], store.identity).start(settled.trials[0])  # one run, cut off
    for uri in (
        uris[0],
        uris[1],
        uris[1],
    ):  # what is there is completed, then all of it is made anew, then nothing changes
        assert tracking.main(["rebuild", str(path), "--tracking-uri", uri]) == 0
        assert "7 ended trials are in MLflow; charts: mlflow ui" in capsys.readouterr().out
        client, found = runs(uri)
        assert {k: (r.info.status, steps(client, r)) for k, r in found.items()} == dict.fromkeys(
            ("R200", "S+C0", "R201"), ("FINISHED", [1, 2, 3])
        )
        client, found = runs(uri, "tiny/search")
        assert sorted(found) == [
            "R20: lr=0.051000",
            "R20: lr=0.11000",
            "S+C: lr=0.051000",
            "S+C: lr=0.11000",
        ]
        run = found["S+C: lr=0.051000"]
        assert (run.data.params["variant"], run.data.params["lr"]) == (
            "S+C",
            "0.05",
        ) and run.data.metrics["cost/macs_m"] == 1.0
        assert run.info.status == "FINISHED" and steps(client, run, "val/top1") == [1, 2, 3]


def test_without_an_option_mlflows_own_variable_says_where(
    write_sweep, tmp_path, monkeypatch, capsys
):
    from runners import sweep as command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    assert command._arguments(["x.yaml"]).tracking_uri == f"sqlite:///{tmp_path}/elsewhere.db"
    assert (
        command._arguments(["x.yaml", "--tracking-uri", "sqlite:///here.db"]).tracking_uri
        == "sqlite:///here.db"
    )
    assert (
        tracking.main(["rebuild", str(write_sweep())]) == 0 and (tmp_path / "elsewhere.db").exists()
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert command._arguments(["x.yaml"]).tracking_uri == "sqlite:///mlflow.db"


def test_a_rebuild_that_cannot_be_is_one_line(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tracking.main(["rebuild", "nothing.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nothing.yaml: cannot be read")
    assert tracking.main(["rebuild", str(write_sweep()), "--tracking-uri", "nonsense://x"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_database_that_is_locked_at_the_start_is_waited_for(
    write_sweep, tmp_path, monkeypatch, capsys
):
    from argparse import Namespace

    from runners import sweep as command

    opened = []

    def locked(*arguments):
        opened.append(arguments)
        if len(opened) < 3:
            raise RuntimeError("(sqlite3.OperationalError) database is locked")
        return "a tracker"

    monkeypatch.setattr(tracking, "Tracker", locked)
    sweep, store, args = (
        load(write_sweep()),
        Store(tmp_path / "runs"),
        Namespace(tracking_uri="sqlite:///mlflow.db"),
    )
    assert command._tracker(sweep, store, args) == "a tracker" and len(opened) == 3
    assert "locked by another program; waiting for it" in capsys.readouterr().err
    monkeypatch.setattr(
        tracking, "Tracker", lambda *_: (_ for _ in ()).throw(RuntimeError("database is locked"))
    )
    with pytest.raises(SweepError, match="MLflow cannot open it: database is locked"):
        command._tracker(sweep, store, args)
