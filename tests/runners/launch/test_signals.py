"""Ctrl-C and SIGTERM: when they interrupt, and when they wait."""

import os
import signal

import pytest

from runners.launch.signals import Signals


@pytest.fixture
def stops():
    """How often a stop was asked for."""
    return []


def answered(signals, stops):
    return signals.answered(lambda: bool(stops), lambda: stops.append(1))


def test_an_interruption_waits_for_the_write_under_way(stops):
    """A write to the database that is cut off leaves it locked."""
    signals, done = Signals(), []
    with answered(signals, stops), pytest.raises(KeyboardInterrupt):
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            assert stops and not signals.at_once  # the first one asks the trials to end
            with signals.deferred():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("never")
    assert done == ["inner", "outer"] and stops == [1]


def test_sigterm_interrupts_at_once_where_nothing_is_written(stops):
    signals = Signals()
    with answered(signals, stops), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not stops


def test_ctrl_c_while_a_limit_stops_the_sweep_means_at_once():
    with Signals().answered(lambda: True, lambda: None), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_are_back_afterwards(stops):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with answered(Signals(), stops):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
