"""Conditions are added to a sweep that has finished: it is evaluated, and nothing is trained."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runners import train
from runners.store import Store
from runners.store.evaluation import digest

ROOT = Path(__file__).parents[2]
TEXT = """
question: Does it work?
baseline: R20
base: {backbone: resnet20, dataset: synthetic, epochs: 1, batch_size: 32}
variants: {R20: {}, S+C: {conv: scconv}}
seeds: 1
"""
ADDED = """
evaluate: {channels: [RG, B]}
measure: mean
"""


def start(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run the sweep: in a process of its own, which Ray may end."""
    return subprocess.run(
        [sys.executable, "-m", "runners.sweep", "tiny.yaml", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def metrics(folder: Path) -> dict[str, float]:
    """Key -> value of all trials' final figures under conditions."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        rows = database.execute(
            "select params.value, latest_metrics.key, latest_metrics.value from latest_metrics "
            "join params using (run_uuid) where params.key = 'variant'"
        )
        return {f"{variant} {key}": value for variant, key, value in rows}


def test_conditions_added_later_are_made_from_the_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file, store = tmp_path / "tiny.yaml", Store(tmp_path / "runs")
    file.write_text(TEXT)
    for variant in ("R20", "S+C"):
        assert train.main(["tiny.yaml", "--variant", variant]) == 0
    assert start(tmp_path).returncode == 0
    # a trial by itself is evaluated at its end
    file.write_text(TEXT + ADDED)
    capsys.readouterr()
    assert train.main(["tiny.yaml", "--variant", "R20"]) == 0
    out = capsys.readouterr().out
    assert "RG, linear fill: top-1" in out and "RGB: top-1" in out
    records = {p: p.stat().st_mtime_ns for p in store.root.glob("trials/*/record.json")}
    made = [*store.root.glob("trials/*/evaluation.json")]
    assert len(made) == 1 and len(records) == 2
    first = made[0].stat().st_mtime_ns

    plan = start(tmp_path, "--plan").stdout
    assert "conditions: RGB, RG, B; compared by mean" in plan
    assert "to evaluate without training: 1" in plan and "to run: 0;" in plan
    out = start(tmp_path).stdout
    assert "0 of 2 trials to run and 1 to evaluate" in out and "mean top-1 % ± sd" in out
    # nothing was trained, and what had been evaluated was left alone
    assert records == {p: p.stat().st_mtime_ns for p in store.root.glob("trials/*/record.json")}
    assert made[0].stat().st_mtime_ns == first
    ids = [path.parent.name for path in records]
    evaluations = [store.evaluation(trial) for trial in ids]
    assert all(evaluations) and len({digest(e) for e in evaluations}) == 2
    shown, means = metrics(tmp_path), []
    for trial, made_of in zip(ids, evaluations, strict=True):
        variant = store.record(trial).variant
        scores = {s.key: s.top1 for s in made_of.conditions}
        assert [*scores] == ["RGB", "linear/RG", "linear/B"]
        for key, top1 in scores.items():
            assert shown[f"{variant} test/{key}"] == top1
        means.append(sum(scores.values()) / 3)
        assert shown[f"{variant} test/linear/mean"] == pytest.approx(means[-1])
        assert shown[f"{variant} test/linear/worst"] == min(scores.values())
        assert f"{means[-1]:.2f}" in (tmp_path / "results/tiny/table.md").read_text()

    # a second start has nothing to do, and notices an evaluation that is no longer there
    assert "to evaluate" not in start(tmp_path).stdout
    lost = store.folder(ids[0]) / "evaluation.json"
    before = lost.read_bytes()
    lost.unlink()
    assert "and 1 to evaluate" in start(tmp_path).stdout
    assert lost.read_bytes() == before
    assert records == {p: p.stat().st_mtime_ns for p in store.root.glob("trials/*/record.json")}


def test_a_trial_that_cannot_be_evaluated_keeps_its_record_and_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, store = tmp_path / "tiny.yaml", Store(tmp_path / "runs")
    file.write_text(TEXT.replace(", S+C: {conv: scconv}", ""))
    assert train.main(["tiny.yaml", "--variant", "R20"]) == 0
    (weights,) = store.root.glob("trials/*/weights.pt")
    content = weights.read_bytes()
    weights.unlink()
    file.write_text(file.read_text() + ADDED)
    done = start(tmp_path)
    assert done.returncode == 1
    assert "R20 seed0: not evaluated: " in done.stdout
    assert "weights of R20 seed0 are missing" in done.stdout
    assert "R20 seed0: not evaluated (" in done.stderr and "log.txt says why)" in done.stderr
    assert "1 not evaluated" in (tmp_path / "results/tiny/table.md").read_text()
    assert store.record(weights.parent.name).status == "finished"
    weights.write_bytes(content)
    assert start(tmp_path).returncode == 0
