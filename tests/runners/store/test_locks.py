"""One process drives a sweep and one trains a trial: on disk, without flock(), and in a bucket."""

import contextlib
import errno
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runners import system
from runners.errors import Held, SweepError
from runners.plan import load
from runners.store import Store, lease, locks, place, retry
from runners.store.flock import Generations


def without_flock(file, how) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=["flock", "no flock", "bucket"])
def root(request, tmp_path, monkeypatch):
    """The address of an empty place, of each kind of lock."""
    if request.param == "bucket":
        return request.getfixturevalue("bucket")("locks")
    if request.param == "no flock":
        monkeypatch.setattr(system.fcntl, "flock", without_flock)
    return str(tmp_path / "runs")


@pytest.fixture
def short(monkeypatch):
    """Leases that expire after four seconds, and outages that are looked at often."""
    monkeypatch.setattr(lease, "LEASE_S", 4.0)
    monkeypatch.setattr(retry, "AGAIN_S", 0.1)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_one_process_has_a_lock_at_a_time_and_others_hear_which(root, short):
    first, second = place.at(root), place.at(root)
    assert first.owner("a/lock") == ""
    with first.lock("a/lock", "process 1", 0):
        assert second.owner("a/lock") == "process 1"
        with pytest.raises(Held, match="process 1"), second.lock("a/lock", "process 2", 0):
            pass
    assert second.owner("a/lock") == ""
    with second.lock("a/lock", "process 2", 0):
        assert first.owner("a/lock") == "process 2"


def test_of_many_that_want_a_lock_one_has_it(root):
    inside, most = [], []

    def compete(n: int) -> None:
        with place.at(root).lock("lock", str(n), 120):
            inside.append(n)
            most.append(len(inside))
            time.sleep(0.1)
            inside.remove(n)

    racers = [threading.Thread(target=compete, args=(n,)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert most == [1, 1, 1, 1]


def test_an_owner_renews_its_lock(bucket, short):
    where, lost = place.at(bucket("locks")), []
    with where.lock("lock", "me", 0, lost.append):
        first = where.cell("lock").load()
        wait_for(lambda: where.cell("lock").load() != first)
        # longer than a lease
        with pytest.raises(Held, match="me"), place.at(bucket("locks")).lock("lock", "you", 6):
            pass
    assert not lost and where.cell("lock").load()[0] == b"{}"


def test_a_dead_owners_lock_is_taken_over_also_one_of_an_older_version(bucket, short):
    where = place.at(bucket("locks"))
    entry = {"holder": "someone killed", "token": "their token", "beat": 7}
    where.write("lock", json.dumps(entry).encode())
    assert where.owner("lock") == "someone killed"
    with where.lock("lock", "me", 0):
        assert where.owner("lock") == "me"
    where.write("lock", b"half an ent")
    with where.lock("lock", "me", 0):
        assert where.owner("lock") == "me"
    where.write("dead", json.dumps(entry).encode())
    wait_for(lambda: where.owner("dead") == "")


def test_a_dead_owners_lock_expires_also_for_one_who_looks_seldom(bucket, monkeypatch):
    where, now = place.at(bucket("locks")), [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    where.write("lock", json.dumps({"holder": "someone killed", "token": "theirs"}).encode())
    seen = []
    for _ in range(7):
        seen.append(where.owner("lock"))
        now[0] += 10 * lease.LEASE_S
    assert seen == ["someone killed"] * 5 + [""] * 2


def test_a_lock_is_lost_only_to_an_owner_that_stands_there(bucket, short):
    where, lost = place.at(bucket("locks")), []
    with where.lock("lock", "me", 0, lost.append):
        where.delete("lock")  # by hand
        wait_for(lambda: where.cell("lock").load())
        assert not lost
        entry = {"holder": "a third", "token": "its token", "beat": 1}
        where.write("lock", json.dumps(entry).encode())
        wait_for(lambda: lost)
        assert lost == ["a third"]
    # and it is not taken from it
    assert json.loads(where.read("lock")) == entry


def test_an_outage_longer_than_a_lease_costs_no_owner_its_lock(behind_proxy, proxy, short):
    where, lost, taken = place.at(behind_proxy("locks")), [], []
    rival = place.at(behind_proxy("locks"), 600)

    def compete() -> None:
        with contextlib.suppress(Held), rival.lock("lock", "rival", 60):
            taken.append("rival")

    with where.lock("lock", "me", 0, lost.append):
        thread = threading.Thread(target=compete)
        thread.start()
        wait_for(lambda: len(proxy.seen) > 10)
        proxy.trouble = lambda method, path: 503
        proxy.seen.clear()
        # three leases long: each of the two tries again and again meanwhile
        until = time.monotonic() + 3 * lease.LEASE_S
        wait_for(lambda: time.monotonic() > until and len(proxy.seen) > 10)
        proxy.trouble = lambda method, path: None
        proxy.seen.clear()
        renewed = where.cell("lock").load()
        wait_for(lambda: where.cell("lock").load() != renewed)
        assert not lost and not taken
        assert json.loads(where.read("lock"))["holder"] == "me"
    thread.join(60)
    assert taken == ["rival"] and not lost


def test_an_answer_that_is_lost_costs_no_owner_its_lock(behind_proxy, proxy, short):
    where, lost = place.at(behind_proxy("locks"), 600), []
    answers = ["lose"]
    proxy.trouble = lambda method, path: answers.pop() if answers and method == "PUT" else None
    with where.lock("lock", "me", 0, lost.append):
        assert not answers
        for _ in range(2):
            answers.append("lose")
            wait_for(lambda: not answers)
            after = where.cell("lock").load()
            wait_for(lambda after=after: where.cell("lock").load() != after)
    assert not lost and where.cell("lock").load()[0] == b"{}"


def test_a_service_that_does_not_heed_conditions_is_refused(behind_proxy, proxy, write_sweep):
    store, sweep = Store(behind_proxy("x")), load(write_sweep())
    for trouble in ("ignore", 501):
        proxy.trouble = lambda method, path, trouble=trouble: (
            trouble if path.endswith(".check") and proxy.seen[-2:-1] == [(method, path)] else None
        )
        with (
            pytest.raises(SweepError, match="does not heed conditional writes"),
            store.drive(sweep),
        ):
            pass
    proxy.trouble = lambda method, path: None
    with store.drive(sweep):
        pass
    assert sum(store.files.listing().values()) < 100  # the locks, and nothing else


def test_a_generation_is_made_once_and_never_comes_twice(tmp_path):
    cell, slow = Generations(tmp_path / "lock"), Generations(tmp_path / "lock")
    assert cell.load() is None and cell.swap(None, b"a") == "1"
    assert slow.swap(None, b"b") is None and slow.load() == (b"a", "1")
    for n in range(1, 5):
        assert cell.swap(str(n), b"a%d" % n) == str(n + 1)
    # the file of generation 2 is gone, and can be made: but others are ahead
    assert slow.swap("1", b"b") is None
    assert slow.load() == (b"a4", "5") and [p.name for p in tmp_path.iterdir()] == ["lock.5"]


def test_without_hard_links_a_file_is_still_made_once(tmp_path, monkeypatch):
    def link(*paths) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    store = Store(tmp_path)
    assert store.files.create("a/b", b"first") and not store.files.create("a/b", b"second")
    assert store.files.read("a/b") == b"first" and not list(tmp_path.rglob("*.tmp"))


def _hold(root, trial, held):
    with Store(root).hold(trial):
        held.set()
        time.sleep(600)


def test_a_trial_waits_for_the_process_that_holds_it_until_it_dies(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, "a", held), daemon=True)
    other.start()
    assert held.wait(60)
    store = Store(tmp_path)
    assert store.trained_elsewhere("a").startswith(f"process {other.pid} on")
    with (
        pytest.raises(Held, match="another process has been training trial a"),
        store.hold("a", wait_s=0.5),
    ):
        pass
    other.kill()
    with store.hold("a", wait_s=60):
        pass
    assert store.trained_elsewhere("a") == ""


DRIVE = """
import sys
from runners.plan import load
from runners.store import Store
with Store(sys.argv[1]).drive(load(sys.argv[2]), "sqlite:///mlflow.db"):
    print("driving")
"""


def drive_elsewhere(root: Path, sweep: Path, folder: Path) -> str:
    """What a process says that drives the sweep from this folder."""
    folder.mkdir(exist_ok=True)
    process = subprocess.run(
        [sys.executable, "-c", DRIVE, str(root), str(sweep)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    return process.stdout + process.stderr


def test_a_second_driver_of_a_sweep_hears_who_the_first_is(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, root = write_sweep(), tmp_path / "runs"
    root.mkdir()
    (root / "driver.lock").write_text("process 1 on a machine since 2026-01-01 00:00:00")
    mine = f"is in use by process {os.getpid()} on"
    with Store(root).drive(load(path), "sqlite:///mlflow.db"):
        # the same file, wherever it is started
        for folder in (tmp_path, tmp_path / "other"):
            assert f"sweep 'tiny' {mine}" in drive_elsewhere(root, path, folder)
        # another file of this name, shown in the same MLflow
        (tmp_path / "sub").mkdir()
        second = Path(path.rename(tmp_path / "kept.yaml"))
        second = Path(second.rename(tmp_path / "sub/tiny.yaml"))
        said = drive_elsewhere(root, second, tmp_path)
        assert f"a sweep called 'tiny' with the same MLflow {mine}" in said
        # and in an MLflow of its own
        assert "driving" in drive_elsewhere(root, second, tmp_path / "other")
        assert "driving" in drive_elsewhere(root, write_sweep("another"), tmp_path)
    with Store(root).drive(load(second), "sqlite:///mlflow.db"):
        pass


def test_searches_of_one_name_have_one_driver(write_sweep, tmp_path):
    search = {"mode": "tune", "space": {"lr": {"low": 0.01, "high": 0.2}}, "trials": 5}
    sweep, store = load(write_sweep(search=search)), Store(tmp_path / "runs")
    other = replace(sweep, path=str(tmp_path / "elsewhere/tiny.yaml"))
    with store.drive(sweep, "one"):
        with (
            pytest.raises(SweepError, match="a search called 'tiny' is in use by process"),
            Store(tmp_path / "runs").drive(other, "another"),
        ):
            pass
        with Store(tmp_path / "runs").drive(replace(other, search=None), "another"):
            pass


def test_locks_names_cannot_leave_their_folder(write_sweep):
    sweep = replace(load(write_sweep()), name="../../etc/x y")
    for key in locks.sweep_keys(sweep, "sqlite:///mlflow.db"):
        assert key.count("/") == 1 and key.startswith("drivers/") and " " not in key
