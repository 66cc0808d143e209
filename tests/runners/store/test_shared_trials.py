"""A trial that two sweeps share: who may write what of it, and what never gets lost."""

import json

import pytest
import torch

from runners.errors import Held
from runners.plan import load
from runners.store import State, Store, lease
from tests.records import epoch, record
from tests.runners.test_sweep import wait_for

WEIGHTS = {"w": torch.zeros(1)}


@pytest.fixture
def trial(write_sweep):
    return load(write_sweep()).trials[0]


def finish(store, trial, **fields):
    with store.hold(trial.id):
        return store.commit(record(trial, **fields), WEIGHTS)


def test_a_drivers_verdict_never_replaces_a_record(place, trial):
    driver, other = Store(place), Store(place)
    assert driver.record(trial.id) is None
    theirs = finish(other, trial)
    stands = driver.commit(record(trial, "failed", reason="its worker died"))
    assert stands == theirs == Store(place).record(trial.id)
    assert Store(place).weights(theirs)


def test_who_has_a_trials_lock_replaces_a_drivers_verdict(place, trial):
    driver, other = Store(place), Store(place)
    verdict = record(trial, "failed", reason="its worker died")
    assert driver.commit(verdict) == verdict
    assert finish(other, trial) == Store(place).record(trial.id)
    assert Store(place).record(trial.id).status == State.FINISHED


def test_a_failure_is_not_forgotten_while_another_process_trains_the_trial(place, trial):
    driver, other = Store(place), Store(place)
    driver.commit(record(trial, "failed"))
    with other.hold(trial.id):
        driver.forget_failure(trial.id)
        assert Store(place).record(trial.id).status == State.FAILED
        # the other finishes it between the driver's look and its deed
        other.commit(record(trial), WEIGHTS)
    driver.forget_failure(trial.id)
    assert Store(place).record(trial.id).status == State.FINISHED


def test_a_failure_is_forgotten_for_a_new_attempt(place, trial):
    store = Store(place)
    store.note_failure(trial.id, "error")
    store.commit(record(trial, "failed"))
    store.forget_failure(trial.id)
    assert store.record(trial.id) is None and store.failures(trial.id) == []
    assert not store.ended(trial.id)


def test_a_process_whose_lock_was_taken_over_writes_nothing_any_more(bucket, trial, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 2.0)
    store = Store(bucket("runs"))
    with store.hold(trial.id):
        store.save(trial.id, WEIGHTS, [epoch()])
        before = store.read(trial.id, "checkpoint.pt")
        entry = {"holder": "process 7 on another", "token": "its", "beat": 1}
        store.files.write(f"trials/{trial.id}/lock", json.dumps(entry).encode())
        wait_for(lambda: store.locked[trial.id].taken_by)
        with pytest.raises(Held, match="process 7 on another has taken over trial"):
            store.save(trial.id, WEIGHTS, [epoch(), epoch(2)])
        with pytest.raises(Held, match="process 7 on another has taken over trial"):
            store.commit(record(trial), WEIGHTS)
    assert store.read(trial.id, "checkpoint.pt") == before and store.record(trial.id) is None
    assert store.trained_elsewhere(trial.id) == "process 7 on another"
