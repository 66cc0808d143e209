"""Trainings of unequal length: nothing of the longer ones is cut off, and each end is marked."""

from dataclasses import replace

import pytest

from analysis import figures, tables
from runners.plan import EarlyStop, load
from runners.store import Store
from tests import records


@pytest.fixture
def table(write_sweep, tmp_path):
    """One variant, whose seeds stopped after 3, 5 and 4 of 9 epochs."""
    stop = {"patience": 2, "keep": "best"}
    base = {"schedule": "constant", "epochs": 9, "early_stop": stop}
    sweep = load(write_sweep(base=base, variants={"R20": {}, "S": {"lr": 0.02}}, seeds=3))
    assert sweep.variants["R20"].early_stop == EarlyStop(2, "loss", "best")
    store = Store(tmp_path / "runs")
    for trial in sweep.trials[::2]:
        epochs = []
        for n in range(1, {0: 3, 1: 5, 2: 4}[trial.seed] + 1):
            epoch = records.epoch(n, val=10.0 * n + trial.seed)
            epochs.append(replace(epoch, val=epoch.val | {"loss": 1 - 0.1 * min(n, 2)}))
        records.overwrite(store, records.record(trial, epochs=epochs))
    return tables.read(sweep, store)


def test_the_mean_is_of_the_seeds_still_training_and_a_dot_is_where_one_stopped(table):
    lines = figures.curves(table).axes[0].lines
    dots = next(line for line in lines if line.get_marker() == ".")
    mean = next(line for line in lines if line.get_marker() in ("None", None, ""))
    assert [*map(tuple, dots.get_xydata())] == [(3, 30.0), (4, 42.0)]
    # seeds 0, 1, 2 stand 0, 1, 2 above ten points an epoch
    assert mean.get_xydata()[:, 1].tolist() == [11.0, 21.0, 31.0, 41.5, 51.0]


def test_the_footer_says_where_they_stopped_and_which_epoch_was_tested(table):
    said = "\n".join(tables.footer(table))
    assert "R20 trained for 3 to 5 of 9 epochs, until validation loss had not been better" in said
    assert "for 2; epoch 2, the best by validation loss, was tested." in said
    assert "on the test set after the training;" in said
