"""A store in a bucket keeps what one on disk keeps, against a real S3 server."""

import contextlib
import hashlib
import io
import os
import resource
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import StoreError
from runners.plan import Own, load
from runners.search.searching import Searching
from runners.store import Store
from runners.store import place as files
from runners.trial.run import run
from tests import records
from tests.runners.search.test_searching import FRONT, cost, drive, told
from tests.runners.store.test_trials import EPOCH, TRIAL
from tests.runners.test_sweep import MINE, finish, mlflow_runs, start, wait_for


def test_a_file_is_replaced_as_a_whole_and_missed_by_its_name(place):
    where = files.at(place)
    with pytest.raises(FileNotFoundError):
        where.read("trials/a/x")
    where.write("trials/a/x", b"one", b"two")
    where.keep("trials/a/x", "trials/a/y")
    where.write("trials/a/x", b"three")
    assert (where.read("trials/a/x"), where.read("trials/a/y")) == (
        b"three",
        b"onetwo",
    ) and sum(where.listing().values()) == 11
    where.delete("trials/a/x")
    where.delete("trials/a/x")
    assert not where.exists("trials/a/x") and where.exists("trials/a/y")
    assert where.create("trials/a/x", b"fo", b"ur") and not where.create("trials/a/x", b"five")
    assert where.read("trials/a/x") == b"four"


def test_a_store_that_two_begin_has_one_identity(place):
    names: set[str] = set()
    first = [threading.Thread(target=lambda: names.add(Store(place).identity)) for _ in range(8)]
    for thread in first:
        thread.start()
    for thread in first:
        thread.join()
    assert names == {Store(place).identity}


def test_trials_come_back_as_they_went(place):
    store, key = Store(place), TRIAL.id
    assert (
        store.record(key) is None
        and store.checkpoint(key) is None
        and not store.started(key)
        and not store.ended(key)
    )
    for n in (1, 2):
        store.save(key, {"w": torch.full((3,), float(n))}, [EPOCH] * n)
    assert Store(place).checkpoint(key)[0]["w"].tolist() == [2, 2, 2]
    content = bytearray(store.read(key, "checkpoint.pt"))
    content[len(content) // 2] ^= 1
    store.files.write(f"trials/{key}/checkpoint.pt", bytes(content))
    assert Store(place).checkpoint(key)[0]["w"].tolist() == [
        1,
        1,
        1,
    ]  # the one before; the damaged one is set aside
    assert store.files.exists(f"trials/{key}/checkpoint.damaged") and not store.files.exists(
        f"trials/{key}/checkpoint.pt"
    )
    record = records.record(TRIAL, "failed")
    store.commit(record, {"w": torch.ones(1)})
    kept = store.record(key)
    assert store.weights(kept)["w"].tolist() == [1] and replace(kept, weights_sha256="") == record
    assert store.ended(key) and Store(place).identity == store.identity
    store.forget_failure(key)
    assert store.record(key) is None and not store.ended(key) and store.started(key)
    assert [store.note_failure(key, "error") for _ in range(2)] == [1, 2]
    with store.log(key) as log:
        log.write("first\n")
    with contextlib.suppress(ZeroDivisionError), store.log(key) as log:
        log.write("second\n")
        _ = 1 / 0
    assert store.read(key, "log.txt") == b"first\nsecond\n"


def test_a_users_convolution_reaches_another_machine(place, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("x = 1\n")
    kept = Store(place).keep_file(
        str(tmp_path / "mine.py"), hashlib.sha256(b"x = 1\n").hexdigest()[:16]
    )
    assert Path(kept).read_text() == "x = 1\n"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    fetched = Store(place).fetch_own(Own(conv=kept))
    assert Path(fetched.conv).read_text() == "x = 1\n" and fetched.dataset == ""


def test_what_cannot_be_written_at_all_is_an_error_at_the_start(write_sweep, tmp_path):
    path = write_sweep(seeds=1)
    code, out = finish(start(path, "--storage", str(path)), path)
    assert code == 2 and "Not a directory" in out and out.count("\n") == 1, out


def test_a_signal_in_the_middle_of_a_write_leaves_the_old_or_the_new(bucket):
    where = files.at(bucket("signals"))
    before, after, seen = b"a" * 100_000, b"b" * 200_000, set()
    for n in range(20):
        where.write("x", before)
        timer = threading.Timer(0.0005 * n, os.kill, (os.getpid(), signal.SIGINT))
        with contextlib.suppress(KeyboardInterrupt):
            timer.start()
            where.write("x", after)
            timer.join()
            time.sleep(0.1)
        time.sleep(0.1)
        seen.add(where.read("x"))
    assert seen <= {before, after}


TUNE = {
    "mode": "tune",
    "space": {"lr": {"low": 0.01, "high": 0.2, "log": True}},
    "trials": 5,
    "ahead": 1,
}


def test_the_studies_of_several_variants_share_one_journal_in_a_bucket(
    bucket, write_sweep, tmp_path
):
    sweep = load(write_sweep(variants={"R20": {}, "S+C": {"conv": "scconv"}}, search=TUNE))
    on_disk = drive(sweep, Store(tmp_path / "disk"), order=0)
    for order, kill in ((1, 3), (2, 10**9)):
        in_bucket = drive(sweep, Store(bucket("tune")), order, kill)
    assert (
        told(in_bucket) == told(on_disk) == told(Searching(sweep, Store(bucket("tune")), cost))
        and in_bucket.over
    )


def test_a_journal_that_a_full_disk_cut_goes_on(write_sweep, tmp_path, monkeypatch):
    sweep = load(write_sweep(variants={"R20": {}}, search=TUNE))
    whole, store = told(drive(sweep, Store(tmp_path / "whole"), order=0)), Store(tmp_path / "full")
    drive(sweep, store, order=0, killed_after=2)
    work = Searching(sweep, store, cost)
    limit = next((tmp_path / "full").rglob("*.journal")).stat().st_size + 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # half a line fits
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StoreError, match="journal cannot be written"):
            work.next()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (
        told(drive(sweep, store, order=0)) == whole
        and told(drive(sweep, Store(tmp_path / "full"), order=0)) == whole
    )


def test_a_search_in_a_bucket_proposes_what_it_proposes_on_disk(bucket, write_sweep, tmp_path):
    sweep = load(
        write_sweep(
            base={"conv": "scconv"},
            variants={"R20": {"conv": "standard"}, "alpha=0.5": {}},
            search=FRONT,
        )
    )
    on_disk = drive(sweep, Store(tmp_path / "disk"), order=0)
    for order, kill in ((1, 3), (2, 10**9)):  # killed, and gone on
        in_bucket = drive(sweep, Store(bucket("search")), order, kill)
    assert told(in_bucket) == told(on_disk) and in_bucket.over
    assert [
        p.status
        for study in Searching(sweep, Store(bucket("search")), cost).studies
        for p in study.proposals
    ].count("finished") >= 12


def test_a_sweep_in_a_bucket_killed_and_gone_on_ends_as_one_on_disk(bucket, write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    dies = {"conv": "mine", "options": {"flag": str(tmp_path / "died")}}
    path = write_sweep(
        base={"epochs": 4}, variants={"R20": {}, "S+C": {"conv": "scconv"}, "dies": dies}, seeds=1
    )
    place, trials = bucket("sweep"), load(path).trials
    store = Store(place)
    first = start(path, "--storage", place)
    wait_for(lambda: any(store.started(t.id) or store.ended(t.id) for t in trials))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert any(not store.ended(t.id) for t in trials), "the sweep was over before it was killed"
    code, out = finish(start(path, "--storage", place), path)
    assert code == 0 and "3 of 3 trials finished" in out, out
    assert mlflow_runs(path) == {t.name: ("FINISHED", [1, 2, 3, 4], 1) for t in trials}
    (tmp_path / "died").touch()
    undisturbed = Store(tmp_path / "undisturbed")
    for trial in trials:
        list(run(trial, undisturbed, device="cpu"))
        got, want = (
            torch.load(io.BytesIO(s.read(trial.id, "weights.pt")), weights_only=True)
            for s in (store, undisturbed)
        )
        assert all(torch.equal(got[k], want[k]) for k in want), trial.name
        assert not store.started(trial.id) and not store.trained_elsewhere(trial.id)
    assert not (tmp_path / "runs").exists()
