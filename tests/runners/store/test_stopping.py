"""Early stopping as a function of the epochs so far."""

from dataclasses import replace

import pytest

from runners.plan import Config, EarlyStop
from runners.store.stopping import kept_epoch, stopped
from tests.records import epoch

LOSSES = [1.0, 0.8, 0.9, 0.8, 0.7, 0.75, 0.7, 0.71, 0.6]


def epochs(losses: list[float | None]) -> list:
    """Epochs with these validation losses; None: it overflowed. The accuracy falls as it rises."""
    found = []
    for n, loss in enumerate(losses, 1):
        val = {} if loss is None else {"loss": loss, "top1": 100 - 10 * loss}
        found.append(replace(epoch(n), val=val))
    return found


def config(patience: int, **settings) -> Config:
    return Config("resnet20", "digits", early_stop=EarlyStop(patience, **settings))


@pytest.mark.parametrize("monitor", ["loss", "top1"])
@pytest.mark.parametrize("patience, end", [(1, 3), (2, 4), (3, 8), (4, None)])
def test_it_stops_when_nothing_was_better_for_so_many_epochs(monitor, patience, end):
    # by hand: 0.8 of epoch 2 is met again in 4, not beaten; 0.7 of epoch 5 is beaten in 9
    assert stopped(config(patience, monitor=monitor), epochs(LOSSES)) == end


def test_every_beginning_of_a_training_agrees_with_the_whole():
    for patience in (1, 2, 3, 4):
        end = stopped(config(patience), epochs(LOSSES))
        for n in range(1, len(LOSSES) + 1):
            expected = end if end and n >= end else None
            assert stopped(config(patience), epochs(LOSSES[:n])) == expected


def test_a_loss_that_overflowed_is_no_better():
    assert stopped(config(2), epochs([None, None])) is None
    assert stopped(config(2), epochs([None, None, None])) == 3
    assert stopped(config(2), epochs([1.0, None, None, 0.5])) == 3
    assert kept_epoch(EarlyStop(9, keep="best"), epochs([None, None, 0.5, None])) == 3


def test_the_first_of_the_best_epochs_is_tested_or_the_last():
    best = EarlyStop(9, keep="best")
    assert [kept_epoch(best, epochs(LOSSES[:n])) for n in range(10)] == [
        0,
        1,
        2,
        2,
        2,
        5,
        5,
        5,
        5,
        9,
    ]
    assert kept_epoch(EarlyStop(9), epochs(LOSSES)) == kept_epoch(None, epochs(LOSSES)) == 9


def test_without_early_stopping_it_goes_on():
    assert stopped(Config("resnet20", "digits"), epochs([1.0, 2.0, 3.0])) is None
