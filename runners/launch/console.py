"""What a person sees while a sweep runs: one live table on a terminal, few plain lines
elsewhere.
"""

from __future__ import annotations

import statistics
import time

from rich.console import Console as Terminal
from rich.live import Live
from rich.table import Table

from runners.masking import mask
from runners.plan import Sweep, Trial
from runners.store import Epoch, Record, State, label, shown


class Console:
    """Progress of a sweep, told by the driver: started, epochs, ended. `records`: what was done
    before.
    """

    def __init__(self, sweep: Sweep, records: dict[str, Record]):
        self.sweep, self.records = sweep, dict(records)
        self.trials = {t.id: t for t in sweep.trials}
        self.running: dict[str, Epoch | None] = {}
        self.seconds: dict[str, list[float]] = {}
        self.terminal = Terminal(stderr=False)
        self.live = (
            Live(console=self.terminal, auto_refresh=False, transient=True)
            if self.terminal.is_terminal
            else None
        )
        self.drawn, self.told = 0.0, 0

    def started(self, trial: Trial) -> None:
        self.running[trial.id] = None

    def epochs(self, trial: Trial, epochs: list[Epoch]) -> None:
        self.running[trial.id] = epochs[-1]
        self.seconds.setdefault(trial.variant, []).extend(e.seconds for e in epochs)
        if not self.live:
            self._tell_progress()

    def stopped(self, trial: Trial) -> None:
        """The trial runs no longer, but has not ended."""
        self.running.pop(trial.id, None)

    def ended(self, trial: Trial, record: Record) -> None:
        self.running.pop(trial.id, None)
        self.records[trial.id] = record
        if not self.live or record.status not in (State.FINISHED, State.PRUNED):
            self.say(f"[{len(self.records)}/{self._total}] {trial.name}: {_outcome(record)}")

    @property
    def _total(self) -> int:
        return len(self.trials)

    @property
    def _primary(self) -> str:
        """The name of the primary score; empty until a trial has ended with figures."""
        return next((r.primary for r in self.records.values() if r.primary), "")

    def say(self, line: str) -> None:
        line = mask(line)
        if self.live:
            self.terminal.print(line, highlight=False, markup=False)
        else:
            print(line)

    def tick(self) -> None:
        """Redraw, a few times a second at most."""
        if self.live and time.monotonic() - self.drawn > 0.25:
            self.drawn = time.monotonic()
            self.live.start()  # if it has not
            self.live.update(self._table(), refresh=True)

    def close(self) -> None:
        if self.live:
            self.live.stop()

    def _left(self) -> str:
        """How long the rest takes at the pace so far, with as many trials at a time as now; nothing
        before the first epoch.
        """
        every = [s for rows in self.seconds.values() for s in rows]
        if not every or not self.running:
            return ""
        left = 0.0
        for trial in self.trials.values():
            if trial.id not in self.records:
                last = self.running.get(trial.id)
                epochs = trial.config.epochs - (last.epoch if last else 0)
                left += epochs * statistics.fmean(self.seconds.get(trial.variant) or every)
        return f", about {duration(left / len(self.running))} left"

    def _table(self) -> Table:
        table = Table(
            title=f"{self.sweep.name}: {len(self.records)} of {len(self.trials)} trials"
            + self._left(),
            box=None,
            title_justify="left",
        )
        table.add_column("variant")
        table.add_column("seeds done", justify="right")
        table.add_column(f"mean {label(self._primary)}", justify="right")
        table.add_column("running")
        for variant, config in self.sweep.variants.items():
            mine = [t for t in self.trials.values() if t.variant == variant]
            ended = [self.records[t.id] for t in mine if t.id in self.records]
            scores = [r.score for r in ended if r.score is not None]
            now = [
                f"seed {t.seed}: epoch "
                f"{e.epoch if (e := self.running[t.id]) else 0}/{config.epochs}"
                for t in mine
                if t.id in self.running
            ]
            table.add_row(
                variant,
                f"{len(scores)}/{len(mine)}",
                f"{statistics.fmean(scores):.2f}" if scores else "",
                ", ".join(now),
            )
        return table

    def _tell_progress(self) -> None:
        """A line per tenth of the work, so that a log file shows life."""
        total = sum(t.config.epochs for t in self.trials.values())
        ended = sum(self.trials[i].config.epochs for i in self.records)
        tenth = 10 * (ended + sum(e.epoch for e in self.running.values() if e)) // total
        if tenth > self.told:
            self.told = tenth
            print(f"{10 * tenth} % of all epochs{self._left()}")


class SearchConsole(Console):
    """Progress of a search, whose trials come into being as it goes; `total` is how many there will
    be.
    """

    def __init__(self, sweep: Sweep, trials: list[Trial], records: dict[str, Record], total: int):
        super().__init__(sweep, records)
        self.trials, self.total = {t.id: t for t in trials}, total

    @property
    def _total(self) -> int:
        return self.total

    def started(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        super().started(trial)

    def _left(self) -> str:
        minutes = [r.minutes for r in self.records.values() if r.epochs]
        if not minutes or not self.running:
            return ""
        to_go = (self.total - len(self.records)) / len(self.running)
        return f", about {duration(60 * statistics.fmean(minutes) * to_go)} left"

    def _table(self) -> Table:
        table = Table(
            title=f"{self.sweep.name}, search: {len(self.records)} of {self.total} trials"
            + self._left(),
            box=None,
            title_justify="left",
        )
        table.add_column("best so far")
        table.add_column(f"val {label(self._primary)}", justify="right")
        done = [
            (r.val_score, self.trials[i])
            for i, r in self.records.items()
            if r.status == State.FINISHED and r.val_score is not None
        ]
        for score, trial in sorted(done, key=lambda pair: -pair[0])[:5]:
            table.add_row(trial.variant, f"{score:.2f}")
        for i, epoch in self.running.items():
            table.add_row(
                f"running: {self.trials[i].variant}, epoch "
                f"{epoch.epoch if epoch else 0}/{self.trials[i].config.epochs}",
                "",
            )
        return table

    def _tell_progress(self) -> None:
        """Every ended trial has a line; that is life enough."""


def _outcome(record: Record) -> str:
    if record.result:
        score = shown(record.primary, record.result.score)
        return f"test {score}, {record.result.minutes:.1f} min"
    if record.status == State.FINISHED and record.val_score is not None:
        return f"validation {shown(record.primary, record.val_score)}, {record.minutes:.1f} min"
    return f"{record.status}: {record.reason}"


def duration(seconds: float) -> str:
    """1 h 05 min, 4 min, 20 s"""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 100 else f"{minutes} min"
