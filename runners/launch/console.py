"""What a person sees while a phase runs: one live table on a terminal, few lines elsewhere."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console as Terminal
from rich.live import Live
from rich.table import Table

from runners.plan import Trial
from runners.redaction import mask
from runners.store import Epoch, Record, State, label, shown

REDRAW_S = 0.25
BEST = 5  # of a search's trials, in its table


def _redraws() -> bool:
    """Whether the output is a terminal's, where lines can be drawn over.

    The command of a notebook (`!sweeps run`) has a terminal too, but shows each drawing below the
    last. Notebooks also set FORCE_COLOR, which makes rich take even a pipe for a terminal.
    """
    return sys.stdout.isatty() and "JPY_PARENT_PID" not in os.environ


class Console:
    """Progress of a phase, as the driver reports it: trials start, finish epochs, stop and end.

    Args:
        title: of the phase.
        trials: those that are known; the trials of a search come into being as it goes.
        records: of the trials that had ended before.
        total: how many trials there will be; as many as are known, where it is not given.
        view: makes the live table; a comparison's where it is not given.
    """

    def __init__(
        self,
        title: str,
        trials: Iterable[Trial],
        records: dict[str, Record],
        total: int | None = None,
        view: Callable[[Console], Table] | None = None,
    ):
        self.title, self.records = title, dict(records)
        self.trials = {t.id: t for t in trials}
        self.total = len(self.trials) if total is None else total
        self.view = view or by_variant
        self.running: dict[str, Epoch | None] = {}  # trial -> its last epoch
        self.seconds: dict[str, list[float]] = {}  # variant -> of each epoch
        self.terminal = Terminal(stderr=False)
        self.live = None
        if _redraws() and self.terminal.is_terminal and not self.terminal.is_dumb_terminal:
            self.live = Live(console=self.terminal, auto_refresh=False, transient=True)
        self.drawn_at, self.tenths = 0.0, 0

    def expect(self, trials: Sequence[Trial]) -> None:
        """More trials than were known, since the seeds of some variants grow."""
        self.trials |= {t.id: t for t in trials}
        self.total, self.tenths = len(self.trials), 0
        variants = ", ".join(dict.fromkeys(t.variant for t in trials))
        self.say(f"not decided yet: {len(trials)} more trials, of {variants}")

    def started(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        self.running[trial.id] = None

    def epochs(self, trial: Trial, epochs: list[Epoch]) -> None:
        self.running[trial.id] = epochs[-1]
        self.seconds.setdefault(trial.variant, []).extend(e.seconds for e in epochs)
        if not self.live:
            self._print_progress()

    def stopped(self, trial: Trial) -> None:
        """The trial runs no longer, but has not ended."""
        self.running.pop(trial.id, None)

    def ended(self, trial: Trial, record: Record) -> None:
        self.running.pop(trial.id, None)
        self.trials[trial.id], self.records[trial.id] = trial, record
        # the live table shows how the others ended
        if not self.live or record.status not in (State.FINISHED, State.PRUNED):
            self.say(f"[{len(self.records)}/{self.total}] {trial.name}: {_outcome(record)}")

    def say(self, line: str) -> None:
        line = mask(line)
        if self.live:
            self.terminal.print(line, highlight=False, markup=False)
        else:
            print(line)

    def tick(self) -> None:
        """Redraw, a few times a second at most."""
        if self.live and time.monotonic() - self.drawn_at > REDRAW_S:
            self.drawn_at = time.monotonic()
            self.live.start()  # if it has not
            self.live.update(self.view(self), refresh=True)

    def close(self) -> None:
        if self.live:
            self.live.stop()

    @property
    def primary(self) -> str:
        """The name of the primary score; empty until a trial has ended with figures."""
        return next((r.primary for r in self.records.values() if r.primary), "")

    @property
    def summary(self) -> str:
        """How far the phase is."""
        return f"{self.title}: {len(self.records)} of {self.total} trials{self._left()}"

    @property
    def _to_come(self) -> float:
        """Epochs of the trials that are not known yet, as many as the known ones have."""
        known = [t.config.epochs for t in self.trials.values()]
        return max(0, self.total - len(known)) * statistics.fmean(known) if known else 0.0

    def _left(self) -> str:
        """How long the rest takes at the pace so far; empty before the first epoch.

        As many trials at a time as now, each epoch as long as those of its variant so far.
        """
        every = [s for seconds in self.seconds.values() for s in seconds]
        if not every or not self.running:
            return ""
        left = self._to_come * statistics.fmean(every)
        for trial in self.trials.values():
            if trial.id not in self.records:
                epochs = trial.config.epochs - self.epoch(trial)
                left += epochs * statistics.fmean(self.seconds.get(trial.variant) or every)
        return f", about {duration(left / len(self.running))} left"

    def epoch(self, trial: Trial) -> int:
        """The last epoch that a running trial has finished."""
        last = self.running.get(trial.id)
        return last.epoch if last else 0

    def _print_progress(self) -> None:
        """A line per tenth of the work, so that a log file shows life."""
        total = sum(t.config.epochs for t in self.trials.values()) + self._to_come
        ended = sum(self.trials[i].config.epochs for i in self.records)
        tenths = int(10 * (ended + sum(e.epoch for e in self.running.values() if e)) / total)
        if tenths > self.tenths:
            self.tenths = tenths
            print(f"{10 * tenths} % of all epochs{self._left()}")


def by_variant(console: Console) -> Table:
    """The table of a comparison: a variant each row, with its mean so far."""
    table = _table(console, "variant", "seeds finished", f"mean {label(console.primary)}")
    table.add_column("running")
    for variant in dict.fromkeys(t.variant for t in console.trials.values()):
        trials = [t for t in console.trials.values() if t.variant == variant]
        records = [console.records[t.id] for t in trials if t.id in console.records]
        scores = [r.score for r in records if r.score is not None]
        running = [
            f"seed {t.seed}: epoch {console.epoch(t)}/{t.config.epochs}"
            for t in trials
            if t.id in console.running
        ]
        table.add_row(
            variant,
            f"{len(scores)}/{len(trials)}",
            f"{statistics.fmean(scores):.2f}" if scores else "",
            ", ".join(running),
        )
    return table


def best_first(console: Console) -> Table:
    """The table of a search: its best trials so far, then those that run."""
    table = _table(console, "best so far", f"val {label(console.primary)}")
    scored = [
        (record.val_score, console.trials[i].variant)
        for i, record in console.records.items()
        if record.status == State.FINISHED and record.val_score is not None
    ]
    for score, variant in sorted(scored, key=lambda pair: -pair[0])[:BEST]:
        table.add_row(variant, f"{score:.2f}")
    for trial in (console.trials[i] for i in console.running):
        epoch = f"epoch {console.epoch(trial)}/{trial.config.epochs}"
        table.add_row(f"running: {trial.variant}, {epoch}", "")
    return table


def _table(console: Console, first: str, *others: str) -> Table:
    title = console.summary
    # a title wraps at the width of the columns
    table = Table(title=title, box=None, title_justify="left", min_width=len(title))
    table.add_column(first)
    for header in others:
        table.add_column(header, justify="right")
    return table


def _outcome(record: Record) -> str:
    if record.result:
        score = shown(record.primary, record.result.score)
        return f"test {score}, {duration(60 * record.result.minutes)}"
    if record.status == State.FINISHED and record.val_score is not None:
        return (
            f"validation {shown(record.primary, record.val_score)}, {duration(60 * record.minutes)}"
        )
    return f"{record.status}: {record.reason}"


def duration(seconds: float) -> str:
    """1 h 05 min, 4 min, 20 s"""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 100 else f"{minutes} min"
