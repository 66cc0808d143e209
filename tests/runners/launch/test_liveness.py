"""Signs of life, by a clock that the test moves."""

import pytest

from runners.launch import liveness as module
from runners.launch.liveness import Clock, Liveness
from runners.plan import load
from tests.runners.launch.fakes import ROW


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    clock.now = 1000.0
    return clock


@pytest.fixture
def trials(write_sweep):
    return load(write_sweep(seeds=1)).trials


def epochs(*seconds):
    return [ROW.__class__(**vars(ROW) | {"seconds": s}) for s in seconds]


def test_a_stop_gives_an_epochs_usual_time_but_a_minute_at_least(clock, trials):
    life = Liveness(clock)
    assert life.grace([]) == life.grace(trials) == 60
    life.epochs("a", trials[0], epochs(8, 10, 300))
    assert life.grace(trials) == 60
    life.epochs("b", trials[1], epochs(200, 200, 2000))
    assert life.grace(trials[:1]) == 60 and life.grace(trials) == 300


def test_a_long_silence_is_reported_and_again_when_it_has_doubled(clock, trials):
    life = Liveness(clock)
    life.began("a", trials[0])
    clock.now += 599
    assert life.silences() == []
    clock.now += 1
    assert life.silences() == [(trials[0], 600)] and life.silences() == []
    clock.now += 599
    assert life.silences() == []
    clock.now += 1
    assert life.silences() == [(trials[0], 1200)]
    life.epochs("a", trials[0], epochs(1200))  # so long is usual for it
    clock.now += 3000
    assert life.silences() == []
    clock.now += 3000
    assert life.silences() == [(trials[0], 6000)]
    life.gone("a")
    clock.now += 100_000
    assert life.silences() == []


def test_a_trial_is_stalled_when_no_epoch_came_for_so_long(clock, trials):
    life = Liveness(clock)
    life.began("a", trials[0])
    life.began("b", trials[1])
    clock.now += 100
    life.epochs("b", trials[1], epochs(100))
    clock.now += 20
    assert life.stalled(120) == ["a"] and life.stalled(20) == ["a", "b"]


def test_a_driver_that_was_suspended_blames_nobody(monkeypatch):
    at = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    clock = Clock()
    for seconds in (0.1, 0.1, 7200.0, 0.1):
        at[0] += seconds
        clock.tick()
    assert clock.now == pytest.approx(0.3 + module.STEP_S)
