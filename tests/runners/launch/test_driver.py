"""Which failure costs a trial what; and where a limit ends the sweep."""

import time
from collections import Counter

import pytest
import torch

from runners.errors import Held, SweepError
from runners.launch import cluster
from runners.launch import driver as module
from runners.launch import rounds as launch
from runners.launch.driver import Driver
from runners.plan import Limits, Resources, Trial, load
from runners.search.queue import Work
from runners.search.searching import Searching
from runners.store import Epoch, Store
from tests.runners.test_sweep import MINE, finish, start


class Quiet:
    """A console, or a tracker, that says nothing and remembers."""

    def __init__(self):
        self.lines, self.records = [], {}

    def say(self, line):
        self.lines.append(line)

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def trial(write_sweep):
    return load(write_sweep()).trials[0]


def test_any_error_is_tried_again_twice_and_then_is_the_trials_end(trial, store):
    assert [launch._fail(trial, store, RuntimeError("odd"), 0) for _ in range(2)] == [False, False]
    assert store.record(trial.id) is None
    assert launch._fail(trial, store, RuntimeError("odd"), 0) is True
    record = store.record(trial.id)
    assert (record.status, record.reason, record.result) == ("failed", "RuntimeError: odd", None)
    store.forget_failure(trial.id)  # --retry-failed
    assert (
        store.failures(trial.id) == []
        and launch._fail(trial, store, RuntimeError("odd"), 0) is False
    )


def test_what_the_config_makes_impossible_is_never_tried_again(trial, store):
    assert launch._fail(trial, store, ValueError("7 is not divisible by 2"), 0) is True
    assert store.record(
        trial.id
    ).reason == "ValueError: 7 is not divisible by 2" and store.failures(trial.id) == ["invalid"]


def test_out_of_memory_is_for_fewer_on_a_gpu_and_alone_it_is_the_end(trial, store):
    full = torch.OutOfMemoryError("tried to allocate 9 GiB")
    for gpu in (0.25, 0.5):
        assert (
            launch._fail(trial, store, full, gpu) is True and store.record(trial.id) is None
        )  # not at once: when fewer share it
    assert (
        launch.fewer(Resources(0.25, 2)) == Resources(0.5, 2)
        and launch.fewer(Resources(0.6)).gpu == 1
    )
    assert (
        launch._fail(trial, store, full, 1.0) is False
    )  # a process whose GPU is full is not used again
    assert (
        store.record(trial.id).reason
        == "out of the GPU's memory, even alone on it: tried to allocate 9 GiB"
    )


def test_a_killed_worker_is_not_its_trials_fault_unless_it_never_gets_anywhere(trial, store):
    driver = Driver(Work([trial], store), store, Quiet(), Quiet(), Limits())
    tune_trial = type("T", (), {"trial_id": "x", "config": {"trial": trial}})()
    row = Epoch(1, 0.1, 1.0, 50.0, 1.0, 50.0, 1.0, 1.0, 1)
    for n in range(1, 4):  # killed many times, but every second time it had finished one more epoch
        for _ in range(module.DEATHS):
            driver.on_trial_recover(0, [], tune_trial)
        driver.on_trial_result(
            0, [], tune_trial, {"epochs": [vars(row) | {"epoch": e} for e in range(1, n + 1)]}
        )
    assert store.record(trial.id) is None
    for _ in range(module.DEATHS + 1):
        driver.on_trial_result(
            0, [], tune_trial, {"epochs": [vars(row)]}
        )  # what a resumed trial says first is nothing new
        driver.on_trial_recover(0, [], tune_trial)
    record = store.record(trial.id)
    assert (
        record.status == "failed"
        and "its worker died 6 times without finishing an epoch" in record.reason
        and len(record.epochs) == 3
    )


def test_limits_stop_as_ctrl_c_does(trial, store, monkeypatch):
    for limits, said in (
        (Limits(hours=1), "limits.hours: 1 have passed"),
        (Limits(failures=2), "limits.failures: 2 trials have failed"),
        (Limits(disk_gb=0.001), "limits.disk_gb: the store has 0.002 GB of 0.001"),
    ):
        driver = Driver(Work([trial], store), store, Quiet(), Quiet(), limits)
        driver.on_step_end(0, [])
        assert not driver.stopping
        monkeypatch.setattr(module, "STARTED", time.monotonic() - 3700)
        monkeypatch.setattr(module, "MEASURE_EVERY_S", -1)
        store.folder("big").mkdir(parents=True, exist_ok=True)
        (store.folder("big") / "weights.pt").write_bytes(bytes(2_000_000))
        monkeypatch.setattr(Driver, "failed", 2)
        driver.on_step_end(0, [])
        assert (
            driver.stopping
            and driver.limit == said
            and "stopping after the epochs under way" in driver.console.lines[-1]
        )
        monkeypatch.undo()


def test_a_limit_ends_the_command_and_the_same_command_goes_on(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    broken = {"conv": "mine", "options": {"flag": str(tmp_path / "flag"), "forever": True}}
    path = write_sweep(
        variants={"broken": broken, "R20": {}, "S+C": {"conv": "scconv"}},
        baseline="R20",
        seeds=2,
        limits={"failures": 1},
    )
    code, out = finish(start(path), path)
    assert (
        code == 75
        and "limits.failures: 1 trials have failed" in out
        and "the same command continues" in out
    ), out
    assert "broken: 1 failed (ArithmeticError: this convolution never works)." in out
    ended = Counter(
        r.status for t in load(path).trials if (r := Store(tmp_path / "runs").record(t.id))
    )
    assert ended["failed"] == 1 and ended["finished"] < 4
    code, out = finish(start(path, "--set", "limits={}"), path)
    assert code == 1 and "trials to go" not in out and "R20" in out, out
    ended = Counter(
        r.status for t in load(path).trials if (r := Store(tmp_path / "runs").record(t.id))
    )
    assert ended == {"failed": 2, "finished": 4}


def test_a_full_disk_ends_the_sweep_instead_of_going_round_for_ever(trial, store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runners.store.disk._replace", full)
    assert (
        launch._fail(trial, store, RuntimeError("odd"), 0) is False
    )  # cannot be counted here: the driver counts
    driver = Driver(Work([trial], store), store, Quiet(), Quiet(), Limits())
    tune_trial = type("T", (), {"trial_id": "x", "config": {"trial": trial}})()
    for _ in range(module.DEATHS + 1):
        driver.on_trial_recover(0, [], tune_trial)
    assert driver.stopping and driver.limit.endswith(
        "record.json cannot be written: No space left on device"
    )


def test_another_process_on_the_trial_and_a_full_gpu_are_told_from_errors(
    trial, store, monkeypatch
):
    told = []
    monkeypatch.setattr(launch, "tune", type("Tune", (), {"report": told.append}))
    monkeypatch.setattr(
        "runners.store.trials.Store.hold",
        lambda *_: (_ for _ in ()).throw(Held("another process has it")),
    )
    launch._work(
        {"trial": trial, "setting": launch.Setting(str(store.root), store.identity, "", 1, 0)}
    )
    assert (
        told == [{"held": "another process has it"}]
        and store.failures(trial.id) == []
        and not store.ended(trial.id)
    )
    monkeypatch.undo()
    assert launch._fail(trial, store, RuntimeError("CUDA error: out of memory"), 0.5) is True
    assert store.failures(trial.id) == ["out of memory"] and launch.fewer(Resources(2)).gpu == 2


class Rounds:
    """Stands in for Ray: what each round of launch() came to."""

    def __init__(self, *rounds):
        self.rounds, self.seen = list(rounds), []

    def __call__(self, sweep, resources, setting, driver):
        self.seen.append(resources.gpu)
        if not self.rounds:
            for t in driver.work.left():
                driver.store.commit(module.failed(t, "the end of the test", []))
            return ""
        return self.rounds.pop(0)(driver) or ""


def rounds_of(write_sweep, store, monkeypatch, *rounds, gpu: float = 0.25):
    """What `launch` makes of these rounds: (shares of the GPU asked for, reasons of the records)."""
    sweep = load(write_sweep(seeds=1))
    work, fake = Work(sweep.trials, store), Rounds(*rounds)
    monkeypatch.setattr(launch, "_fit", fake)
    launch.launch(sweep, work, Resources(gpu, 1), store, Quiet(), Quiet(), "")
    return fake.seen, [r.reason for t in sweep.trials if (r := store.record(t.id))]


def ends(driver: Driver, trial: Trial) -> None:
    """The trial's run is over, as Tune tells it."""
    driver.on_trial_complete(
        0, [], type("T", (), {"trial_id": trial.id, "config": {"trial": trial}})()
    )


def test_only_this_rounds_full_gpus_make_fewer_share_it(write_sweep, store, monkeypatch):
    def full(driver):
        for t in driver.work.left():
            store.note_failure(t.id, "out of memory")
            ends(driver, t)

    assert rounds_of(write_sweep, store, monkeypatch, full, full)[0] == [0.25, 0.5, 1.0]


def test_a_stale_note_does_not_keep_a_broken_ray_going(write_sweep, store, monkeypatch):
    for t in load(write_sweep(seeds=1)).trials:
        store.note_failure(t.id, "out of memory")
    seen, reasons = rounds_of(
        write_sweep, store, monkeypatch, *[lambda driver: "Could not connect to the GCS"] * 50
    )
    assert len(seen) == launch.RETRIES + 1 and reasons == [] and set(seen) == {0.25}


@pytest.mark.parametrize("moving", [False, True])
def test_ray_ending_as_a_whole_is_blamed_only_on_who_gets_nowhere(
    moving, write_sweep, store, monkeypatch
):
    at = Counter()

    def killed(driver):
        for t in driver.work.left():
            fake = type("T", (), {"trial_id": t.id, "config": {"trial": t}})()
            driver.on_trial_start(0, [], fake)
            at[t.id] += moving
            if moving:
                row = Epoch(at[t.id], 0.1, 1.0, 50.0, 1.0, 50.0, 1.0, 1.0, 1)
                driver.on_trial_result(0, [], fake, {"epochs": [vars(row)]})
        return "a worker was killed due to the node running low on memory"

    seen, reasons = rounds_of(write_sweep, store, monkeypatch, *[killed] * 5)
    assert (len(seen), {r.split(":")[0] for r in reasons}) == (
        (6, {"the end of the test"}) if moving else (3, {"Ray ended 3 times while it ran"})
    )


def test_a_search_whose_trials_fill_the_gpu_does_not_wait_for_ever(write_sweep, store):
    """Its next proposal waits for outcomes that this round will not bring."""
    space = {
        "mode": "tune",
        "space": {"lr": [0.1, 0.2, 0.3]},
        "sampler": "grid",
        "trials": 3,
        "ahead": 1,
    }
    sweep = load(write_sweep(variants={"R20": {}}, search=space))
    work = Searching(sweep, store, lambda config, path: {"macs_m": 1.0, "params_m": 1.0})
    driver = Driver(work, store, Quiet(), Quiet(), Limits())
    queue = launch._Queue(work, launch.Setting("", "", "", 1, 0.5), driver)
    work.begin(Counter())
    first = queue.suggest("a")["trial"]
    driver.on_trial_start(0, [], type("T", (), {"trial_id": "a", "config": {"trial": first}})())
    assert queue.suggest("b") is None  # it waits
    store.note_failure(first.id, "out of memory")
    driver.on_trial_complete(0, [], type("T", (), {"trial_id": "a", "config": {"trial": first}})())
    assert queue.suggest("b") == launch.Searcher.FINISHED and not work.over


@pytest.mark.parametrize("joins", [True, False])
def test_workers_that_are_still_joining_are_waited_for_a_while(joins, monkeypatch):
    head, worker = {"Alive": True, "Resources": {}}, {"Alive": True, "Resources": {"CPU": 1.0}}
    seen = []

    def nodes():
        seen.append(1)
        return [head, worker] if joins and len(seen) > 3 else [head]

    monkeypatch.setattr(cluster, "JOIN_S", 10.0 if joins else 0.1)
    monkeypatch.setattr(cluster.time, "sleep", lambda s, sleep=time.sleep: sleep(0.01))
    monkeypatch.setattr(cluster.ray, "init", lambda **options: None)
    monkeypatch.setattr(cluster.ray, "nodes", nodes)
    cluster.connect("auto")
    if joins:
        assert cluster.fit_resources(Resources(cpu=1)).cpu == 1
    else:
        with pytest.raises(SweepError, match="no node has more than 0; start a worker"):
            cluster.fit_resources(Resources(cpu=1))
