"""Few lines where there is no terminal; a table where there is one."""

import io

import pytest
from rich.console import Console as Terminal
from rich.live import Live

from runners.launch.console import Console, duration
from runners.plan import load
from runners.store import Epoch, Record, Result


def epoch(n: int) -> Epoch:
    return Epoch(n, 0.1, 1.0, 50.0, 1.0, 50.0, 2.0, 100.0, n)


def record(trial, top1=90.0) -> Record:
    result = Result(top1, 99.0, "ff", 1, 1, 1, 1, 1.0, 1.0, 0, 0.5) if top1 else None
    return Record(
        trial.id,
        "s",
        trial.variant,
        trial.seed,
        {},
        "finished" if top1 else "failed",
        "" if top1 else "why",
        [epoch(1)],
        result,
        {},
    )


def test_fifty_trials_print_fewer_than_200_lines(write_sweep, capsys):
    sweep = load(write_sweep(base={"epochs": 20}, seeds=25))
    console = Console(sweep, {})
    for trial in sweep.trials:
        console.started(trial)
        for n in range(1, 21):
            console.epochs(trial, [epoch(n)])
            console.tick()
        console.ended(trial, record(trial))
    console.close()
    lines = capsys.readouterr().out.splitlines()
    assert 50 < len(lines) < 70
    assert "[50/50] S+C seed24: test top-1 90.00 %, 0.5 min" in lines and any(
        line.startswith("50 % of all epochs, about") for line in lines
    )


def test_a_terminal_gets_one_table(write_sweep):
    sweep = load(write_sweep(base={"epochs": 4}))
    first, second, *_ = sweep.trials
    console = Console(sweep, {first.id: record(first)})
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
