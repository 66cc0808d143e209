"""Ray starts while MLflow opens; whatever comes between, it ends with the command."""

import logging
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from runners import command, plan, sweep
from runners.errors import SweepError
from runners.launch import cluster, early, scratch, swallowed
from runners.tracking.connection import connect
from runners.tracking.opening import Opening
from tests.runners.test_sweep import finish, start, wait_for


def folder_of_ray(pid: int) -> Path | None:
    """Of the Ray that the process has started, when that has started workers for it."""
    process = psutil.Process(pid)
    if not any("ray::IDLE" in child.name() for child in process.children(recursive=True)):
        return None
    owned = (Path(file.path) for file in process.open_files())
    return next((path.parent for path in owned if path.name == scratch.OWNED), None)


def test_ray_ends_with_a_command_that_waits_for_mlflow(write_sweep, tmp_path):
    path = write_sweep(seeds=1)
    database = tmp_path / "mlflow.db"
    connect(f"sqlite:///{database}")
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        process = start(path)
        wait_for(lambda: "waiting for MLflow at" in (tmp_path / "out.txt").read_text())
        wait_for(lambda: folder_of_ray(process.pid))
        place = folder_of_ray(process.pid)
        time.sleep(2)  # Ray's start ends right after its first workers
        os.kill(process.pid, signal.SIGINT)
        code, out = finish(process, path)
    assert code == 130 and "Traceback" not in out, out
    assert place and not place.exists()
    assert not list(tmp_path.glob("runs/trials/*/record.json"))


def test_a_folder_that_is_too_long_for_rays_sockets_is_refused(write_sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("folder" * 20)))
    path = write_sweep(seeds=1)
    code, out = finish(start(path), path)
    assert code == 2 and "Traceback" not in out, out
    assert "Ray cannot start on this machine: " in out and "107 bytes" in out
    assert "a short path for its sockets and logs ($RAY_TMPDIR, else /tmp)" in out


def test_the_folder_of_an_interrupted_start_is_left_to_the_next_one(tmp_path, monkeypatch):
    """Ray's processes, which end with this one, may still write there."""
    monkeypatch.setattr(scratch, "ROOT", tmp_path)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)

    def interrupted(*, _temp_dir, **_):
        Path(_temp_dir).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster.ray, "init", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cluster.connect("local")
    (left,) = tmp_path.glob(f"{scratch.PREFIX}*")
    scratch.remove_abandoned()  # another process meanwhile
    assert (left / "ray").exists()
    (left / "ray" / "late").mkdir()
    for file in left.glob(scratch.OWNED):  # this process ends
        file.replace(left / "gone")
        (left / scratch.OWNED).touch()
    scratch.remove_abandoned()
    assert not left.exists()


def test_nothing_is_begun_where_rays_start_changes_the_working_directory(tmp_path, monkeypatch):
    """A relative path would lead elsewhere in another thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "connect", lambda address: None)
    monkeypatch.setattr("runners.launch.auth.use", lambda address: None)
    begun: list[str] = []
    with early.started(lambda: begun.append("alone")):
        pass
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").touch()
    with early.started(lambda: begun.append("beside a package of that name")):
        pass
    assert begun == ["alone"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_that_is_swallowed_is_raised_again_and_keeps_no_lock(kind):
    class Fork:
        def __del__(self):
            logging._lock.acquire()
            raise kind

    with pytest.raises(KeyboardInterrupt), swallowed.raised_again():
        Fork()
        assert not logging._lock._is_owned()
    with swallowed.raised_again():
        pass


class Cut:
    """Raises where Python can only report it, as an interrupt while a module is imported."""

    def __del__(self):
        raise KeyboardInterrupt


def test_a_swallowed_interrupt_takes_the_place_of_an_error_that_it_has_caused():
    with pytest.raises(KeyboardInterrupt), swallowed.raised_again():
        Cut()
        raise AttributeError("a module that was half imported")
    with pytest.raises(AttributeError), swallowed.raised_again():
        raise AttributeError("without an interrupt")


def test_an_interrupt_that_is_swallowed_while_the_sweep_is_read_ends_the_command(
    write_sweep, monkeypatch, capsys
):
    def load(*arguments):
        Cut()
        return plan.load(*arguments)

    monkeypatch.setattr(sweep, "load", load)
    path = write_sweep(seeds=1)
    monkeypatch.chdir(path.parent)
    assert sweep.main([str(path)]) == command.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err
    assert not (path.parent / "runs" / "trials").exists()


def test_what_went_wrong_in_the_background_is_raised_where_it_is_waited_for(monkeypatch):
    def fail(uri):
        raise PermissionError(uri)

    monkeypatch.setattr("runners.tracking.connection.connect_checked", fail)
    opening = Opening("sqlite:///mlflow.db")
    with pytest.raises(PermissionError, match=r"sqlite:///mlflow\.db"):
        opening.connection()


def test_a_database_that_never_opens_is_given_up(monkeypatch, capsys):
    held = threading.Event()
    monkeypatch.setattr("runners.tracking.connection.connect_checked", lambda uri: held.wait())
    monkeypatch.setattr("runners.tracking.opening.OPEN_S", 0.5)
    opening = Opening("sqlite:///mlflow.db")
    opening.begin()
    assert not capsys.readouterr().err  # nobody waits yet
    with pytest.raises(SweepError, match="MLflow has not opened it for"):
        opening.connection()
    held.set()
