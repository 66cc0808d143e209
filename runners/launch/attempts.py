"""Workers that ended before their trial: whose fault it was, and whether the trial tries again.

| a worker ended | whose fault | the trial |
|---|---|---|
| by an error of its trial | the trial's | again twice (runners/launch/worker.py) |
| killed, or with its node | nobody's | again, at most DEATHS times without an epoch |
| silent for limits.stall_minutes | the trial's | again, at most RETRIES times without an epoch |
| memory is full, others hold most of it | nobody's | again: fewer at a time, or after a pause |
| memory is full, by this trial alone | the trial's | again, at most RETRIES times |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runners.launch.liveness import Clock
from runners.launch.node_memory import Full, Pressure
from runners.launch.recorder import Recorder
from runners.launch.worker import RETRIES
from runners.plan import Trial
from runners.store import State

DEATHS = 5  # of a trial's workers in a row, without an epoch in between


class Attempts:
    """Counts the attempts of a phase's trials, and ends a trial that had enough of them."""

    def __init__(self, recorder: Recorder, clock: Clock):
        self.recorder, self.say, self.clock = recorder, recorder.console.say, clock
        self.pressure = Pressure()
        # (trial, how) -> ends of its workers since it finished an epoch
        self.ends: Counter[tuple[str, str]] = Counter()

    def advanced(self, trial: Trial) -> None:
        """The trial finished an epoch."""
        self.pressure.advanced()
        for key in [key for key in self.ends if key[0] == trial.id]:
            del self.ends[key]

    def erred(self, trial: Trial, why: str, attempt: int) -> None:
        """Its worker reported an error, and has counted it."""
        log = self.recorder.log_file(trial)
        self.say(f"{trial.name}: attempt {attempt}: {why}{f' ({log})' if log else ''}")

    def died(self, trial: Trial, how: str = "") -> None:
        """Its worker was killed, or was lost with its node; `how` is Ray's word for it."""
        log = self.recorder.log_file(trial)
        words = f"; its last words are in {log}" if log else ""
        why = f"its worker died {DEATHS + 1} times without finishing an epoch{words}"
        if self._again(trial, "died", DEATHS, why):
            known = "".join(f" ({part})" for part in (how, log) if part)
            self.say(f"{trial.name}: its worker died; it goes on from its last epoch{known}")

    def stalled(self, trial: Trial, minutes: float) -> None:
        """Its worker was ended, because no epoch came for so long."""
        why = (
            f"no epoch within {minutes:g} min, {RETRIES + 1} times (limits.stall_minutes; "
            "set it higher if an epoch takes longer)"
        )
        if self._again(trial, "stalled", RETRIES, why):
            self.say(f"{trial.name}: it goes on from its last epoch")

    def out_of_memory(self, full: Full, lost: Sequence[Trial], at_a_time: int) -> str:
        """Ray killed the workers of `lost` for their node's memory, of so many that ran.

        Returns:
            Why the sweep has to stop; empty: it goes on.
        """
        names = ", ".join(trial.name for trial in lost)
        if at_a_time <= 1 and full.ours > full.others:
            for trial in lost:
                why = (
                    f"its worker needs more memory than there is: {full.used:.1f} of "
                    f"{full.total:.1f} GB were used, {full.ours:.1f} of them by it alone"
                )
                if self._again(trial, "memory", RETRIES, why):
                    self.say(f"{trial.name}: {why}; it goes on from its last epoch")
            return ""
        for trial in lost:
            self.recorder.store.note_failure(trial.id, "memory")
        self.pressure.killed(at_a_time, self.clock.now)
        if self.pressure.hopeless(self.clock.now):
            return f"{full}, and no trial can run"
        wait = self.pressure.until - self.clock.now
        way = (
            f"again in {wait:.0f} s" if wait > 0 else f"{self.pressure.at_most} at a time from now"
        )
        self.say(f"{full}; Ray killed the worker of {names}: {way}")
        return ""

    def _again(self, trial: Trial, how: str, most: int, why: str) -> bool:
        """Count an end of the trial's worker; False: it was one too many, and `why` ends the trial.

        The count in the store is for the record, and for every later start of the command.
        """
        self.recorder.store.note_failure(trial.id, how)
        self.ends[trial.id, how] += 1
        if self.ends[trial.id, how] > most:
            self.recorder.verdicts[trial.id] = (State.FAILED, why)
            return False
        return True
