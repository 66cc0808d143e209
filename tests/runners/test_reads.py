"""How often the driver asks the store for a trial's record: in a bucket each time is a request."""

import json
import os
import subprocess
import sys
from pathlib import Path

from runners.plan import load
from runners.search import searching as search
from runners.store import Store

ROOT = Path(__file__).parents[2]

# the command, counting in its own process alone: the workers are others
COUNTING = """
import collections, json, sys
from runners.store.disk import Disk

asked = collections.Counter()

def counted(method):
    def call(self, key):
        if key.endswith("/record.json"):
            asked[key.split("/")[1]] += 1
        return method(self, key)
    return call

Disk.read, Disk.exists = counted(Disk.read), counted(Disk.exists)
from runners.sweep import main
status = main(sys.argv[1:])
print("asked:", json.dumps(asked))
sys.exit(status)
"""

BROKEN = """
from torch import nn

class Broken(nn.Conv2d):
    def forward(self, x):
        if x.device.type != "meta" and self.training:
            raise ValueError("never")
        return super().forward(x)

def drop_in(conv):
    return Broken(conv.in_channels, conv.out_channels, 1, conv.stride)
"""


def asked(path: Path) -> dict[str, int]:
    """Run the sweep; trial id -> how often the driver asked for its record."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, path.name],
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # one variant fails
    line = next(line for line in done.stdout.splitlines() if line.startswith("asked: "))
    return json.loads(line.removeprefix("asked: "))


def test_the_driver_asks_for_a_record_three_times_at_most(write_sweep, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    found = {"mode": "front", "space": {"options.alpha": [0.25, 0.5]}, "trials": 2, "confirm": 1}
    path = write_sweep(
        base={"conv": "scconv", "epochs": 1},
        variants={"R20": {"conv": "standard"}, "broken": {"conv": "broken"}},
        seeds=1,
        search=found,
    )
    fresh = asked(path)
    sweep, store = load(path), Store(tmp_path / "runs")
    (study,) = search.open_studies(sweep, store)
    trials = {p.trial.id for p in study.proposals if p.trained}
    trials |= {t.id for t in search.conclude(sweep, store, [study]).trials}
    assert len(trials) == 5 and all(store.record(trial) for trial in trials)
    assert set(fresh) == trials and max(fresh.values()) <= 3, fresh
    again = asked(path)
    assert set(again) == trials and max(again.values()) <= 3, again
