"""Fit after fit of Ray Tune: which trials run again, on how much of a GPU, and when it ends."""

import os
import pickle
from collections import Counter

import pytest

from runners.errors import StoreError
from runners.launch import rounds
from runners.launch.driver import Driver, Round
from runners.launch.limits import LimitWatch
from runners.launch.rounds import Queue
from runners.launch.worker import Setting, failed
from runners.plan import Limits, Resources, Trial, load
from runners.search.queue import Work
from runners.search.searching import Searching
from runners.store import Store
from tests.records import epoch
from tests.runners.launch.fakes import Quiet, Tuned, driver_of, rows
from tests.runners.launch.test_node_memory import KILLED
from tests.runners.test_sweep import finish, start, wait_for

SETTING = Setting("", "", "", 1, 0.5)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


class Fits:
    """Stands in for Ray: what each fit came to. After them, one in which every trial ends."""

    def __init__(self, *fits):
        self.fits, self.shares = list(fits), []

    def __call__(self, sweep, resources, setting, driver):
        assert setting.gpu == resources.gpu
        self.shares.append(resources.gpu)
        driver.round = done = Round()
        if self.fits:
            if error := self.fits.pop(0)(driver):
                driver.gave_up(RuntimeError(error))
        else:
            for t in driver.work.left():
                driver.recorder.store.commit(failed(t, "the end of the test", [], 1))
        driver.round = Round()
        return done


@pytest.fixture
def launch(write_sweep, store, monkeypatch):
    """launch(*fits) -> (shares of a GPU, reasons of the records, why it stopped, lines)."""

    def run(*fits, gpu: float = 0.25, limits: Limits | None = None):
        sweep, console, fake = load(write_sweep(seeds=1)), Quiet(), Fits(*fits)
        monkeypatch.setattr(rounds, "_fit", fake)
        stopped = rounds.launch(
            sweep,
            Work(sweep.trials, store),
            Resources(gpu, 1),
            store,
            Quiet(),
            console,
            "",
            LimitWatch(limits or Limits(), store),
        )
        records = [store.record(t.id) for t in sweep.trials]
        return fake.shares, [r.reason for r in records if r], stopped, console.lines

    return run


def ends(driver: Driver, trial: Trial) -> None:
    """The trial's run is over, as Tune tells it."""
    driver.on_trial_complete(0, [], Tuned(trial))


def full(driver: Driver) -> None:
    report = {"failed": "OutOfMemoryError", "attempt": 1, "tight": True}
    for t in driver.work.left():
        driver.on_trial_start(0, [], Tuned(t))
        driver.on_trial_result(0, [], Tuned(t), report)
        ends(driver, t)


def test_only_this_rounds_full_gpus_make_fewer_share_it(launch):
    assert launch(full, full)[0] == [0.25, 0.5, 1.0]


def test_a_broken_ray_is_tried_again_twice(launch):
    shares, reasons, stopped, lines = launch(*[lambda driver: "Could not connect to the GCS"] * 50)
    assert len(shares) == rounds.RETRIES + 1 and reasons == [] and set(shares) == {0.25}
    assert lines == [
        "Ray ended with 2 trials to go: RuntimeError: Could not connect to the GCS"
    ] * len(shares)
    assert stopped == ""


@pytest.mark.parametrize("moving", [False, True])
def test_ray_ending_as_a_whole_is_blamed_only_on_a_trial_that_gets_nowhere(moving, launch):
    at = Counter()

    def broken(driver):
        for t in driver.work.left():
            driver.on_trial_start(0, [], Tuned(t))
            at[t.id] += moving
            if moving:
                driver.on_trial_result(0, [], Tuned(t), rows(at[t.id]))
        return "an error that nobody has seen before"

    shares, reasons, _, _ = launch(*[broken] * 5)
    assert (len(shares), {r.split(":")[0] for r in reasons}) == (
        (6, {"the end of the test"}) if moving else (3, {"Ray ended 3 times while it ran"})
    )


def test_ray_ending_for_a_full_memory_is_no_trials_fault_and_fewer_run_then(launch):
    rooms = []

    def killed(driver):
        rooms.append(driver.attempts.pressure.at_most)
        for t in driver.work.left():
            driver.on_trial_start(0, [], Tuned(t))
        return KILLED

    shares, reasons, stopped, lines = launch(killed)
    assert len(shares) == 2 and set(reasons) == {"the end of the test"} and stopped == ""
    assert lines == [
        "the machine's memory is full (node 192.0.2.2): 23.1 of 24.0 GB; others hold 20.1; "
        "Ray killed the worker of R20 seed0, S+C seed0: 1 at a time from now"
    ]


def test_where_memory_lets_nothing_run_nothing_starts_and_the_sweep_stops(launch, monkeypatch):
    waits = []

    def killed(driver):
        t = driver.work.left()[0]
        driver.on_trial_start(0, [], Tuned(t))
        return KILLED

    def sleep(seconds):
        waits.append(seconds)
        clock.now += 20

    def remember(driver):
        nonlocal clock
        clock = driver.liveness.clock
        return killed(driver)

    clock = None
    monkeypatch.setattr(rounds.time, "sleep", sleep)
    shares, reasons, stopped, lines = launch(remember, *[killed] * 50)
    assert stopped.startswith("the machine's memory is full") and "no trial can run" in stopped
    assert reasons == [] and 5 < len(shares) < 10 and len(waits) > len(shares)
    assert not [line for line in lines if line.startswith("Ray ended")]


def test_a_store_that_is_lost_between_two_fits_stops_the_sweep(launch, monkeypatch):
    def lost(driver):
        monkeypatch.setattr("runners.search.queue.Work.ended", refused)

    def refused(*arguments):
        raise StoreError("runs/trials cannot be read: Permission denied")

    shares, _, stopped, lines = launch(lost)
    assert stopped == "runs/trials cannot be read: Permission denied" and len(shares) == 1
    assert len(lines) == 1


def test_the_queue_hands_out_no_more_than_memory_takes(write_sweep, store):
    sweep = load(write_sweep())
    driver = driver_of(Work(sweep.trials, store), store)
    queue = Queue(driver.work, SETTING, driver)
    driver.work.begin(Counter())
    driver.attempts.pressure.killed(3, 0)
    assert [queue.suggest(key) for key in "ab"] == [
        {"trial": t, "setting": SETTING} for t in sweep.trials[:2]
    ]
    assert queue.suggest("c") is None
    driver.on_trial_complete(0, [], Tuned(sweep.trials[0], "a"))
    assert queue.suggest("c")["trial"] == sweep.trials[2] and not driver.round.paused
    for key, trial in zip("bc", sweep.trials[1:], strict=False):
        driver.on_trial_complete(0, [], Tuned(trial, key))
    driver.attempts.pressure.killed(1, 0)
    assert queue.suggest("d") == Queue.FINISHED and driver.round.paused


def test_all_slots_are_filled_at_once_and_one_trial_more_waits(write_sweep, store):
    sweep = load(write_sweep(seeds=3))
    driver = driver_of(Work(sweep.trials, store), store)
    driver.round = Round(slots=2)
    queue = Queue(driver.work, SETTING, driver)
    driver.work.begin(Counter())
    handed = [queue.suggest(key) for key in "abcd"]
    assert [h and h["trial"] for h in handed] == [*sweep.trials[:3], None]
    for key, trial in zip("abc", sweep.trials, strict=False):
        assert queue.suggest("d") is None
        driver.on_trial_start(0, [], Tuned(trial, key))
    # a node has joined: a third one runs, and the next waits again
    assert queue.suggest("d")["trial"] == sweep.trials[3] and queue.suggest("e") is None


def test_of_a_seed_the_longest_trial_is_handed_out_first_and_no_seed_before_another(
    write_sweep, store
):
    variants = {name: {"lr": lr} for name, lr in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    sweep = load(write_sweep(variants=variants, baseline="a", seeds=3))
    work = Work(sweep.trials, store)
    work.begin(Counter())
    by_name = {(t.variant, t.seed): t for t in sweep.trials}
    assert work.next() is by_name["a", 0]  # nothing is known: in their order
    for variant, seconds in (("a", 1.0), ("b", 3.0)):
        work.saw(by_name[variant, 0], [epoch(1, seconds=seconds), epoch(2, seconds=seconds)])
    handed = [(t.variant, t.seed) for t in iter(work.next, None)]
    # c's time is not known yet, and so it comes first
    assert handed == [("c", 0), ("b", 0), *((v, s) for s in (1, 2) for v in "cba")]

    work.begin(Counter({by_name["c", 1].id: 1}))
    handed = [(t.variant, t.seed) for t in iter(work.next, None)]
    assert handed[-1] == ("c", 1) and handed[:3] == [("c", 0), ("b", 0), ("a", 0)]


def test_workers_that_are_starting_count_where_memory_is_full(write_sweep, store):
    sweep = load(write_sweep(seeds=3))
    driver = driver_of(Work(sweep.trials, store), store)
    driver.round = Round(slots=4)
    driver.round.handed |= {"a", "b", "c", "d", "waiting"}
    driver.round.running["a"] = Tuned(sweep.trials[0], "a")
    driver.gave_up(RuntimeError(KILLED.replace("used=1.90GB", "used=19.50GB")))
    assert driver.attempts.pressure.at_most == 3
    assert "by it alone" not in "".join(driver.console.lines)


def test_the_queue_waits_for_what_is_handed_out_since_it_may_come_back(write_sweep, store):
    sweep = load(write_sweep(seeds=1))
    driver = driver_of(Work(sweep.trials, store), store)
    queue = Queue(driver.work, SETTING, driver)
    driver.work.begin(Counter())
    first = [queue.suggest(key)["trial"] for key in "ab"]
    assert queue.suggest("c") is None
    driver.on_trial_error(0, [], Tuned(first[0], "a"))
    assert queue.suggest("c")["trial"] == first[0]
    for trial, key in ((first[1], "b"), (first[0], "c")):
        store.commit(failed(trial, "the end", [], 1))
        driver.on_trial_complete(0, [], Tuned(trial, key))
    assert queue.suggest("d") == Queue.FINISHED


def test_trials_that_another_process_trains_are_waited_for_and_then_handed_out(
    write_sweep, store, monkeypatch
):
    monkeypatch.setattr("runners.search.queue.LOOK_S", 0)
    shared, own = load(write_sweep(seeds=1)).trials
    work = Work([shared, own], store)
    driver = driver_of(work, store)
    driver.round = Round()
    queue = Queue(work, SETTING, driver)
    work.begin(Counter())
    with Store(store.root).hold(shared.id):
        assert queue.suggest("1")["trial"] == own and queue.suggest("2") is None
        driver.round.handed.clear()
        # nothing else is left: it waits, and says for whom, once
        assert [queue.suggest("2") for _ in range(3)] == [None] * 3
        lines = [f"{shared.name}: waiting for its training by process {os.getpid()} on"]
        assert [line[: len(lines[0])] for line in driver.console.lines] == lines
        driver.stop.ask({})
        assert queue.suggest("2") == Queue.FINISHED
        driver.stop.asked = False
    assert queue.suggest("2")["trial"] == shared and not work.elsewhere


def test_a_queue_whose_store_is_a_bucket_can_be_pickled_by_tune(bucket, write_sweep):
    store = Store(bucket("runs"))
    work = Work(load(write_sweep()).trials, store)
    pickle.dumps(Queue(work, SETTING, driver_of(work, store)))


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
    driver = driver_of(work, store)
    queue = Queue(work, SETTING, driver)
    work.begin(Counter())
    first = queue.suggest("a")["trial"]
    driver.on_trial_start(0, [], Tuned(first, "a"))
    assert queue.suggest("b") is None  # it waits
    driver.on_trial_complete(0, [], Tuned(first, "a"))
    assert queue.suggest("b") == Queue.FINISHED and not work.over


# a convolution that fails, or waits until the test lets it go on
GATED = """
import os, time
from torch import nn

class Gated(nn.Conv2d):
    gate = ""

    def forward(self, x):
        while self.gate and x.device.type != "meta" and not os.path.exists(self.gate):
            time.sleep(0.05)
        if not self.gate and x.device.type != "meta":
            raise ArithmeticError("this convolution never works")
        return super().forward(x)

def drop_in(conv, *, gate=""):
    new = Gated(conv.in_channels, conv.out_channels, 1, conv.stride, bias=not gate)
    new.gate = gate
    return new
"""


def test_a_limit_ends_the_command_and_the_same_command_goes_on(write_sweep, tmp_path):
    (tmp_path / "gated.py").write_text(GATED)
    gate, said = tmp_path / "gate", tmp_path / "out.txt"
    waits = {"conv": "gated", "options": {"gate": str(gate)}}
    path = write_sweep(
        variants={"broken": {"conv": "gated"}, "waits": waits},
        baseline="waits",
        base={"epochs": 4},
        seeds=2,
        limits={"failures": 1},
    )
    process = start(path)
    wait_for(lambda: process.poll() is not None or "limits.failures: 1" in said.read_text())
    gate.touch()
    code, out = finish(process, path)
    assert (
        code == 75
        and "limits.failures: 1 trials have failed" in out
        and "the same command continues" in out
    ), out
    # the other seed's last attempt may be under way when the first one fails
    assert " failed (ArithmeticError: this convolution never works)." in out
    assert set(_ended(path, tmp_path)) == {"failed"}
    code, out = finish(start(path, "--set", "limits={}"), path)
    assert code == 1 and "trials to go" not in out and "waits" in out, out
    assert _ended(path, tmp_path) == {"failed": 2, "finished": 2}


def _ended(path, place) -> Counter[str]:
    store = Store(place / "runs")
    return Counter(r.status for t in load(path).trials if (r := store.record(t.id)))
