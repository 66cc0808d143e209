"""The real command, on real Ray and real MLflow: run, killed, continued, interrupted; and what it
refuses before it launches.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch

from runners import sweep as command
from runners.plan import load
from runners.store import Store
from runners.trial.run import run

ROOT = Path(__file__).parents[2]
EPOCHS = 4

# a convolution of the user's own, in one file beside the sweep; it says how often it was called,
# and can be told to fail
MINE = """
import os, signal
from torch import nn

class Mine(nn.Conv2d):
    flag, forever = "", False

    def forward(self, x):
        if self.flag and self.training and x.device.type != "meta" and (self.forever or not os.path.exists(self.flag)):
            open(self.flag, "w").close()
            if self.forever:
                raise ArithmeticError("this convolution never works")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def drop_in(conv, *, flag="", forever=False):
    new = Mine(conv.in_channels, conv.out_channels, 1, conv.stride, bias=forever)
    new.flag, new.forever = flag, forever
    return new
"""


def start(path: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "runners.sweep", path.name, *arguments]
    out = open(path.parent / "out.txt", "w")  # noqa: SIM115 - the child's
    return subprocess.Popen(
        line,
        cwd=path.parent,
        env=environment,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, path: Path) -> tuple[int, str]:
    code = process.wait(timeout=600)
    return code, (path.parent / "out.txt").read_text()


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def mlflow_runs(path: Path) -> dict[str, tuple[str, list[int], int]]:
    """name -> (status, steps of train/loss, runs of that name)"""
    client = mlflow.MlflowClient(f"sqlite:///{path.parent}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(path.stem).experiment_id])
    names = [r.info.run_name for r in runs]
    return {
        r.info.run_name: (
            r.info.status,
            [
                m.step
                for m in sorted(
                    client.get_metric_history(r.info.run_id, "train/loss"),
                    key=lambda m: (m.step, m.timestamp),
                )
            ],
            names.count(r.info.run_name),
        )
        for r in runs
    }


def test_killed_mid_sweep_the_same_command_finishes_as_if_nothing_had_been(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    path = write_sweep(
        base={"epochs": EPOCHS},
        variants={"R20": {}, "S+C": {"conv": "scconv"}, "mine": {"conv": "mine"}},
    )
    store, trials = Store(tmp_path / "runs"), load(path).trials
    first = start(path)
    wait_for(lambda: any(store.started(t.id) for t in trials[1:]) or first.poll() is not None)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    unfinished = [t for t in trials if store.record(t.id) is None]
    assert unfinished, "the sweep was over before it was killed"

    code, out = finish(start(path), path)
    assert code == 0, out
    assert "6 of 6 trials finished" in out and "| mine" in out and out.count("\n") < 60
    assert mlflow_runs(path) == {t.name: ("FINISHED", [*range(1, EPOCHS + 1)], 1) for t in trials}
    assert (
        not list(tmp_path.rglob("*.tmp"))
        and not list(tmp_path.glob(".mlflow.db*"))
        and not list(tmp_path.rglob("checkpoint.pt"))
    )

    undisturbed = Store(tmp_path / "undisturbed")
    for trial in trials:
        list(run(trial, undisturbed, device="cpu"))
        got, want = (
            torch.load(s.folder(trial.id) / "weights.pt", weights_only=True)
            for s in (store, undisturbed)
        )
        assert got.keys() == want.keys() and all(torch.equal(got[k], want[k]) for k in want), (
            trial.name
        )
        assert store.record(trial.id).result.correct == undisturbed.record(trial.id).result.correct

    table = [line for line in out.splitlines() if line.startswith("|")]
    code, again = finish(start(path), path)
    assert code == 0 and "to run" not in again
    assert [line for line in again.splitlines() if line.startswith("|")] == table


def test_a_worker_that_dies_goes_on_and_one_that_always_fails_does_not_stop_the_others(
    write_sweep, tmp_path
):
    (tmp_path / "mine.py").write_text(MINE)
    options = {"flag": str(tmp_path / "died")}
    variants = {
        "R20": {},
        "dies": {"conv": "mine", "options": options},
        "broken": {"conv": "mine", "options": {"flag": str(tmp_path / "broken"), "forever": True}},
    }
    path = write_sweep(base={"epochs": 2}, variants=variants, seeds=1)
    code, out = finish(start(path), path)
    assert code == 1, out
    assert "dies seed0: its worker died; it goes on from its last epoch" in out
    log = next((tmp_path / "runs").glob("trials/*/log.txt")).parent.parent
    error = "ArithmeticError: this convolution never works"
    for attempt in (1, 2, 3):
        assert f"broken seed0: attempt {attempt}: {error} ({log}/" in out
    assert (
        "broken seed0 failed: " in out
        and "this convolution never works" in out
        and "Traceback" not in out
    )
    assert {n: (s, k) for n, (s, _, k) in mlflow_runs(path).items()} == {
        "R20 seed0": ("FINISHED", 1),
        "dies seed0": ("FINISHED", 1),
        "broken seed0": ("FAILED", 1),
    }
    store, trials = Store(tmp_path / "runs"), {t.variant: t for t in load(path).trials}
    assert error in (store.folder(trials["broken"].id) / "log.txt").read_text()
    attempts = {v: store.record(t.id).provenance["attempts"] for v, t in trials.items()}
    assert attempts == {"R20": 1, "dies": 2, "broken": 3}
    code, again = finish(start(path), path)
    assert code == 1 and "to run" not in again
    assert "broken: 1 failed (ArithmeticError: this convolution never works)." in again


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]],
    ids=["once", "twice", "term"],
)
def test_interrupted_nothing_is_lost_but_the_epoch_under_way(signals, write_sweep, tmp_path):
    path = write_sweep(base={"epochs": 5000}, seeds=1)  # so many that none ends by itself
    store, trials = Store(tmp_path / "runs"), load(path).trials
    process = start(path)
    wait_for(lambda: all(store.started(t.id) for t in trials) or process.poll() is not None)
    for number in signals:
        os.killpg(process.pid, number)  # as a terminal does: to the whole group
        time.sleep(0.3)
    code, out = finish(process, path)
    assert code == 130 and "the same command continues" in out and "Traceback" not in out, out
    if signals == [signal.SIGINT]:
        assert "stopping after the epochs under way" in out
    runs = mlflow_runs(path)
    assert {status for status, _, _ in runs.values()} == {"KILLED"}
    for trial in trials:
        _, epochs = store.checkpoint(trial.id)
        logged = runs[trial.name][1]
        assert logged == [e.epoch for e in epochs] == [*range(1, len(epochs) + 1)]


def test_plan_for_programs_starts_nothing(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(reference="table1")
    assert command.main([str(path), "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["done"], plan["to_run"], len(plan["trials"])) == (0, 4, 4)
    baseline, other = plan["variants"]
    assert (
        baseline["name"],
        baseline["swapped"],
        baseline["params"],
        baseline["reference"]["top1"],
    ) == ("R20", 0, 272_474, 78.60)
    assert (other["name"], other["swapped"]) == ("S+C", 9) and other["macs"] < baseline[
        "macs"
    ] < baseline["paper_flops"]
    assert {t["status"] for t in plan["trials"]} == {"new"}
    assert command.main([str(path), "--plan"]) == 0
    assert "4 trials (2 variants x 2 seeds): 4 new" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]


REFUSED = {
    "unknown backbone": ({"base": {"backbone": "resnet21"}}, "base.backbone: unknown backbone 'resnet21': did you mean 'resnet20'?"),
    "unknown data set": ({"base": {"dataset": "digit"}}, "base.dataset: unknown dataset 'digit': did you mean 'digits'?"),
    "bad alpha": (
        {"variants": {"R20": {}, "A": {"conv": "scconv", "options": {"alpha": 1.5}}}},
        "variants.A: layer stages.0.0.conv2: `alpha` (=1.5) must be a number between 0 and 1",
    ),
    "groups that do not divide": (
        {"variants": {"R20": {}, "A": {"conv": "scconv", "options": {"groups": 3}}}},
        "variants.A: layer stages.0.0.conv2: `out_channels` (=16) must be divisible by `groups` "
        "(=3); use groups=1",
    ),
    "the same network by other words": (
        {
            "base": {"conv": "scconv"},
            "baseline": "A",
            "variants": {"A": {"options": {"order": ["sru"]}}, "B": {"options": {"order": ["sru"], "alpha": 0.25}}},
        },
        "variants: 'A' and 'B' build the same network",
    ),
    "unknown reference": ({"reference": "table9"}, "reference: unknown reference 'table9': did you mean 'table3'?; a reference of your own is table9.csv beside the sweep file"),
    "unknown key": ({"base": {"epoch": 3}}, "base: unknown key 'epoch': did you mean 'epochs'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_one_line_and_nothing_is_written(
    case, write_sweep, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    changes, message = REFUSED[case]
    path = write_sweep(**changes)
    assert command.main([str(path)]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_convolution_that_changes_nothing_is_refused(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def drop_in(conv):\n    return conv\n")
    assert command.main([str(write_sweep(variants={"R20": {}, "mine": {"conv": "mine"}}))]) == 2
    assert "variants.mine: conv 'mine' replaced nothing in ResNet" in capsys.readouterr().err


def test_a_request_no_node_can_meet_is_an_error_at_once(write_sweep, tmp_path):
    path = write_sweep(resources={"gpu": 999})
    code, out = finish(start(path), path)
    assert (
        code == 2
        and "resources.gpu: a trial asks for 999, but no node has more than" in out
        and "--set resources.gpu=" in out
    )


def test_no_cluster_at_that_address(write_sweep, tmp_path, monkeypatch):
    # without a token the command would not even look for one
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    path = write_sweep()
    code, out = finish(start(path, "--address", "127.0.0.1:1"), path)
    assert (
        code == 2
        and "--address 127.0.0.1:1: " in out
        and "ray start --head" in out
        and "Traceback" not in out
    )


def test_a_network_is_built_once_however_many_rates_train_it(
    write_sweep, tmp_path, monkeypatch, capsys
):
    from runners.trial import network

    built = []
    monkeypatch.setattr(
        network, "build", lambda *a, real=network.build, **k: built.append(1) or real(*a, **k)
    )
    network._measure.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grid = {"lr": [round(0.001 * i, 3) for i in range(1, 101)], "conv": ["standard", "depthwise"]}
    path = write_sweep(variants=None, factors=grid, baseline="lr=0.001,conv=standard")
    monkeypatch.chdir(tmp_path)
    assert (
        command.main([str(path), "--plan"]) == 0
        and "400 trials (200 variants x 2 seeds)" in capsys.readouterr().out
    )
    assert len(built) == 2
