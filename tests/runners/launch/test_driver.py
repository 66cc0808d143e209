"""What the driver does at each event of Ray: which end of a worker costs a trial what; who
stops.
"""

import time

import pytest

from runners.errors import StoreError
from runners.launch import attempts, cluster, limits
from runners.launch import driver as module
from runners.launch.driver import Stopper
from runners.launch.worker import RETRIES, failed
from runners.plan import Limits, Resources, load
from runners.search.queue import Work
from runners.store import Store
from tests.runners.launch.fakes import Tuned, driver_of, rows
from tests.runners.launch.test_node_memory import KILLED


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def trials(write_sweep):
    return load(write_sweep()).trials


@pytest.fixture
def trial(trials):
    return trials[0]


@pytest.fixture
def killed(monkeypatch):
    """The workers that the driver had Ray kill."""
    killed = []
    monkeypatch.setattr(module.ray, "kill", killed.append)
    return killed


def start(driver, *trials):
    """Hand these trials out, and let their workers start."""
    for t in trials:
        driver.round.handed.add(t.id)
        driver.on_trial_start(0, [], Tuned(t))


def die(driver, trial, error_file=""):
    """Its worker ends, as Tune reports it; then the trial starts again."""
    driver.on_trial_error(0, [], Tuned(trial, error_file=error_file))
    if driver.work.waiting[:1] == [trial]:
        start(driver, driver.work.waiting.pop(0))


def test_a_killed_worker_is_not_its_trials_fault_unless_it_never_gets_anywhere(trial, store):
    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    for n in (1, 2, 3):  # killed many times, but now and then it had finished one more epoch
        for _ in range(attempts.DEATHS):
            die(driver, trial)
        driver.on_trial_result(0, [], Tuned(trial), rows(*range(1, n + 1)))
    assert store.record(trial.id) is None
    assert driver.console.lines == [
        "R20 seed0: its worker died; it goes on from its last epoch"
    ] * (3 * attempts.DEATHS)
    for _ in range(attempts.DEATHS + 1):
        # a resumed trial reports its old epochs first: that is no progress
        driver.on_trial_result(0, [], Tuned(trial), rows(1))
        die(driver, trial)
    record = store.record(trial.id)
    assert (record.status, len(record.epochs)) == ("failed", 3)
    assert record.reason == "its worker died 6 times without finishing an epoch"
    assert record.provenance["attempts"] == 21 and driver.work.waiting == []


def test_the_log_is_named_only_where_there_is_one(trial, store):
    driver = driver_of(Work([trial], store), store)
    report = {"failed": "ArithmeticError: odd", "attempt": 1, "tight": False}
    driver.on_trial_result(0, [], Tuned(trial), report)
    with store.log(trial.id) as log:
        log.write("words")
    driver.on_trial_result(0, [], Tuned(trial), report | {"attempt": 2})
    assert driver.console.lines == [
        "R20 seed0: attempt 1: ArithmeticError: odd",
        f"R20 seed0: attempt 2: ArithmeticError: odd ({store.address(trial.id, 'log.txt')})",
    ]


def test_a_failed_trial_is_handed_out_again_at_once_and_its_death_is_not_counted(trial, store):
    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    driver.on_trial_result(0, [], Tuned(trial), {"failed": "odd", "attempt": 1, "tight": False})
    driver.on_trial_error(0, [], Tuned(trial))
    assert driver.work.waiting == [trial] and store.failures(trial.id) == []
    assert not driver.round.unended and not driver.round.handed


def test_a_failed_trial_with_a_record_is_not_handed_out_again(trial, store):
    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    store.commit(failed(trial, "ArithmeticError: odd", [], 3))
    driver.on_trial_error(0, [], Tuned(trial))
    assert driver.work.waiting == [] and driver.limits.failed == 1
    assert driver.console.records[trial.id].reason == "ArithmeticError: odd"


def test_limits_stop_as_ctrl_c_does(trial, store, monkeypatch):
    for limit, said in (
        (Limits(hours=1), "limits.hours: 1 have passed"),
        (Limits(failures=2), "limits.failures: 2 trials have failed"),
        (Limits(disk_gb=0.001), "limits.disk_gb: the store has 0.002 GB of 0.001"),
    ):
        driver = driver_of(Work([trial], store), store, limit)
        driver.on_step_end(0, [])
        assert not driver.stop.asked
        monkeypatch.setattr(limits, "MEASURE_EVERY_S", -1)
        store.folder("big").mkdir(parents=True, exist_ok=True)
        (store.folder("big") / "weights.pt").write_bytes(bytes(2_000_000))
        driver.limits.started -= 3700
        driver.limits.failed = 2
        driver.on_step_end(0, [])
        assert driver.stop.why == said
        assert driver.console.lines == [f"{said}; stopping after the epochs under way, within 60 s"]
        monkeypatch.undo()


@pytest.mark.parametrize("why", ["ctrl-c", "hours"])
def test_a_stop_waits_for_the_epochs_under_way_and_then_ends_their_workers(
    why, trials, store, killed
):
    first, second, third, *_ = trials
    driver = driver_of(Work(trials, store), store, Limits(hours=1))
    stopper = Stopper(driver)
    start(driver, first, second, third)
    driver.on_trial_result(0, [], Tuned(first), rows(1, seconds=100))
    if why == "hours":
        driver.limits.started -= 3700
        driver.on_step_end(0, [])
    else:
        driver.stop.ask(driver.round.running)  # as the first Ctrl-C does
    assert "stopping after the epochs under way, within 2 min" in driver.console.lines[-1]
    assert not stopper.stop_all() and stopper(first.id, {})
    driver.on_trial_result(0, [], Tuned(first), rows(2))
    driver.on_trial_complete(0, [], Tuned(second))
    driver.on_step_end(0, [])
    assert not stopper.stop_all() and killed == []
    driver.liveness.clock.now += 150
    driver.on_step_end(0, [])
    assert killed == [f"the worker of {third.name}"] and stopper.stop_all()
    assert driver.console.lines[-1] == (
        f"{third.name}: its epoch did not end within 2 min; its worker is ended"
    )
    driver.on_trial_error(0, [], Tuned(third))  # so Tune learns of it
    assert store.failures(third.id) == [] and driver.work.waiting == []


def test_a_stalled_trial_is_ended_and_tried_again_and_at_last_fails(trials, store, killed):
    stuck, well, *_ = trials
    driver = driver_of(Work(trials, store), store, Limits(stall_minutes=2))
    start(driver, stuck, well)
    for attempt in range(1, RETRIES + 2):
        for _ in range(3):
            driver.liveness.clock.now += 50
            driver.on_trial_result(0, [], Tuned(well), rows(1))
            driver.on_step_end(0, [])
        driver.on_step_end(0, [])
        assert killed == [f"the worker of {stuck.name}"] * attempt
        die(driver, stuck)
    assert driver.console.lines[:2] == [
        "R20 seed0: no epoch within 2 min (limits.stall_minutes); its worker is ended",
        "R20 seed0: it goes on from its last epoch",
    ]
    assert store.record(stuck.id).reason == (
        "no epoch within 2 min, 3 times (limits.stall_minutes; "
        "set it higher if an epoch takes longer)"
    )
    assert store.record(stuck.id).provenance["attempts"] == 3
    assert store.failures(well.id) == [] and not driver.stop.asked


def test_a_long_silence_is_printed_and_ends_nothing_without_a_limit(trial, store, killed):
    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    driver.liveness.clock.now += 660
    driver.on_step_end(0, [])
    driver.on_step_end(0, [])
    assert driver.console.lines == [
        "R20 seed0: no epoch for 11 min; limits.stall_minutes ends such a worker and tries again"
    ]
    assert killed == [] and not driver.stop.asked


def test_a_trial_that_tune_ends_without_a_word_is_handed_out_again(trials, store):
    driver = driver_of(Work(trials, store), store)
    kept, dropped = (Tuned(trial) for trial in trials[:2])
    driver.round.handed |= {kept.trial_id, dropped.trial_id}
    dropped.finished = True
    for _ in range(2):
        driver.on_step_end(0, [kept, dropped])
    assert driver.work.waiting == [trials[1]] and driver.round.handed == {kept.trial_id}
    assert driver.console.lines == [
        f"{trials[1].name}: its worker was still busy; another one will train it"
    ]


def test_a_full_memory_is_not_the_trials_fault_and_fewer_run(trials, store, tmp_path):
    (tmp_path / "error.txt").write_text(KILLED)
    driver = driver_of(Work(trials, store), store)
    start(driver, *trials[:3])
    driver.on_trial_error(0, [], Tuned(trials[2], error_file=str(tmp_path / "error.txt")))
    assert driver.console.lines == [
        "the machine's memory is full (node 192.0.2.2): 23.1 of 24.0 GB; others hold 20.1; "
        f"Ray killed the worker of {trials[2].name}: 2 at a time from now"
    ]
    assert driver.work.waiting == [trials[2]] and not driver.has_room()
    driver.on_trial_complete(0, [], Tuned(trials[1]))
    assert driver.has_room() and store.record(trials[2].id) is None


def test_a_full_memory_in_which_nothing_can_run_stops_the_sweep_with_its_figures(
    trial, store, tmp_path
):
    (tmp_path / "error.txt").write_text(KILLED)
    driver = driver_of(Work([trial], store), store)
    tries = 0
    while not driver.stop.asked:
        start(driver, trial)
        tries += 1
        driver.work.waiting.clear()
        driver.on_trial_error(0, [], Tuned(trial, error_file=str(tmp_path / "error.txt")))
        driver.liveness.clock.now += 60
    full = "the machine's memory is full (node 192.0.2.2): 23.1 of 24.0 GB; others hold 20.1"
    assert driver.stop.why == f"{full}, and no trial can run" and tries == 6
    assert driver.console.lines[0] == f"{full}; Ray killed the worker of R20 seed0: again in 10 s"
    assert store.record(trial.id) is None


def test_a_trial_that_alone_needs_more_memory_than_there_is_fails(trial, store, tmp_path):
    text = KILLED.replace("used=1.90GB", "used=19.50GB")
    (tmp_path / "error.txt").write_text(text)
    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    for _ in range(RETRIES + 1):
        assert not driver.stop.asked and driver.has_room()
        die(driver, trial, str(tmp_path / "error.txt"))
    assert store.record(trial.id).reason == (
        "its worker needs more memory than there is: 23.1 of 24.0 GB were used, "
        "20.6 of them by it alone"
    )


@pytest.mark.parametrize("method", ["record", "note_failure"])
def test_a_store_that_fails_the_driver_stops_the_sweep_with_one_line(
    method, trial, store, monkeypatch, capsys
):
    def refused(*arguments):
        raise StoreError("runs/trials cannot be written: Permission denied")

    driver = driver_of(Work([trial], store), store)
    start(driver, trial)
    monkeypatch.setattr(f"runners.store.trials.Store.{method}", refused)
    for _ in range(3):
        driver.on_trial_error(0, [], Tuned(trial))
        driver.on_step_end(0, [])
    assert driver.stop.why == "runs/trials cannot be written: Permission denied"
    assert [line for line in driver.console.lines if "died" not in line] == [
        "runs/trials cannot be written: Permission denied; "
        "stopping after the epochs under way, within 60 s"
    ]
    assert capsys.readouterr().err == "" and Stopper(driver).stop_all()


def test_a_workers_trouble_with_the_store_stops_the_sweep(trials, store):
    driver = driver_of(Work(trials, store), store)
    start(driver, *trials[:2])
    driver.on_trial_result(0, [], Tuned(trials[0]), {"trouble": "403"})
    driver.on_trial_result(0, [], Tuned(trials[1]), {"trouble": "403"})
    assert driver.stop.why == "403" and len(driver.console.lines) == 1
    driver.on_trial_complete(0, [], Tuned(trials[0]))
    assert [store.failures(t.id) for t in trials[:2]] == [[], []]


def test_an_error_of_the_drivers_own_is_printed_once_and_stops_nothing(trial, store, capsys):
    driver = driver_of(Work([trial], store), store)
    driver.liveness.clock.tick = lambda: 1 / 0
    for _ in range(3):
        driver.on_step_end(0, [])
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1 and not driver.stop.asked


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
        with pytest.raises(cluster.SweepError, match="no node has more than 0; start a worker"):
            cluster.fit_resources(Resources(cpu=1))
