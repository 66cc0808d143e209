"""Small ways out: a mistyped suffix, a finished trial, a report before there is anything to report."""

import pytest

from runners import __main__ as sweeps
from runners.plan import load
from runners.store import Store
from tests import records


@pytest.fixture
def tiny(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_sweep(base={"epochs": 1}, seeds=1)


def test_a_sweep_file_is_found_by_its_other_suffix(tiny, capsys):
    assert sweeps.main(["plan", str(tiny.with_suffix(".yml"))]) == 2
    assert capsys.readouterr().err.endswith(f"; did you mean {tiny}?\n")


def test_a_dry_run_is_a_plan(tiny, capsys):
    assert sweeps.main(["run", tiny.name, "--dry-run"]) == 0
    assert "2 trials (2 variants x 1 seed): 2 new" in capsys.readouterr().out
    assert not (tiny.parent / "runs").exists()


@pytest.mark.parametrize("option", [[], ["--trials", "R20"], ["--json"]])
def test_a_report_on_nothing_is_a_line(option, tiny, capsys):
    assert sweeps.main(["report", tiny.name, *option]) == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith("tiny: no trial of it has ended in ")
    assert not (tiny.parent / "results").exists()


def test_the_trials_of_a_variant_without_any_are_a_line(tiny, capsys):
    Store("runs").commit(records.record(load(tiny).trials[0]))
    assert sweeps.main(["report", tiny.name, "--trials", "S+C"]) == 1
    assert capsys.readouterr().out.startswith("tiny: no trial of S+C has finished in ")


def test_a_finished_trial_says_so_and_is_trained_again_aside(tiny, capsys):
    trial = load(tiny).trials[0]
    train = ["train", tiny.name, "--variant", "R20", "--device", "cpu"]
    store = Store("runs")
    assert sweeps.main(train) == 0
    record, out = store.record(trial.id), capsys.readouterr().out
    assert "epoch 1/1: " in out and "has finished" not in out
    assert sweeps.main(train) == 0
    assert "R20 seed0 has finished in " in capsys.readouterr().out
    assert sweeps.main([*train, "--again"]) == 0
    out = capsys.readouterr().out
    assert "epoch 1/1: " in out and "has finished" not in out
    assert store.record(trial.id) == record
