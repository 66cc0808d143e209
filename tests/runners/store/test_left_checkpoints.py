"""A kill between a trial's record and the removal of its checkpoint: whoever looks next removes
it.
"""

import contextlib

import pytest
import torch

from runners import sweep
from runners.plan import load
from runners.search.queue import Work
from runners.store import Store, checkpoint
from runners.trial.run import run
from tests.records import epoch, record

WEIGHTS = {"w": torch.zeros(1)}


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def killed(monkeypatch):
    """killed(commit) calls `commit`, and is killed when it would remove the checkpoint."""

    def kill(*_):
        raise Killed

    def call(commit):
        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            patched.setattr(checkpoint, "drop", kill)
            commit()

    return call


@pytest.fixture
def trials(write_sweep):
    return load(write_sweep(seeds=2)).trials


def ended(store, trial, killed, status="finished"):
    """A trial that was killed there."""
    with store.hold(trial.id):
        store.save(trial.id, WEIGHTS, [epoch(1)])
        store.save(trial.id, WEIGHTS, [epoch(1), epoch(2)])
        weights = WEIGHTS if status == "finished" else None
        killed(lambda: store.commit(record(trial, status), weights))
    assert store.ended(trial.id) and store.started(trial.id)


def left(store, trial):
    keys = store.files.listing(f"trials/{trial.id}")
    return {name for key in keys if (name := key.rpartition("/")[2]) != "lock"}


@pytest.mark.parametrize("status", ["finished", "pruned"])
def test_the_driver_that_finds_the_record(status, place, trials, killed):
    store = Store(place)
    ended(store, trials[0], killed, status)
    assert Work(trials[:1], store).ended(trials[0])
    assert left(store, trials[0]) - {"weights.pt"} == {"record.json"}


def test_a_single_trial_that_is_started_again(place, trials, killed):
    store = Store(place)
    ended(store, trials[0], killed)
    list(run(trials[0], store, device="cpu"))
    assert left(store, trials[0]) == {"weights.pt", "record.json"}


def test_the_one_before_the_last_alone(place, trials, killed):
    """As where a damaged last one was set aside."""
    store = Store(place)
    ended(store, trials[0], killed)
    store.files.delete(f"trials/{trials[0].id}/checkpoint.pt")
    assert Work(trials[:1], store).ended(trials[0])
    assert left(store, trials[0]) - {"weights.pt"} == {"record.json"}


def test_what_may_go_on_keeps_its_checkpoint(place, trials, killed):
    store = Store(place)
    ended(store, trials[0], killed, "failed")
    ended(store, trials[1], killed, "diverged")
    store.save(trials[2].id, WEIGHTS, [epoch(1)])
    before = [left(store, trial) for trial in trials[:3]]
    store.drop_left(store.records(trials).values())
    assert [left(store, trial) for trial in trials[:3]] == before


def test_the_same_command_again(place, write_sweep, killed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, store = write_sweep(seeds=1), Store(place)
    for trial in load(path).trials:
        killed(lambda t=trial: list(run(t, store, device="cpu")))
        assert {"record.json", "checkpoint.pt"} <= left(store, trial)
    assert sweep.main([str(path), "--storage", place]) == 0
    for trial in load(path).trials:
        assert not {name for name in left(store, trial) if "checkpoint" in name or "prog" in name}
