"""An MLflow that answers too slowly to be of use holds up neither the training nor a signal."""

import os
import signal

import pytest

from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.tracking import connection
from runners.tracking.connection import connect
from tests.runners.test_sweep import finish, start, wait_for
from tests.runners.tracking.shared import connected, every_run, record
from tests.servers import Dripping, Server


def output(path) -> str:
    return (path.parent / "out.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_opening_says_what_it_waits_for_and_a_signal_ends_it(number, write_sweep):
    path = write_sweep(seeds=1)
    with Dripping() as server:
        process = start(path, "--tracking-uri", server.uri)
        said = f"waiting for MLflow at {server.uri}"
        wait_for(lambda: said in output(path) or process.poll() is not None)
        os.kill(process.pid, number)
        code, out = finish(process, path)
        assert not server.over.is_set()
    assert code == 130 and "the same command continues" in out and "Traceback" not in out
    assert not (path.parent / "runs" / "trials").exists(), "nothing was launched"


def test_opening_ends_by_itself(monkeypatch):
    monkeypatch.setattr(connection, "OPEN_S", 1.0)
    with (
        Dripping(every_s=0.3) as server,
        pytest.raises(SweepError, match="MLflow has not answered for 1 s") as refused,
    ):
        connect(server.uri)
    assert str(refused.value).startswith(f"--tracking-uri {server.uri}: ")


def test_the_driver_waits_for_nothing_and_the_end_catches_up(write_sweep, uri, monkeypatch, capsys):
    """A request hangs: posting goes on, waiting ends at the deadline, and later all is written."""
    sweep = load(write_sweep())
    tracker = connected(uri, sweep)
    tracker.check()
    monkeypatch.setattr(connection, "TASK_S", 1.0)
    monkeypatch.setattr(connection, "QUIET_S", 0.0)
    client = tracker.connection.client._client
    with Dripping(every_s=0.3) as server:

        def hang(*arguments, **named):
            import urllib.request

            urllib.request.urlopen(server.uri).read()

        with monkeypatch.context() as patched:
            patched.setattr(client, "create_run", hang)
            for trial in sweep.trials:
                tracker.start(trial)
            server.accepted.wait(60)
            tracker.close()
    assert "MLflow: training goes on" in capsys.readouterr().err
    monkeypatch.setattr(connection, "TASK_S", 60.0)
    records = {t.id: record(t) for t in sweep.trials}
    tracker.reconcile(sweep.trials, records.get)
    shown = sorted(r.info.run_name for r in every_run(uri))
    assert shown == sorted(t.name for t in sweep.trials)


def test_signals_end_a_sweep_whose_server_has_begun_to_drip(write_sweep, tmp_path):
    path = write_sweep(base={"epochs": 5000}, seeds=1)  # so many that none ends by itself
    store, trials = Store(tmp_path / "runs"), load(path).trials
    server = Server(tmp_path)
    try:
        process = start(path, "--tracking-uri", server.uri)
        wait_for(lambda: all(map(store.checkpoint, ids(trials))) or process.poll() is not None)
    finally:
        server.stop()
    with Dripping(server.port) as dripping:
        dripping.accepted.wait(60)
        epochs = len(store.checkpoint(trials[0].id)[1])
        # training does not wait for MLflow
        wait_for(lambda: len(store.checkpoint(trials[0].id)[1]) > epochs + 1)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(process.pid, number)
            if number == signal.SIGINT:
                wait_for(lambda: "stopping" in output(path) or process.poll() is not None)
        code, out = finish(process, path)
        assert not dripping.over.is_set()
    assert code == 130 and "Traceback" not in out, out


def ids(trials) -> list[str]:
    return [trial.id for trial in trials]
