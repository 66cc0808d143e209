"""Nothing doubled whatever is renamed or removed in the UI, and nothing of others touched."""

import shutil

import mlflow
import pytest
from mlflow.entities import ViewType

from runners.plan import load
from runners.store import Store
from runners.store.origin import Origin
from runners.tracking import phase
from runners.tracking.connection import connect
from runners.tracking.summary import Summary
from runners.tracking.tracker import Tracker
from tests.runners.tracking.shared import connected, every_run, record, steps, summarise

pytestmark = pytest.mark.slow

A, B = "a" * 32, "b" * 32


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep())


def begun(uri, sweep, store: str = A) -> dict:
    """A sweep with two finished trials and one cut off after two epochs; returns the records."""
    finished, cut_off = sweep.trials[:2], sweep.trials[2]
    records = {t.id: record(t) for t in finished}
    tracker = connected(uri, sweep, store)
    tracker.reconcile(sweep.trials, records.get)
    tracker.start(cut_off)
    tracker.log(cut_off, record(cut_off).epochs[:2])
    tracker.close()
    summarise(uri, sweep, {"R20": {"n": 2.0}, "S+C": {"n": 1.0}}, 1, store=store)
    return records


def continued(uri, sweep, records: dict, store: str = A) -> None:
    """The next start: it goes on with the third trial, whose worker sends all its epochs again."""
    tracker = connected(uri, sweep, store)
    tracker.reconcile(sweep.trials, records.get)
    third = sweep.trials[2]
    tracker.start(third)
    tracker.log(third, record(third).epochs)
    tracker.end(third, record(third))
    tracker.close()
    summarise(uri, sweep, {"R20": {"n": 2.0}, "S+C": {"n": 1.0}}, 1, store=store)


def each_once(uri, sweep, n: int = 3) -> None:
    client = mlflow.MlflowClient(uri)
    shown = every_run(uri)
    assert sorted(r.info.run_name for r in shown) == sorted(t.name for t in sweep.trials[:n])
    for run in shown:
        assert run.info.status == "FINISHED" and steps(client, run) == [1, 2, 3]
    means = [r for r in every_run(uri, trials_alone=False) if "trial" not in r.data.tags]
    assert sorted(r.data.tags["variant"] for r in means if r not in shown) == ["", "R20", "S+C"]


def rename(client, experiment):
    client.rename_experiment(experiment.experiment_id, "what I call it")


def rename_all(client, experiment):
    for each in client.search_experiments(filter_string="tags.phase LIKE '%'"):
        if not each.name.endswith("/summary"):
            client.rename_experiment(each.experiment_id, f"my {each.name}")


def delete_experiment(client, experiment):
    client.delete_experiment(experiment.experiment_id)


def remove_tags(*keys):
    def harm(client, experiment):
        for run in client.search_runs([experiment.experiment_id]):
            for key in keys:
                client.delete_tag(run.info.run_id, key)

    return harm


def rename_runs(client, experiment):
    for run in client.search_runs([experiment.experiment_id]):
        client.update_run(run.info.run_id, name=run.info.run_name)
        client.set_tag(run.info.run_id, "mine", "a note of my own")


def as_before(client, experiment):
    """What was written before experiments had the tags that find them now."""
    for each in client.search_experiments():
        for key in [k for k in each.tags if k == "phase" or k.startswith("store.")]:
            client.delete_experiment_tag(each.experiment_id, key)
        if each.name == "tiny/summary":
            client.set_experiment_tag(each.experiment_id, "sweep", "tiny")
            for run in client.search_runs([each.experiment_id]):
                client.delete_tag(run.info.run_id, "store")
                client.delete_tag(run.info.run_id, "sweep")


def as_before_and_renamed(client, experiment):
    as_before(client, experiment)
    rename(client, experiment)


@pytest.mark.parametrize(
    "harm",
    [
        rename,
        rename_all,
        delete_experiment,
        remove_tags("trial"),
        remove_tags("store"),
        remove_tags("trial", "store", "variant", "seed", "sweep", "status"),
        rename_runs,
        as_before,
        as_before_and_renamed,
    ],
    ids=lambda harm: harm.__name__,
)
def test_nothing_is_doubled_after_a_change_in_the_ui(harm, sweep, uri):
    records = begun(uri, sweep)
    client = mlflow.MlflowClient(uri)
    harm(client, client.get_experiment_by_name("tiny"))
    for _ in range(2):
        continued(uri, sweep, records)
        records[sweep.trials[2].id] = record(sweep.trials[2])
    each_once(uri, sweep)


def test_a_store_that_has_lost_its_name_recognises_its_runs(sweep, uri):
    records = begun(uri, sweep, A)
    for _ in range(2):
        continued(uri, sweep, records, B)
        records[sweep.trials[2].id] = record(sweep.trials[2])
    shown = {r.info.run_name: (r.info.status, r.data.tags["store"]) for r in every_run(uri)}
    assert len(every_run(uri)) == 3
    # whole ones may be those of a copy of the store, and are left as they are
    assert [shown[t.name] for t in sweep.trials[:3]] == [
        ("FINISHED", A),
        ("FINISHED", A),
        ("FINISHED", B),
    ]


def test_the_identity_is_lost_and_the_sweep_goes_on(sweep, uri, tmp_path):
    store = Store(tmp_path / "runs")
    records = begun(uri, sweep, store.identity)
    (tmp_path / "runs" / "identity").unlink()
    continued(uri, sweep, records, Store(tmp_path / "runs").identity)
    each_once(uri, sweep)


def test_another_stores_runs_are_neither_closed_nor_taken(sweep, uri):
    other = connected(uri, sweep, B)
    other.start(sweep.trials[0])
    other.connection.call(lambda: None)
    # the same trial, trained at another time
    records = {t.id: record(t, ended=1_800_000_000_000) for t in sweep.trials[:1]}
    connected(uri, sweep, A).reconcile(sweep.trials, records.get)
    shown = {r.data.tags["store"]: r.info.status for r in every_run(uri)}
    assert shown == {A: "FINISHED", B: "RUNNING"}
    other.end(sweep.trials[0], record(sweep.trials[0]))
    other.close()
    shown = {r.data.tags["store"]: r.info.status for r in every_run(uri)}
    assert shown == {A: "FINISHED", B: "FINISHED"} and not other.troubled


def all_runs(uri) -> list:
    client = mlflow.MlflowClient(uri)
    ids = [e.experiment_id for e in client.search_experiments(ViewType.ALL)]
    return list(client.search_runs(ids, run_view_type=ViewType.ALL))


def test_two_stores_keep_their_summaries(sweep, uri):
    for n, store in enumerate((A, B, A, B)):
        summarise(uri, sweep, {"R20": {"n": float(n % 2)}}, 1, store=store)
    shown = [(r.data.tags["store"], r.data.tags["variant"]) for r in all_runs(uri)]
    assert sorted(shown) == [(A, ""), (A, "R20"), (B, ""), (B, "R20")]
    assert {r.info.lifecycle_stage for r in all_runs(uri)} == {"active"}


def test_a_users_own_run_and_experiment_are_not_touched(sweep, uri):
    client = mlflow.MlflowClient(uri)
    named = client.create_experiment("tiny")  # before the sweep, and nothing to do with it
    own = [client.create_run(named, run_name="mine").info.run_id]
    begun(uri, sweep)
    experiments = client.search_experiments(filter_string="tags.sweep LIKE 'tiny%'")
    assert len(experiments) == 2 and named not in [e.experiment_id for e in experiments]
    for experiment in experiments:
        for tags in ({}, {"variant": "R20"}, {"note": "x"}):
            run = client.create_run(experiment.experiment_id, tags=tags, run_name="mine")
            own.append(run.info.run_id)
    before = [client.get_run(run_id).to_dictionary() for run_id in own]
    continued(uri, sweep, {t.id: record(t) for t in sweep.trials[:2]})
    assert [client.get_run(run_id).to_dictionary() for run_id in own] == before


def test_two_sweep_files_of_one_name_have_experiments_of_their_own(write_sweep, uri, tmp_path):
    sweeps, store = [], Store(tmp_path / "runs")
    for folder, names in (("a", ("R20", "S+C")), ("b", ("R20", "other"))):
        (tmp_path / folder).mkdir()
        path = write_sweep(variants={names[0]: {}, names[1]: {"conv": "scconv"}})
        sweeps.append(load(path.rename(tmp_path / folder / "tiny.yaml")))
    for _ in range(2):
        for sweep in sweeps:
            origin, connection = Origin.of(sweep.path, store), connect(uri)
            tracker = Tracker(phase.comparison(sweep), connection, origin)
            tracker.reconcile(sweep.trials, {t.id: record(t) for t in sweep.trials}.get)
            lines = [{"variant": v, "metrics": {"n": 2}} for v in sweep.variants]
            Summary(phase.summary(sweep), connection, origin).write(lines, 1, [])
    client = mlflow.MlflowClient(uri)
    names = {e.name for e in client.search_experiments()}
    assert names == {"Default", "tiny", "tiny (b)", "tiny/summary", "tiny/summary (b)"}
    shown = all_runs(uri)
    assert {r.info.lifecycle_stage for r in shown} == {"active"}
    assert len(shown) == 2 * (4 + 3)


def test_an_experiment_made_by_two_at_once_is_made_once(sweep, uri, monkeypatch):
    first, second = connected(uri, sweep, A), connected(uri, sweep, A)
    client = second.connection.client._client
    search = type(client).search_experiments
    made = []

    def late(self, *arguments, **named):
        found = search(self, *arguments, **named)
        if not made:
            made.append(True)
            first.check()  # between the second's look and its making
        return found

    monkeypatch.setattr(client, "search_experiments", late.__get__(client))
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: None)
    second.check()
    assert made and second.experiment == first.experiment


def test_a_run_whose_answer_was_lost_is_found_again(sweep, uri, monkeypatch):
    """The server made the run, and the client did not hear of it."""
    tracker = connected(uri, sweep)
    tracker.check()
    client = tracker.connection.client._client
    create = client.create_run

    def lost(*arguments, **named):
        create(*arguments, **named)
        monkeypatch.setattr(client, "create_run", create)
        raise ConnectionError("the answer was lost")

    monkeypatch.setattr(client, "create_run", lost)
    trial = sweep.trials[0]
    tracker.start(trial)
    tracker.connection.call(lambda: None)
    tracker.reconcile([trial], {trial.id: record(trial)}.get)
    assert [r.info.run_name for r in every_run(uri)] == [trial.name]


def test_a_moved_sweep_file_keeps_its_experiment(write_sweep, uri, tmp_path):
    store, path = Store(tmp_path / "runs"), write_sweep()
    for place in (path, tmp_path / "questions" / "tiny.yaml"):
        place.parent.mkdir(exist_ok=True)
        if place != path:
            shutil.move(path, place)
        sweep = load(place)
        tracker = Tracker(phase.comparison(sweep), connect(uri), Origin.of(place, store))
        tracker.reconcile(sweep.trials, {t.id: record(t) for t in sweep.trials}.get)
    assert len(every_run(uri)) == len(sweep.trials)
