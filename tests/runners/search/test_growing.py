"""A comparison whose seeds grow: block by block, from a store alone, and by the real command."""

import os
import signal

import pytest

from analysis import report
from runners import phases
from runners import sweep as command
from runners.plan import load
from runners.search.growing import Growing
from runners.store import Store
from tests import records
from tests.runners.test_sweep import finish, mlflow_runs, start, wait_for

GROWING = {"first": 2, "most": 6, "until": "decided"}
# of 160 images right: "far" is decided by two seeds, "near" never
RIGHT = {
    "R20": (100, 104, 98, 101, 99, 103),
    "far": (20, 26, 19),
    "near": (102, 99, 101, 97, 103, 99),
}
VARIANTS = {"R20": {"conv": "standard"}, "far": {"lr": 0.2}, "near": {"lr": 0.3}}


def train(store, trial):
    ended = records.record(trial, result=records.result(RIGHT[trial.variant][trial.seed]))
    with store.hold(trial.id, wait_s=0):
        store.commit(ended)
    return ended


def test_a_sweep_trains_what_its_looks_ask_for(write_sweep, tmp_path):
    store = Store(tmp_path / "runs")
    sweep = load(write_sweep(variants=VARIANTS, seeds=GROWING))
    work = Growing(store, {}, {}, lambda *so_far: report.grown(sweep, store, *so_far).distinct)
    expected = []
    work.expect = expected.append
    work.trials = list(sweep.distinct)
    work.begin({t.id: 0 for t in work.trials})
    trained = []
    while not work.over:
        trial = work.next()
        assert trial, "nothing runs, so there must be a next one"
        trained.append((trial.variant, trial.seed))
        train(store, trial)
        assert work.ended(trial)
    assert [s for v, s in trained if v == "near"] == [s for v, s in trained if v == "R20"]
    assert sorted(trained) == sorted(
        [("far", 0), ("far", 1), *((v, s) for v in ("R20", "near") for s in range(6))]
    )
    assert [len(trials) for trials in expected] == [4, 4]
    table = report.read(sweep, store)
    assert {row.variant: row.planned for row in table.rows} == {"R20": 6, "far": 2, "near": 6}
    assert [row.difference.n for row in table.rows if row.difference] == [2, 6]
    said = report.text(table)
    assert "far after 2 seeds" in said and "looks at 2, 4 and 6 of at most 6 seeds" in said
    assert "over all looks, 2 to 6 seeds" in said


def test_no_look_is_taken_at_a_block_that_has_not_ended(write_sweep, tmp_path):
    store = Store(tmp_path / "runs")
    sweep = load(write_sweep(variants=VARIANTS, seeds=GROWING))
    first = sweep.trials
    for trial in first[:-1]:
        train(store, trial)
    assert report.grown(sweep, store).trials == first
    assert "the first 2 seeds have not all ended" in report.text(report.read(sweep, store))
    train(store, first[-1])
    more = report.grown(sweep, store)
    assert {v: more.seeds_of(v) for v in sweep.variants} == {"R20": 4, "far": 2, "near": 4}
    # the differences are those of the last look, while its next block is trained
    train(store, next(t for t in more.trials if (t.variant, t.seed) == ("near", 2)))
    table = report.read(sweep, store)
    assert all(row.difference.n == 2 for row in table.rows if row.difference)


def test_what_an_earlier_start_has_finished_is_not_handed_out_again(write_sweep, tmp_path):
    """Also where trials are evaluated, which those records do not say."""
    store = Store(tmp_path / "runs")
    sweep = load(write_sweep(variants=VARIANTS, seeds=GROWING, evaluate={"channels": "all"}))
    before, last = sweep.distinct[:-1], sweep.distinct[-1]
    known = {trial.id: train(store, trial) for trial in before}
    grown = load(write_sweep(variants=VARIANTS, seeds=4, evaluate={"channels": "all"})).distinct
    work = Growing(store, known, {}, lambda *so_far: grown)
    work.trials = [last]
    work.learn(last, train(store, last))
    assert {t.seed for t in work.waiting} == {2, 3}


@pytest.mark.slow
def test_killed_between_two_looks_the_same_command_ends_as_if_it_had_not(
    write_sweep, tmp_path, monkeypatch, capsys
):
    variants = {"R20": {"conv": "standard"}, "still": {"lr": 1e-9}, "again": {"lr": 0.051}}
    path = write_sweep(variants=variants, seeds={"first": 2, "most": 4}, base={"epochs": 2})
    process = start(path)

    def second_block() -> bool:
        seen = Store(tmp_path / "runs").records(load(path, seeds=4).trials)
        return any(r.seed >= 2 for r in seen.values())

    wait_for(lambda: (tmp_path / "runs" / "trials").exists())
    wait_for(lambda: second_block() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, out = finish(start(path), path)
    assert code == 0, out
    ended = Store(tmp_path / "runs").records(load(path, seeds=4).trials)
    grown = report.grown(load(path), Store(tmp_path / "runs"))
    assert {t.id for t in grown.trials} == set(ended)
    assert grown.seeds_of("R20") == max(map(grown.seeds_of, grown.variants))
    runs = mlflow_runs(path)
    assert len(runs) == len(ended)
    assert all(status == "FINISHED" and n == 1 for status, _, n in runs.values())
    code, again = finish(start(path), path)
    assert code == 0 and "to run" not in again
    # the third is printed as it was written, and nothing is looked at again
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(phases, "run", lambda *given: pytest.fail("it looked again"))
    assert command.main([path.name]) == 0 and capsys.readouterr().out.strip() in again
