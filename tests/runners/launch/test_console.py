"""Few lines where there is no terminal; a table where there is one."""

import io
import sys

import pytest
from rich.console import Console as Terminal
from rich.live import Live

from runners.launch.console import Console, best_first, duration
from runners.plan import load
from tests import records


def epoch(n: int):
    return records.epoch(n, seconds=2.0)


def record(trial, top1=90.0):
    if not top1:
        return records.record(trial, "failed")
    return records.record(trial, result=records.result(round(top1 * 1.6), minutes=0.5))


def test_fifty_trials_print_fewer_than_200_lines(write_sweep, capsys):
    sweep = load(write_sweep(base={"epochs": 20}, seeds=25))
    console = Console(sweep.name, sweep.trials, {})
    for trial in sweep.trials:
        console.started(trial)
        for n in range(1, 21):
            console.epochs(trial, [epoch(n)])
            console.tick()
        console.ended(trial, record(trial))
    console.close()
    lines = capsys.readouterr().out.splitlines()
    assert 50 < len(lines) < 70
    assert "[50/50] S+C seed24: test top-1 90.00 %, 30 s" in lines and any(
        line.startswith("50 % of all epochs, about") for line in lines
    )


def test_a_terminal_gets_one_table(write_sweep):
    sweep = load(write_sweep(base={"epochs": 4}))
    first, second, *_ = sweep.trials
    console = Console(sweep.name, sweep.trials, {first.id: record(first)})
    screen = io.StringIO()
    console.terminal = Terminal(file=screen, force_terminal=True, width=100)
    console.live = Live(console=console.terminal, auto_refresh=False)
    console.live.start()
    console.started(second)
    console.epochs(second, [epoch(1)])
    console.tick()
    shown = screen.getvalue()
    assert (
        "1 of 4 trials, about 22 s left" in shown.replace("\x1b[3m", "")
        and "seed 0: epoch 1/4" in shown
        and "90.00" in shown
    )
    console.ended(second, record(second, None))
    assert (
        "[2/4] S+C seed0: failed: why" in screen.getvalue()
    )  # failures are said, successes are in the table


@pytest.mark.parametrize(
    "seconds, text", [(20, "20 s"), (99, "99 s"), (240, "4 min"), (7200, "2 h 00 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_search_shows_its_best_and_estimates_trials_that_are_not_known_yet(write_sweep):
    sweep = load(write_sweep(base={"epochs": 4}))
    first, second, *_ = sweep.trials
    judged = records.record(first, result=None, epochs=[epoch(1)])
    console = Console("tiny, search", [first], {first.id: judged}, 8, best_first)
    screen = io.StringIO()
    console.terminal = Terminal(file=screen, force_terminal=True, width=100)
    console.live = Live(console=console.terminal, auto_refresh=False)
    console.started(second)
    console.epochs(second, [epoch(1)])
    console.tick()
    shown = screen.getvalue().replace("\x1b[3m", "")
    # 3 epochs of the one that runs, 6 trials of 4 epochs to come, 2 s each
    assert "tiny, search: 1 of 8 trials, about 54 s left" in shown
    assert "running: S+C, epoch 1/4" in shown and "50.00" in shown


def test_trials_that_are_asked_for_later_are_counted(write_sweep, capsys):
    sweep = load(write_sweep(seeds=1))
    more = load(write_sweep(seeds=2)).trials[len(sweep.trials) :]
    console = Console(sweep.name, sweep.trials, {})
    for trial in sweep.trials:
        console.ended(trial, record(trial))
    console.expect(more)
    console.ended(more[0], record(more[0]))
    n, out = len(sweep.trials), capsys.readouterr().out
    assert f"[{n}/{n}]" in out and f"[{n + 1}/{n + len(more)}]" in out
    assert f"not decided yet: {len(more)} more trials, of" in out


@pytest.mark.parametrize(
    ("tty", "env", "drawn"),
    [
        (True, {"TERM": "xterm", "FORCE_COLOR": "1"}, True),
        (True, {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
        (False, {"FORCE_COLOR": "1"}, False),
        (True, {"JPY_PARENT_PID": "7", "FORCE_COLOR": "1"}, False),
    ],
    ids=["a terminal", "a dumb one", "a pipe of a notebook", "a notebook's command"],
)
def test_a_table_is_drawn_over_itself_on_a_terminal_alone(tty, env, drawn, monkeypatch):
    for name in ("FORCE_COLOR", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty, raising=False)
    assert (Console("s", [], {}).live is not None) == drawn
