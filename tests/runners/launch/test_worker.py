"""A worker's errors: which are tried again, which end the trial, and which are not the trial's."""

from dataclasses import replace

import pytest
import torch

from runners.errors import Held, StoreDenied, StoreError
from runners.launch import worker
from runners.launch.gpu_memory import fewer
from runners.launch.worker import Pool, Setting, fail
from runners.plan import Resources, load
from runners.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def trial(write_sweep):
    return load(write_sweep()).trials[0]


def test_any_error_is_tried_again_twice_and_then_is_the_trials_end(trial, store):
    for attempt in (1, 2):
        assert fail(trial, store, RuntimeError("odd"), 0)["attempt"] == attempt
        assert store.record(trial.id) is None
    assert fail(trial, store, RuntimeError("odd"), 0) == {
        "failed": "RuntimeError: odd",
        "attempt": 3,
        "tight": False,
    }
    record = store.record(trial.id)
    assert (record.status, record.reason, record.result) == ("failed", "RuntimeError: odd", None)
    assert record.provenance["attempts"] == 3
    store.forget_failure(trial.id)  # --retry-failed
    assert store.failures(trial.id) == []
    assert fail(trial, store, RuntimeError("odd"), 0)["attempt"] == 1
    assert store.record(trial.id) is None


def test_an_error_that_the_config_makes_certain_is_never_tried_again(trial, store):
    fail(trial, store, ValueError("7 is not divisible by 2"), 0)
    assert store.record(trial.id).reason == "ValueError: 7 is not divisible by 2"
    assert store.failures(trial.id) == ["invalid"]


def test_out_of_memory_is_for_fewer_on_a_gpu_and_alone_it_is_the_end(trial, store):
    full = torch.OutOfMemoryError("tried to allocate 9 GiB")
    for gpu in (0.25, 0.5):
        # not at once: when fewer share it
        assert fail(trial, store, full, gpu)["tight"] and store.record(trial.id) is None
    assert fewer(Resources(0.25, 2)) == Resources(0.5, 2) and fewer(Resources(0.6)).gpu == 1
    assert fewer(Resources(2)).gpu == 2
    assert not fail(trial, store, full, 1.0)["tight"]
    assert store.record(trial.id).reason == (
        "out of the GPU's memory, even alone on it: OutOfMemoryError: tried to allocate 9 GiB"
    )


def test_a_full_gpu_is_known_by_cudas_own_errors_too(trial, store):
    assert fail(trial, store, RuntimeError("CUDA error: out of memory"), 0.5)["tight"]
    assert store.failures(trial.id) == ["out of memory"]


@pytest.fixture
def train_trial(trial, store, monkeypatch):
    """train_trial() -> (what the worker reported, the error that it ended with)."""
    reports = []
    monkeypatch.setattr(worker, "tune", type("Tune", (), {"report": reports.append}))
    monkeypatch.setattr(worker, "_exit_with_the_node", lambda: None)
    threads = torch.get_num_threads()
    setting = Setting(str(store.root), store.identity, "", 1, 0)

    def run():
        reports.clear()
        try:
            worker.train_trial({"trial": trial, "setting": setting})
            error = None
        except RuntimeError as raised:
            error = raised
        torch.set_num_threads(threads)
        return [*reports], error

    return run


def raising(error):
    def method(*arguments, **options):
        raise error

    return method


def test_another_process_with_the_trials_lock_is_no_failure(train_trial, trial, store, monkeypatch):
    monkeypatch.setattr("runners.store.trials.Store.hold", raising(Held("another process has it")))
    assert train_trial() == ([{"held": "another process has it"}], None)
    assert store.failures(trial.id) == [] and not store.ended(trial.id)


@pytest.mark.parametrize("kind", [StoreError, StoreDenied])
@pytest.mark.parametrize("method", ["record", "checkpoint", "save", "commit"])
def test_a_store_that_fails_is_no_failure_of_the_trial(
    method, kind, train_trial, trial, store, monkeypatch
):
    trouble = kind("runs/trials cannot be written: Permission denied")
    monkeypatch.setattr(f"runners.store.trials.Store.{method}", raising(trouble))
    reports, error = train_trial()
    assert error is None and reports[-1] == {"trouble": str(trouble)}
    assert store.failures(trial.id) == []


def test_a_store_that_fails_where_a_failure_is_noted_is_no_failure_of_the_trial(
    train_trial, monkeypatch
):
    trouble = StoreError("failures.json cannot be written: No space left on device")
    monkeypatch.setattr("runners.trial.run.run", raising(ArithmeticError("odd")))
    monkeypatch.setattr("runners.store.trials.Store.note_failure", raising(trouble))
    assert train_trial() == ([{"trouble": str(trouble)}], None)


def test_a_failed_worker_reports_the_reason_and_is_not_used_again(
    train_trial, trial, store, monkeypatch
):
    monkeypatch.setattr("runners.trial.run.run", raising(ArithmeticError("odd\n\nhint: FOO=1")))
    reports, error = train_trial()
    assert reports == [{"failed": "ArithmeticError: odd", "attempt": 1, "tight": False}]
    assert str(error) == "ArithmeticError: odd"
    log = store.read(trial.id, "log.txt").decode()
    assert "Traceback" in log and "hint: FOO=1" in log


def test_a_finished_trial_keeps_how_many_attempts_it_needed(train_trial, trial, store):
    fail(trial, store, ArithmeticError("odd"), 0)
    assert train_trial()[1] is None
    assert store.record(trial.id).status == "finished"
    assert store.record(trial.id).provenance["attempts"] == 2


def test_a_worker_is_shared_only_by_trials_of_the_same_files(trial):
    config = trial.config
    mine = replace(config, conv="mine", conv_digest="abc")
    pools = [Pool(Resources(0.5, 1), c) for c in (config, replace(config, lr=0.3, conv="scconv"))]
    assert pools[0] == pools[1] and hash(pools[0]) == hash(pools[1])
    assert pools[0].bundles == [{"CPU": 1.0, "GPU": 0.5}]
    own = Pool(Resources(0.5, 1), mine)
    assert own == Pool(Resources(0.5, 1), replace(mine, options={"flag": 1}))
    assert own not in (pools[0], Pool(Resources(0.5, 1), replace(mine, conv_digest="edited")))
    assert own != Pool(Resources(1, 1), mine)
