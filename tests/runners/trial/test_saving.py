"""Checkpoints that are written while the next epoch trains lose nothing and mix nothing."""

import subprocess
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch

from runners.errors import Diverged, StoreError
from runners.plan import Config, Trial
from runners.store import Store
from runners.trial import saving
from runners.trial.run import run
from runners.trial.saving import Saver, copied
from runners.trial.training import Training
from tests import records

TRIAL = Trial("s", "v", Config("resnet20", "synthetic", epochs=4, batch_size=32, lr=0.01), 0)


@pytest.fixture
def behind(monkeypatch):
    """Every checkpoint but the first is written by the thread."""
    monkeypatch.setattr(saving, "WORTH_S", 0.0)
    monkeypatch.setattr(saving, "SHARE", 0.0)


class Gate:
    """Lets the checkpoint after so many epochs be written when `open` is set."""

    def __init__(self, store: Store, monkeypatch, epoch: int):
        self.begun, self.open, save = threading.Event(), threading.Event(), store.save

        def gated(trial_id, state, epochs):
            if len(epochs) == epoch:
                self.begun.set()
                assert self.open.wait(60)
            save(trial_id, state, epochs)

        monkeypatch.setattr(store, "save", gated)


def weights(store: Store) -> dict[str, torch.Tensor]:
    return store.weights(store.record(TRIAL.id))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_trial_ends_as_it_would(behind, tmp_path):
    behind_store, plain = Store(tmp_path / "behind"), Store(tmp_path / "plain")
    told = [e.epoch for epochs in run(TRIAL, behind_store, device="cpu") for e in epochs]
    assert told == [1, 2, 3, 4]
    saving.WORTH_S = 60.0
    list(run(TRIAL, plain, device="cpu"))
    assert same(weights(behind_store), weights(plain))
    assert not behind_store.started(TRIAL.id)  # nothing wrote a checkpoint after the record


def test_an_epoch_is_told_when_it_is_in_the_store(behind, tmp_path, monkeypatch):
    store = Store(tmp_path)
    gate = Gate(store, monkeypatch, 2)
    training = run(TRIAL, store, device="cpu")
    assert [e.epoch for e in next(training)] == [1]
    # the second is held up: the third trains, and waits for it
    told: list[list[int]] = []
    reader = threading.Thread(
        target=lambda: told.extend([e.epoch for e in epochs] for epochs in training)
    )
    reader.start()
    assert gate.begun.wait(60)
    assert len(store.checkpoint(TRIAL.id)[1]) == 1 and not told
    gate.open.set()
    reader.join(60)
    assert [epoch for epochs in told for epoch in epochs] == [2, 3, 4]


def test_the_state_is_that_after_its_epoch(behind, tmp_path, monkeypatch):
    """Though the next epoch has trained when it is written, and changed every tensor."""
    store, seen, late = Store(tmp_path), {}, threading.Event()
    save = store.save

    def lagging(trial_id, state, epochs):
        if len(epochs) > 1:
            late.wait(1)  # the next epoch trains meanwhile
        save(trial_id, state, epochs)
        seen[len(epochs)] = store.checkpoint(trial_id)[0]["model"]

    monkeypatch.setattr(store, "save", lagging)
    list(run(TRIAL, store, device="cpu"))
    training = Training(TRIAL, _data(store), "cpu")
    for index in range(4):
        training.epoch(index)
        assert same(seen[index + 1], training.model.state_dict()), index + 1


def _data(store: Store):
    from runners.trial.run import data_of

    return data_of(TRIAL, store, None)


def test_what_goes_wrong_in_the_thread_ends_the_training(behind, tmp_path, monkeypatch):
    store, save = Store(tmp_path), Store.save

    def full(trial_id, state, epochs):
        if len(epochs) == 3:
            raise StoreError("the disk is full")
        save(store, trial_id, state, epochs)

    monkeypatch.setattr(store, "save", full)
    told = []
    with pytest.raises(StoreError, match="full"):
        told += [e.epoch for epochs in run(TRIAL, store, device="cpu") for e in epochs]
    monkeypatch.undo()
    assert len(store.checkpoint(TRIAL.id)[1]) == 2 and store.record(TRIAL.id) is None
    again = [[e.epoch for e in epochs] for epochs in run(TRIAL, store, device="cpu")]
    assert again[0] == [1, 2] and store.record(TRIAL.id).status == "finished"


def test_the_last_checkpoint_of_a_stopped_training_is_whole(behind, tmp_path, monkeypatch):
    store = Store(tmp_path)
    gate = Gate(store, monkeypatch, 3)
    training = run(TRIAL, store, device="cpu")
    next(training)  # 1
    next(training)  # 2, while the third is being written
    assert gate.begun.wait(60)
    threading.Timer(0.2, gate.open.set).start()
    training.close()
    assert len(store.checkpoint(TRIAL.id)[1]) == 3


def test_the_epochs_before_a_divergence_are_told(behind, tmp_path, monkeypatch):
    store, epoch = Store(tmp_path), Training.epoch

    def diverging(self, index):
        if index == 2:
            raise Diverged("nan")
        return epoch(self, index)

    monkeypatch.setattr(Training, "epoch", diverging)
    told = [e.epoch for epochs in run(TRIAL, store, device="cpu") for e in epochs]
    record = store.record(TRIAL.id)
    assert told == [1, 2] and record.status == "diverged" and len(record.epochs) == 2


def test_nothing_is_being_written_when_a_search_may_end_its_trial(behind, tmp_path):
    store, searched = Store(tmp_path), replace(TRIAL, config=replace(TRIAL.config, test=False))
    for epochs in run(searched, store, device="cpu"):
        assert len(store.checkpoint(searched.id)[1]) == epochs[-1].epoch


@pytest.mark.parametrize(
    ("seconds", "epoch_s", "behind", "thread"),
    [
        (0.1, 0.1, True, False),  # not worth it
        (0.5, 29.0, True, False),  # less than a twentieth
        (5.0, 31.0, True, False),  # its report would wait for long
        (0.5, 3.0, False, False),  # a search's
        (0.5, 3.0, True, True),
    ],
)
def test_a_thread_is_used_where_writing_would_hold_up(seconds, epoch_s, behind, thread, tmp_path):
    store, threads = Store(tmp_path), []
    store.save = lambda *_: threads.append(threading.current_thread())  # type: ignore[method-assign]
    epochs = [records.epoch(n, seconds=epoch_s) for n in (1, 2)]
    with Saver(store, "t", 0, behind=behind) as saver:
        saver.save(dict, epochs[:1])
        saver._seconds = seconds
        saver.save(dict, epochs)
        saver.wait()
        assert saver.news(epochs) == epochs and saver.news(epochs) == []
    assert [t is threading.main_thread() for t in threads] == [True, not thread]


@pytest.mark.parametrize(
    ("seconds", "epoch_s", "behind", "saved"),
    [
        (0.004, 0.5, True, range(1, 12)),  # less than a hundredth
        (0.016, 0.5, True, [1, 5, 9]),  # a hundredth of four epochs
        (0.1, 0.5, True, [1, 11]),  # else more than five seconds might be lost
        (0.5, 2.4, True, [1, 3, 5, 7, 9, 11]),
        (0.5, 2.6, True, range(1, 12)),
        (0.1, 0.5, False, range(1, 12)),  # a search's
    ],
)
def test_a_checkpoint_waits_where_epochs_are_short(
    seconds, epoch_s, behind, saved, tmp_path, monkeypatch
):
    monkeypatch.setattr(saving, "WAIT_S", 5.0)
    store, seen = Store(tmp_path), []
    store.save = lambda _, state, epochs: seen.append(len(epochs))  # type: ignore[method-assign]
    epochs = [records.epoch(n, seconds=epoch_s) for n in range(1, 12)]
    told = []
    with Saver(store, "t", 0, behind=behind) as saver:
        for n in range(1, 12):
            saver.save(dict, epochs[:n])
            saver.wait()
            saver._seconds = seconds
            told += saver.news(epochs[:n])
    assert seen == [*saved] and told == epochs[: seen[-1]]


def test_what_no_checkpoint_has_is_told_after_the_record_and_trained_again_after_a_kill(
    tmp_path, monkeypatch
):
    store, plain = Store(tmp_path / "waits"), Store(tmp_path / "plain")
    list(run(TRIAL, plain, device="cpu"))
    monkeypatch.setattr(saving, "WAIT_S", 1e6)
    monkeypatch.setattr(saving, "SELDOM", 0.0)
    training = run(TRIAL, store, device="cpu")
    assert [e.epoch for e in next(training)] == [1]
    training.close()
    assert len(store.checkpoint(TRIAL.id)[1]) == 1
    told = [([e.epoch for e in n], store.ended(TRIAL.id)) for n in run(TRIAL, store, device="cpu")]
    assert told == [([1], False), ([2], False), ([3, 4], True)]
    assert same(weights(store), weights(plain))


def test_a_copy_is_the_same_to_a_model_and_an_optimizer():
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    steps = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    model(torch.ones(2, 2, 4, 4)).sum().backward()
    steps.step()
    state = {"model": model.state_dict(), "optimizer": steps.state_dict(), "n": 3, "of": (1, [2])}
    made = copied(state)
    assert isinstance(made["model"], OrderedDict)
    assert made["model"]._metadata == state["model"]._metadata
    assert made["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    before = made["model"]["0.weight"].clone()
    with torch.no_grad():
        model[0].weight += 1
    assert torch.equal(made["model"]["0.weight"], before) and (made["n"], made["of"]) == (
        3,
        (1, [2]),
    )


KILLED = """
import sys
import torch
from runners.store import Store
from runners.trial import saving
from runners.trial.run import run
from tests.runners.trial.test_saving import TRIAL

torch.set_num_threads(1)  # as here: more add in another order
saving.WORTH_S = saving.SHARE = saving.WAIT_S = 0.0
for epochs in run(TRIAL, Store(sys.argv[1]), device="cpu"):
    print(epochs[-1].epoch, flush=True)
"""


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_what_was_told_survives_a_kill_at_any_moment(epoch, tmp_path):
    line = [sys.executable, "-c", KILLED, str(tmp_path / "runs")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        for told in process.stdout:
            if int(told) == epoch:
                time.sleep(0.02)
                process.kill()
                break
    store = Store(tmp_path / "runs")
    if store.record(TRIAL.id) is None:
        assert len(store.checkpoint(TRIAL.id)[1]) >= epoch
    list(run(TRIAL, store, device="cpu"))
    whole = Store(tmp_path / "whole")
    list(run(TRIAL, whole, device="cpu"))
    assert same(weights(store), weights(whole))
