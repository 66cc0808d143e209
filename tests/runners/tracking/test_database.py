"""Places: odd folder names, files that are no database, projects that move, databases in use."""

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import mlflow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.tracking._tracking_service import utils

from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.tracking import connection, database, elsewhere
from runners.tracking.connection import connect
from tests.runners.test_sweep import wait_for
from tests.runners.tracking.shared import connected, every_run, record, runs, summarise

pytestmark = pytest.mark.slow

ODD = [
    "My%20Project",
    "a?b",
    "a?x=1",
    "~",
    "~root",
    "a#b",
    "a b",
    "a%b",
    "100%",
    "a&b=c",
    "ä+ö",
    "a@b:c",
]
NAMES = st.text("ab %?#~&=+;:@'\"$!*()[]{}|^`,<>ä€\\", min_size=1, max_size=20)


def works_in(folder: Path, uri: str, empty_database: Path) -> None:
    """Runs and artifacts are written into the folder, nothing beside it, and are read back."""
    folder.mkdir(exist_ok=True)
    shutil.copy(empty_database, folder / "mlflow.db")
    before = {p.name for p in folder.parent.iterdir()}
    client = connect(uri).client
    experiment = client.create_experiment("x", database.artifacts(uri, "x"), {"sweep": "x"})
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "content", "file.txt")
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["file.txt"]
    assert Path(client.download_artifacts(run.info.run_id, "file.txt")).read_text() == "content"
    assert (folder / "mlartifacts" / "x" / run.info.run_id / "artifacts" / "file.txt").is_file()
    assert {p.name for p in folder.parent.iterdir()} == before


@pytest.mark.parametrize("name", ODD)
def test_an_odd_working_directory(name, tmp_path, monkeypatch, empty_database):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    works_in(tmp_path / name, database.DEFAULT_URI, empty_database)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES.filter(lambda s: s.strip(".") and s.strip()))
def test_a_path_as_it_is_typed_or_encoded(name, tmp_path, empty_database):
    # a place of its own for each example, since engines are kept by their path
    folder = Path(tempfile.mkdtemp(dir=tmp_path)) / name
    folder.mkdir()
    for uri in (f"sqlite:///{folder}/mlflow.db", database.sqlite_uri(folder / "mlflow.db")):
        assert database.sqlite_path(uri) == folder / "mlflow.db"
        assert database.sqlite_path(database.resolve(uri)) == folder / "mlflow.db"
    works_in(folder, f"sqlite:///{folder}/mlflow.db", empty_database)


def test_an_encoded_path_means_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Project").mkdir()
    encoded = f"sqlite:///{tmp_path}/My%20Project/mlflow.db"
    assert database.sqlite_path(encoded) == tmp_path / "My Project" / "mlflow.db"
    assert database.sqlite_path("sqlite:///~/mlflow.db") == tmp_path / "mlflow.db"
    assert database.sqlite_path("sqlite:///x.db?timeout=9") == tmp_path / "x.db"
    assert database.resolve("sqlite:///x.db?timeout=9") == f"sqlite:///{tmp_path}/x.db?timeout=9"
    assert database.sqlite_path("postgresql://me@lab/x") is None


def test_what_is_no_database_is_one_clear_line_at_once(tmp_path, monkeypatch):
    # MLflow would try again for two minutes
    monkeypatch.setattr(connection, "Connection", None)
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough\n" * 9)
    damaged = bytearray(database.MAGIC + b"\x10\x00" + bytes(2000))
    (tmp_path / "damaged.db").write_bytes(damaged)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE studies (id)")
    (tmp_path / "file").write_text("")
    for name, reason in {
        "folder.db": "must be a file, and is a folder",
        "text.db": "is not a sqlite database",
        "damaged.db": "is damaged",
        "other.db": "is another program's database",
        "file/mlflow.db": "cannot be read and written",
    }.items():
        with pytest.raises(SweepError, match=reason) as refused:
            connect(f"sqlite:///{tmp_path}/{name}")
        said = str(refused.value)
        assert said.startswith("--tracking-uri sqlite:///") and name in said and "\n" not in said
        assert "name another by --tracking-uri" in said


def test_a_file_without_permission_is_one_clear_line(tmp_path, empty_database):
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_database, path)
    path.chmod(0)
    code = (
        "import os, sys\n"
        "from runners.errors import SweepError\n"
        "from runners.tracking.database import check\n"
        "try:\n"
        "    check('sqlite:///' + sys.argv[1])\n"
        "except SweepError as error:\n"
        "    print(error)\n"
    )
    # root reads everything
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    for folder in path.parents:
        if folder.is_relative_to(tmp_path.parents[1]):
            folder.chmod(0o755)
    root = Path(__file__).parents[3]
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            cwd=root,
            **user,
        )
    except PermissionError:
        pytest.skip("another user cannot run this Python here")
    if ran.returncode:
        pytest.skip(f"another user cannot run this code here: {ran.stderr[-200:]}")
    assert "cannot be read and written: Permission denied" in ran.stdout


def test_a_kill_while_the_database_is_made_leaves_none_and_no_litter(tmp_path):
    path = tmp_path / "mlflow.db"
    process = multiprocessing.get_context("spawn").Process(
        target=database.create, args=(path, connection._initialise)
    )
    process.start()
    wait_for(lambda: list(tmp_path.glob(".mlflow.db.*.new")))
    process.kill()
    process.join()
    assert not path.exists() and list(tmp_path.glob(".mlflow.db.*.new"))
    path.touch()  # an empty file is no database, either
    database.create(path, connection._initialise)
    assert sqlite3.connect(path).execute("select count(*) from experiments").fetchone() == (1,)
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep())


def project(folder: Path, sweep, empty_database: Path) -> str:
    """A project with its first trial in MLflow; returns the URI."""
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    trial = sweep.trials[0]
    connected(uri, sweep).reconcile([trial], {trial.id: record(trial)}.get)
    (folder / "table.md").write_text("table")
    summarise(uri, sweep, {"R20": {"n": 1.0}}, 1, [folder / "table.md"])
    return uri


@pytest.mark.parametrize("how", ["moved", "copied", "moved without its artifacts"])
def test_a_moved_project_writes_into_no_other_folder(how, sweep, tmp_path, empty_database, capsys):
    old, new = tmp_path / "old", tmp_path / "new %20 project"
    project(old, sweep, empty_database)
    if how == "copied":
        shutil.copytree(old, new)
    else:
        old.rename(new)
    if how == "moved without its artifacts":
        shutil.rmtree(new / "mlartifacts")
    before = {p: p.stat().st_mtime_ns for p in old.rglob("*")}
    utils._artifact_repos_cache.clear()  # the next start is another process

    uri = f"sqlite:///{new}/mlflow.db"
    records = {t.id: record(t) for t in sweep.trials[:2]}
    connected(uri, sweep).reconcile(sweep.trials, records.get)
    (new / "table.md").write_text("another")
    summarise(uri, sweep, {"R20": {"n": 2.0}}, 1, [new / "table.md"])
    assert "has moved" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in old.rglob("*")} == before
    _, found = runs(database.resolve(uri))
    assert set(found) == {"R200", "S+C0"}
    for run in found.values():
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config.json")
        assert '"lr": 0.1' in text and '"seed": 0' in text
        assert str(new) in str(database.local_folder(run.info.artifact_uri))
    # and it is said once
    connect(uri)
    assert "has moved" not in capsys.readouterr().err


def test_experiments_that_no_sweep_made_stay_where_they_are(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    place = "file:///somewhere/else/mlartifacts/mine"
    mine = mlflow.MlflowClient(uri).create_experiment("mine", place)
    connect(uri)
    assert mlflow.MlflowClient(uri).get_experiment(mine).artifact_location == place


def test_a_plan_knows_what_another_store_has_finished(sweep, uri, tmp_path):
    finished = sweep.trials[:3]
    records = {t.id: record(t) for t in finished} | {
        sweep.trials[3].id: record(sweep.trials[3], "failed")
    }
    connected(uri, sweep).reconcile(sweep.trials, records.get)
    shown = database.finished_trials(uri, sweep.name)
    assert shown == {t.id for t in finished}
    assert database.finished_trials(uri, "another") == set()
    store = Store(tmp_path / "not mounted")
    line = elsewhere.warning(sweep, store, shown, uri)
    assert "shows 3 finished trials of this sweep" in line and "is it mounted" in line
    for trial in finished:
        store.files.write(f"trials/{trial.id}/record.json", b"{}")
    assert elsewhere.warning(sweep, Store(store.root), shown, uri) == ""
    # whatever cannot be read warns of nothing, and is not made
    for other in ("http://127.0.0.1:1", f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}"):
        assert database.finished_trials(other, sweep.name) == set()
    assert not (tmp_path / "none.db").exists()


def test_a_tracker_knows_what_another_store_has_finished(sweep, uri):
    trial = sweep.trials[0]
    connected(uri, sweep, "a" * 32).reconcile([trial], {trial.id: record(trial)}.get)
    tracker = connected(uri, sweep, "b" * 32)
    tracker.check()
    assert tracker.finished_elsewhere() == {trial.id}


def test_a_lock_is_waited_for_with_a_word(sweep, uri, capsys):
    holder = sqlite3.connect(
        database.sqlite_path(uri), isolation_level=None, check_same_thread=False
    )
    holder.execute("BEGIN EXCLUSIVE")
    opened = []
    waiting = threading.Thread(target=lambda: opened.append(connect(uri)))
    waiting.start()
    said = ""

    def is_said():
        nonlocal said
        said += capsys.readouterr().err
        return "waiting for MLflow at" in said or "locked by another program" in said

    wait_for(is_said)
    assert not opened
    holder.execute("ROLLBACK")
    waiting.join(120)
    assert opened


def _write(uri: str, path: str, names: tuple[str, str], barrier) -> None:
    sweep = load(path)
    tracker = connected(uri, sweep, names[0])
    barrier.wait(120)
    for trial in sweep.trials:
        tracker.start(trial)
        tracker.end(trial, record(trial))
    tracker.close()
    assert not tracker.troubled


def test_two_sweeps_write_into_one_database_from_its_making_on(write_sweep, tmp_path):
    """Two drivers, each a process: nothing lost, nothing doubled, the schema made by one."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    paths = [str(write_sweep(name, seeds=6)) for name in ("one", "two")]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=_write, args=(uri, path, ("5" * 32, path), barrier))
        for path in paths
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0]
    shown = [(r.data.tags["sweep"], r.info.run_name, r.info.status) for r in every_run(uri)]
    wanted = [(load(p).name, t.name, "FINISHED") for p in paths for t in load(p).trials]
    assert sorted(shown) == sorted(wanted)
