"""Progress for programs: a line of JSON for each event, where a person would see a table.

runners/schemas/progress-1.json describes a line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TextIO

from runners.launch.console import Console
from runners.plan import Trial
from runners.redaction import mask
from runners.store import Epoch, Record


@dataclass(frozen=True)
class Event:
    """Something that happened; what does not belong to its kind is at its default.

    Attributes:
        time: ms since 1970.
        trial: its id.
        epoch: the last one that the trial has finished, of `epochs`.
        figures: of that epoch, such as "val/top1"; of a trial that ended, its scores.
        state: how a trial ended, one of `runners.store.State`; `text` says why, if it failed.
        text: of a message, as a person would see it.
        ended, planned: trials of the phase.
        exit_status: of the command, which ends with this line.
    """

    event: Literal[
        "trial_started", "epoch", "trial_stopped", "trial_ended", "message", "command_ended"
    ]
    time: int
    trial: str = ""
    variant: str = ""
    seed: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    state: str = ""
    text: str = ""
    ended: int | None = None
    planned: int | None = None
    exit_status: int | None = None
    schema: Literal["scconv-sweeps/progress/1"] = "scconv-sweeps/progress/1"


class Events:
    """Writes events to a stream, a line each."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def emit(self, event: Any, **details: Any) -> None:
        line = Event(event, time.time_ns() // 1_000_000, **details)
        print(json.dumps(asdict(line)), file=self.stream, flush=True)


class EventConsole(Console):
    """A console whose reader is a program."""

    def __init__(
        self,
        events: Events,
        title: str,
        trials: Iterable[Trial],
        records: dict[str, Record],
        total: int | None = None,
        view: object = None,
    ):
        super().__init__(title, trials, records, total)
        self.events, self.live = events, None

    def started(self, trial: Trial) -> None:
        super().started(trial)
        self.events.emit("trial_started", **_of(trial))

    def epochs(self, trial: Trial, epochs: list[Epoch]) -> None:
        self.running[trial.id] = epochs[-1]
        for epoch in epochs:
            figures = {f"train/{name}": value for name, value in epoch.train.items()}
            figures |= {f"val/{name}": value for name, value in epoch.val.items()}
            self.events.emit("epoch", **_of(trial) | {"epoch": epoch.epoch}, figures=figures)

    def stopped(self, trial: Trial) -> None:
        super().stopped(trial)
        self.events.emit("trial_stopped", **_of(trial))

    def ended(self, trial: Trial, record: Record) -> None:
        self.running.pop(trial.id, None)
        self.trials[trial.id], self.records[trial.id] = trial, record
        self.events.emit(
            "trial_ended",
            **_of(trial) | {"epoch": len(record.epochs)},
            figures=dict(record.result.scores) if record.result else {},
            state=str(record.status),
            text=mask(record.reason),
            ended=len(self.records),
            planned=self.total,
        )

    def say(self, line: str) -> None:
        self.events.emit("message", text=mask(line))


def _of(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.id,
        "variant": trial.variant,
        "seed": trial.seed,
        "epochs": trial.config.epochs,
    }
