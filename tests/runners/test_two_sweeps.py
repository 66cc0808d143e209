"""Two sweeps at a time on one store, each killed and started again: nothing lost, nothing
doubled.
"""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from runners.plan import load
from runners.store import Store
from runners.trial.run import run
from tests.conftest import TINY
from tests.runners.test_sweep import ROOT, wait_for

EPOCHS = 8
SHARED = {"R20": {"conv": "standard"}, "S+C": {"conv": "scconv"}}


def write(folder: Path, name: str, own: str) -> Path:
    """A sweep of four trials that others have, too, and two of its own."""
    folder.mkdir(exist_ok=True)
    base = TINY["base"] | {"epochs": EPOCHS}
    variants = SHARED | {own: {"conv": own}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(TINY | {"base": base, "variants": variants}, sort_keys=False))
    return path


def start(path: Path, storage: Path) -> subprocess.Popen:
    line = [sys.executable, "-m", "runners.sweep", path.name, "--storage", str(storage)]
    return subprocess.Popen(
        line,
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=open(path.with_suffix(".txt"), "a"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def runs(path: Path) -> list[tuple[str, str, int, int]]:
    """(trial, status, epochs, points) of every MLflow run of the sweep that is not deleted."""
    with sqlite3.connect(path.parent / "mlflow.db") as database:
        return database.execute(
            "select t.value, r.status, count(distinct m.step), count(m.step) from runs r"
            " join experiments e on e.experiment_id = r.experiment_id and e.name = ?"
            " join tags t on t.run_uuid = r.run_uuid and t.key = 'trial'"
            " left join metrics m on m.run_uuid = r.run_uuid and m.key = 'train/loss'"
            " where r.lifecycle_stage = 'active' group by r.run_uuid",
            (path.stem,),
        ).fetchall()


@pytest.mark.parametrize("folders", [("one", "two"), ("one", "one")], ids=["two", "one"])
def test_two_sweeps_at_a_time_killed_in_turn_lose_and_double_nothing(folders, tmp_path):
    storage = tmp_path / "runs"
    paths = [
        write(tmp_path / folders[0], "first", "depthwise"),
        write(tmp_path / folders[1], "second", "group"),
    ]
    store, plans = Store(storage), [load(path) for path in paths]
    shared = {t.id for t in plans[0].trials} & {t.id for t in plans[1].trials}
    trials = {t.id: t for plan in plans for t in plan.trials}
    assert len(shared) == 4 and len(trials) == 8
    processes = [start(path, storage) for path in paths]

    def recorded() -> int:
        return sum(store.ended(t) for t in trials)

    # each is killed once, with something under way, and starts again
    for n in (0, 1):
        before = recorded()
        wait_for(
            lambda: (
                (recorded() > before and any(store.started(t) for t in trials))  # noqa: B023
                or any(p.poll() is not None for p in processes)
            )
        )
        kill(processes[n])
        processes[n] = start(paths[n], storage)
    for process, path in zip(processes, paths, strict=True):
        out = path.with_suffix(".txt")
        assert process.wait(400) == 0, out.read_text()
        assert "6 of 6 trials finished" in out.read_text()
        assert "Traceback" not in out.read_text(), out.read_text()
    assert {p.name for p in (storage / "trials").iterdir()} == set(trials)
    for path, plan in zip(paths, plans, strict=True):
        whole = [(t.id, "FINISHED", EPOCHS, EPOCHS) for t in plan.trials]
        assert sorted(runs(path)) == sorted(whole)
    assert not [*storage.rglob("*.tmp"), *storage.rglob("checkpoint*")]
    # once more, at a time: nothing to do
    again = [start(path, storage) for path in paths]
    assert [process.wait(400) for process in again] == [0, 0]
    for path, plan in zip(paths, plans, strict=True):
        assert len(runs(path)) == len(plan.trials)
    undisturbed = Store(tmp_path / "undisturbed")
    for trial in trials.values():
        list(run(trial, undisturbed, device="cpu"))
        got, want = (
            torch.load(s.folder(trial.id) / "weights.pt", weights_only=True)
            for s in (store, undisturbed)
        )
        assert all(torch.equal(got[k], want[k]) for k in want), trial.name
