"""How long a plan takes, and what it can show; no test looks at a clock."""

import json
from dataclasses import replace

import pytest

from runners import estimate, power
from runners.estimate import START_S, Estimate
from runners.plan import Data, Resources, load
from runners.plan.catalogue import data_key
from runners.preview import preview
from runners.store import Epoch, Record, Result, State, Store
from runners.sweep import main
from runners.trial import pace
from runners.trial.networks import networks

# the fixture of these tests takes its place
SLOTS = estimate.slots


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep(base={"epochs": 10, "val_fraction": 0.1}))


@pytest.fixture
def measured(monkeypatch):
    """measured(variant -> images a second): what timing the networks finds."""

    def find(by_conv: dict[str, float]) -> None:
        def times(found, *where):
            return {n.key: by_conv[n.config.conv] for n in found if n.config.conv in by_conv}

        monkeypatch.setattr(pace, "_measured", times)

    return find


@pytest.fixture(autouse=True)
def two_cores(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(estimate, "slots", lambda sweep: (2, False))


def estimated(sweep, tmp_path, records=None, measure=True):
    store = Store(tmp_path / "runs")
    to_run = [t for t in sweep.trials if t.id not in (records or {})]
    measures = networks(sweep)
    return estimate.estimate(
        sweep, store, str(tmp_path), measures, to_run, records or {}, measure=measure
    )


def finished(trial, seconds: float, top1: float = 50.0) -> Record:
    epoch = Epoch(1, 0.1, "top1", {"loss": 1.0, "top1": 1.0}, {}, seconds, 100.0, 1, {})
    result = Result("top1", {"top1": top1, "top5": 90.0}, "ff", {"macs": 1})
    return Record(
        trial.id, "s", trial.variant, trial.seed, {}, State.FINISHED, "", [epoch], result, {}
    )


def test_trials_start_on_the_slot_that_is_free_first():
    found = Estimate(2, [10.0, 30.0, 10.0, 10.0])
    assert found.seconds == START_S + 30
    assert [found.end(n) for n in (1, 2, 3, 4)] == [START_S + s for s in (10, 30, 30, 30)]
    assert found.within(START_S + 12) == 1


def test_measured_networks_give_the_time_of_an_epoch(sweep, measured, tmp_path):
    measured({"standard": 100.0, "scconv": 50.0})
    found = estimated(sweep, tmp_path)
    # 320 images, of which 32 are held out and cost a third
    epoch = 288 + 32 / 3
    # of each seed, the longest starts first
    assert found.trials == pytest.approx([10 * epoch / 50, 10 * epoch / 100] * 2)
    assert found.measured == ["R20", "S+C"] and not found.recorded and not found.guessed
    assert found.relative["S+C"] == pytest.approx((2.0, 0.595), abs=0.01)
    assert any(
        "S+C has 0.60 of the baseline's multiply-adds and takes 2.00" in line
        for line in estimate.lines(found, None)
    )


def test_finished_trials_say_it_better_than_a_measurement(sweep, measured, tmp_path):
    measured({"standard": 100.0, "scconv": 50.0})
    first = sweep.trials[0]
    found = estimated(sweep, tmp_path, {first.id: finished(first, 7.0)})
    assert found.recorded == ["R20"] and found.measured == ["S+C"]
    assert found.trials[1] == 70.0 and len(found.trials) == 3


def test_what_cannot_be_measured_goes_by_its_multiply_adds(sweep, measured, tmp_path):
    measured({"standard": 100.0})
    found = estimated(sweep, tmp_path)
    assert found.guessed == ["S+C"] and "S+C" not in found.relative
    assert found.trials[1] / found.trials[0] == pytest.approx(0.595, abs=0.01)


def test_on_a_cluster_only_its_own_trials_say_it(sweep, measured, tmp_path):
    measured({"standard": 100.0, "scconv": 50.0})
    assert estimated(sweep, tmp_path, measure=False) is None
    assert "known where the data" in estimate.lines(None, None)[0]


def test_without_the_gpu_that_it_asks_for_nothing_is_measured(
    sweep, measured, tmp_path, monkeypatch
):
    measured({"standard": 100.0, "scconv": 50.0})
    monkeypatch.setattr(estimate, "slots", SLOTS)
    monkeypatch.setattr(estimate, "gpus", list)
    asking = replace(sweep, resources=Resources(gpu=0.25))
    assert SLOTS(asking) == (0, True) and estimated(asking, tmp_path) is None
    monkeypatch.setattr(estimate, "gpus", lambda: ["Model: NVIDIA T4"])
    monkeypatch.setattr(estimate.system, "cores", lambda: 8)
    assert SLOTS(asking) == (4, True) and estimated(asking, tmp_path).at_a_time == 4


def test_a_limit_that_cuts_the_start_off_is_said(sweep):
    found = Estimate(1, [1800.0] * 4)
    assert estimate.lines(found, 1.1)[1].startswith(
        "limits.hours: 1.1 ends this start after about 2 of 4"
    )
    assert len(estimate.lines(found, 3)) == 1


def test_power_goes_by_the_finished_trials_spread(sweep, tmp_path):
    (assumed,) = power.sentence(sweep, {}, None)
    assert "an assumed spread over seeds (0.30 points), 2 seeds" in assumed
    records = {t.id: finished(t, 1.0, 50 + 2 * t.seed) for t in sweep.trials}
    (known,) = power.sentence(sweep, records, None)
    assert "the spread of the finished trials over seeds (1.41 points)" in known
    assert power.sentence(replace(sweep, seeds=(0,)), {}, None) == []
    # of five times this score, the mean is another number
    same = {t.id: finished(t, 1.0, 60.22) for t in replace(sweep, seeds=(*range(5),)).trials}
    assert power.sentence(replace(sweep, seeds=(*range(5),)), same, None) == []


def test_the_plan_says_it_for_readers_and_programs(
    write_sweep, measured, tmp_path, monkeypatch, capsys
):
    measured({"standard": 100.0, "scconv": 50.0})
    monkeypatch.chdir(tmp_path)
    path = str(write_sweep())
    assert main([path, "--plan"]) == 0
    said = capsys.readouterr().out
    assert (
        "time: about" in said and "2 trials at a time (measured on this machine: R20, S+C)" in said
    )
    assert main([path, "--plan", "--json"]) == 0
    time = json.loads(capsys.readouterr().out)["time"]
    assert time["at_a_time"] == 2 and time["seconds"] > START_S and len(time["trials"]) == 4


@pytest.mark.parametrize(
    "gpu, cpu, contents, said",
    [
        (1, 1, "c1", "1 process decodes the images of each trial"),
        (1, 4, "c1", "4 processes decode the images of each trial"),
        (1, 1, "c1", "raise resources.cpu to 8 "),
        (0.5, 1, "c1", "raise resources.cpu to 4 "),
        (1, 8, "c1", ""),
        (0.25, 2, "c1", ""),
        (0, 1, "c1", ""),  # no GPU waits
        (1, 1, "d1", ""),  # arrays, in memory
        (1, 1, "", ""),  # with published checksums, in memory
    ],
)
def test_too_few_decoders_for_a_gpu_are_told(gpu, cpu, contents, said, write_sweep):
    sweep = load(write_sweep(resources={"gpu": gpu, "cpu": cpu}))
    c = sweep.variants["R20"]
    key = data_key(c.dataset, c.dataset_digest, c.dataset_options)
    sweep = sweep.with_data({key: Data(4, (3, 224, 224), digest="d1", contents=contents)})
    lines = estimate.decoding(sweep)
    assert len(lines) == bool(said) and (not said or said in lines[0])


@pytest.mark.parametrize(
    "gpu, part, said", [(0.25, 3.5, 4), (0.25, 4.5, 0), (1, 0.9, 1), (1, 1.1, 0), (0, 0.1, 0)]
)
def test_a_gpu_that_is_too_small_is_told(gpu, part, said, write_sweep, monkeypatch, tmp_path):
    """`part`: the GPU's memory in steps of the largest network."""
    sweep = load(write_sweep(resources={"gpu": gpu}))
    measures = networks(sweep)
    largest = max(found.train_mib for found in measures.values())
    monkeypatch.setattr(estimate, "gpu_mib", lambda: part * largest)
    lines = estimate.memory(sweep, measures)
    trials = "a trial" if said == 1 else f"{said} trials"
    assert len(lines) == bool(said)
    assert not said or lines[0].startswith(f"memory: {trials} of ")
    # a program is told as well
    asked = {"to_run": sweep.trials, "root": "", "here": False}
    plan = preview(sweep, Store(tmp_path / "runs"), {}, as_json=True, **asked)
    assert json.loads(plan)["warnings"] == lines
    monkeypatch.setattr(estimate, "gpu_mib", lambda: None)
    assert not estimate.memory(sweep, measures)
