"""Processes that are to measure at the same time begin together, or not at all."""

import os
import threading

import pytest

from runners.trial import abreast
from runners.trial.abreast import Start


@pytest.fixture
def process(monkeypatch, tmp_path):
    """process(n, task) -> the thread that stands for the n-th process, and what it raised."""
    mine = threading.local()
    monkeypatch.setattr(os, "getpid", lambda: getattr(mine, "pid", 0))
    raised: dict[int, BaseException | None] = {}

    def begin(n: int, task) -> threading.Thread:
        def run() -> None:
            mine.pid = n
            try:
                task(Start(tmp_path / "start", 2))
                raised[n] = None
            except TimeoutError as error:
                raised[n] = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    return begin, raised


def test_the_first_waits_for_the_second(process):
    begin, raised = process
    first = begin(1, Start.wait)
    first.join(0.2)
    assert first.is_alive()
    second = begin(2, Start.wait)
    first.join(60)
    second.join(60)
    assert raised == {1: None, 2: None}


def test_one_that_cannot_take_part_is_not_waited_for(process, monkeypatch):
    begin, raised = process
    monkeypatch.setattr(abreast, "TOGETHER_S", 3600.0)
    first = begin(1, Start.wait)
    begin(2, Start.leave).join(60)
    first.join(60)
    assert isinstance(raised[1], TimeoutError) and raised[2] is None


def test_one_that_has_measured_leaves_no_word(process, tmp_path):
    begin, raised = process
    both = [begin(n, lambda start: (start.wait(), start.leave())) for n in (1, 2)]
    for thread in both:
        thread.join(60)
    assert raised == {1: None, 2: None} and not [*(tmp_path / "start").glob("*.left")]
