"""Stand-ins for Ray, MLflow and the screen, so that the driver can be tried without any of them."""

from runners.launch.driver import Driver
from runners.launch.limits import LimitWatch
from runners.launch.recorder import Recorder
from runners.launch.signals import Signals
from runners.plan import Limits, Trial
from runners.search.queue import Work
from runners.store import Store
from tests.records import epoch

ROW = epoch(1)


class Quiet:
    """A console, or a tracker, that prints nothing and remembers."""

    def __init__(self):
        self.lines, self.records = [], {}

    def say(self, line):
        self.lines.append(line)

    def ended(self, trial, record):
        self.records[trial.id] = record

    def end(self, trial, record, evaluation=None):
        pass

    def __getattr__(self, name):
        return lambda *arguments: None


class Tuned:
    """A trial as Tune has it."""

    def __init__(self, trial: Trial, key: str = "", error_file: str = ""):
        self.config, self.trial_id, self.error_file = {"trial": trial}, key or trial.id, error_file
        self.temporary_state = type("State", (), {"ray_actor": f"the worker of {trial.name}"})()
        self.finished = False

    def is_finished(self):
        return self.finished


def driver_of(work: Work, store: Store, limits: Limits | None = None) -> Driver:
    watch = LimitWatch(limits or Limits(), store)
    return Driver(Recorder(work, store, Quiet(), Quiet(), watch), Signals())


def rows(*epochs: int, seconds: float = 1.0) -> dict:
    """A worker's report of these epochs."""
    return {"epochs": [vars(ROW) | {"epoch": e, "seconds": seconds} for e in epochs]}
