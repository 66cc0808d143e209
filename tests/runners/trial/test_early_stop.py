"""A trial that stops early ends alike, however often it was interrupted."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from runners import data
from runners.errors import SweepError
from runners.plan import Config, EarlyStop, Trial, load
from runners.store import Store
from runners.tracking.entries import final_tags
from runners.trial.run import run
from runners.trial.training import Training

ROOT = Path(__file__).parents[3]
# the accuracy on 32 images goes up and down, so the best epoch is not the last
CONFIG = Config(
    "resnet20", "synthetic", epochs=9, batch_size=32, lr=0.3, schedule="constant",
    early_stop=EarlyStop(2, "top1", "best"),
)  # fmt: skip
TRIAL = Trial("s", "R20", CONFIG, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Store, Trial]:
    """A store with a trial that was trained without an interruption: the first seed, on this
    processor, whose best epoch is neither the first nor the last, and that stops early.
    """
    store = Store(tmp_path_factory.mktemp("whole"))
    for seed in range(20):
        trial = replace(TRIAL, seed=seed)
        list(run(trial, store, device="cpu"))
        record = store.record(trial.id)
        if 1 < record.best < len(record.epochs) < CONFIG.epochs:
            return store, trial
    pytest.fail("no seed of twenty stops early behind its best epoch")


# a process that is killed when its first new epoch is saved
KILLED = """
import os, signal, sys, torch
from dataclasses import replace
from runners.store import Store
from runners.trial.run import run
from tests.runners.trial.test_early_stop import TRIAL

torch.set_num_threads(int(sys.argv[2]))
store, trial = Store(sys.argv[1]), replace(TRIAL, seed=int(sys.argv[3]))
known = bool(store.checkpoint(trial.id))
for n, epochs in enumerate(run(trial, store, device="cpu")):
    if n == known:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_after_every_epoch_it_ends_as_undisturbed(whole, tmp_path):
    (whole, trial), store, killed = whole, Store(tmp_path), 0
    numbers = str(torch.get_num_threads()), str(trial.seed)
    line = [sys.executable, "-c", KILLED, str(tmp_path), *numbers]
    while not store.record(trial.id):
        ended = subprocess.run(line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert ended.returncode in (0, -signal.SIGKILL)
        killed += ended.returncode != 0
    a, b = whole.record(trial.id), store.record(trial.id)
    assert killed == len(a.epochs)
    assert (b.best, len(b.epochs)) == (a.best, len(a.epochs))
    assert b.result.correct == a.result.correct and b.result.scores == a.result.scores
    mine, theirs = store.weights(b), whole.weights(a)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.slow
def test_the_weights_are_those_of_the_best_epoch(whole, tmp_path):
    """Against a training that simply ends with that epoch."""
    whole, trial = whole
    record = whole.record(trial.id)
    straight = Training(
        replace(trial, config=replace(CONFIG, early_stop=None)), data.load("synthetic")
    )
    for index in range(record.best):
        straight.epoch(index)
    expected, weights = straight.model.state_dict(), whole.weights(record)
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    assert record.val_score == record.epochs[record.best - 1].val_score
    assert final_tags(record)["best_epoch"] == str(record.best)


def test_the_checkpoint_has_a_second_set_of_weights_only_where_it_is_needed():
    synthetic = data.load("synthetic")
    for keep, expected in (("last", False), ("best", True)):
        config = replace(CONFIG, early_stop=EarlyStop(2, keep=keep))
        training = Training(replace(TRIAL, config=config), synthetic)
        training.keep_best([training.epoch(0)])
        assert ("best" in training.state()) == expected


def test_it_is_read_from_a_file_and_from_a_record_and_is_part_of_the_id(write_sweep):
    stop = {"patience": 3, "monitor": "top1", "keep": "best"}
    base = {"recipe": "adam", "early_stop": stop}
    (config, *_) = load(write_sweep(base=base)).variants.values()
    assert config.early_stop == EarlyStop(3, "top1", "best")
    again = Config(**asdict(config))
    assert again == config and again.canonical == config.canonical
    assert "early_stop" not in replace(config, early_stop=None).canonical
    recipe = load(write_sweep(base={"recipe": "adam"})).variants["R20"]
    assert recipe.early_stop == EarlyStop(5, "loss", "best")


@pytest.mark.parametrize(
    "base, message",
    [
        (
            {"early_stop": {"patience": 3}},
            "base.early_stop: an annealing that is cut off is another protocol, and schedule is",
        ),
        (
            {"recipe": "adam", "schedule": "cosine"},
            "base.early_stop, of recipe adam: an annealing that is cut off",
        ),
        (
            {"recipe": "paper", "early_stop": {"patience": 3}, "val_fraction": 0},
            "base.early_stop: looks at a validation split, and val_fraction is 0; set",
        ),
        ({"early_stop": {"patience": 0}}, "base.early_stop.patience: must be at least 1, got 0"),
        ({"early_stop": {"patience": 2, "monitor": "f1"}}, "base.early_stop.monitor: must be"),
        ({"early_stop": {"patience": 2, "min_delta": 0.1}}, "unknown key 'min_delta'"),
        ({"early_stop": {}}, "early_stop.patience' is missing"),
    ],
)
def test_what_cannot_stop_early_is_refused_in_one_line(base, message, write_sweep):
    with pytest.raises(SweepError) as error:
        load(write_sweep(base=base))
    assert message in str(error.value) and "\n" not in str(error.value)
