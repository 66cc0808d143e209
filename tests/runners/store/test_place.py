"""A store in a bucket keeps what one on disk keeps: against a real S3 server, and a sweep whose workers are processes of their own."""

import contextlib
import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import Held, StoreError, SweepError
from runners.plan import load
from runners.search.searching import Searching
from runners.store import Store, retry
from runners.store import bucket as buckets
from runners.store import place as files
from runners.store.disk import Disk
from runners.trial.run import run
from tests import records
from tests.runners.search.test_searching import FRONT, cost, drive, told
from tests.runners.store.test_trials import EPOCH, TRIAL
from tests.runners.test_sweep import MINE, finish, mlflow_runs, start, wait_for

moto = pytest.importorskip(
    "moto.server", reason="an S3 server to test against: pip install 'moto[server]'"
)


@pytest.fixture(scope="module")
def server():
    """The endpoint of an S3 server with the bucket `lab`, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-c", f"from moto.server import main; main(['-p', '{port}'])"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    process.kill()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """bucket(name) -> the address of an empty place in it."""
    from pyarrow import fs

    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fs.S3FileSystem(endpoint_override=server, scheme="http", allow_bucket_creation=True).create_dir(
        "lab"
    )
    return lambda name: f"s3://lab/{tmp_path.name}/{name}?endpoint_override={server}&scheme=http"


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    return (
        str(tmp_path / "runs")
        if request.param == "disk"
        else request.getfixturevalue("bucket")("runs")
    )


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
    ) and where.bytes_used() == 11
    where.delete("trials/a/x")
    where.delete("trials/a/x")
    assert not where.exists("trials/a/x") and where.exists("trials/a/y")


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


def test_a_bucket_that_is_away_is_waited_for_and_the_log_has_it_later(bucket, monkeypatch):
    monkeypatch.setattr(retry, "AGAIN_S", 0.2)
    store, away = Store(bucket("away"), patience_s=60), [True] * 3
    real = store.files._get

    def get(key: str) -> bytes:
        if away:
            raise OSError(f"AWS Error NETWORK_CONNECTION: {away.pop()}")
        return real(key)

    monkeypatch.setattr(store.files, "_get", get)
    store.files.write("trials/a/x", b"y")
    with (
        store.log("a") as log,
        contextlib.redirect_stdout(log),
    ):  # what waits says so in the log, which is away as well
        assert store.read("a", "x") == b"y"
    assert (
        b"cannot be read: AWS Error NETWORK_CONNECTION" in store.read("a", "log.txt") and not away
    )


def test_a_users_convolution_reaches_another_machine(place, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("x = 1\n")
    kept = Store(place).keep_conv(
        str(tmp_path / "mine.py"), hashlib.sha256(b"x = 1\n").hexdigest()[:16]
    )
    assert Path(kept).read_text() == "x = 1\n"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert Path(Store(place).conv(kept)).read_text() == "x = 1\n" and Store(place).conv("") == ""


def test_one_lock_at_a_time_and_a_dead_holders_is_taken_over(bucket, monkeypatch):
    monkeypatch.setattr(buckets, "LEASE_S", 2.0)
    monkeypatch.setattr(buckets, "SETTLE_S", 0.3)
    where, lost = files.at(bucket("locks")), []
    with where.lock("lock", "me", 0, lambda: lost.append("me")):
        time.sleep(3)  # longer than a lease: its holder says that it lives
        with pytest.raises(Held, match="me"), files.at(bucket("locks")).lock("lock", "you", 0):
            pass
    assert not lost and where._holder("lock") == {}
    where._say("lock", "someone killed", "their token", 7)
    begun = time.monotonic()
    with where.lock("lock", "you", 0, lambda: lost.append("you")):
        assert 2 < time.monotonic() - begun < 20 and where._holder("lock")["holder"] == "you"
        where._say("lock", "a third", "its token", 0)  # as if you had not been heard of for long
        time.sleep(1)
        assert lost == ["you"] and where._holder("lock")["holder"] == "a third"
    assert where._holder("lock")["holder"] == "a third"  # and it is not taken from it
    where.delete("lock")
    where.write("lock", b"")
    with where.lock("lock", "what cannot be read holds nothing", 0):
        pass
    inside, most = [], []

    def compete(n: int) -> None:
        with files.at(bucket("locks")).lock("lock", str(n), 60):
            inside.append(n)
            most.append(len(inside))
            time.sleep(0.5)
            inside.remove(n)

    racers = [threading.Thread(target=compete, args=(n,)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert most == [1, 1, 1, 1]


def test_where_a_store_cannot_be_is_said(bucket, server):
    with pytest.raises(SweepError, match="there is no bucket 'nowhere'"):
        Store(f"s3://nowhere/runs?endpoint_override={server}&scheme=http")
    for address in ("gs://lab/runs", "s3:/lab/runs", "s3://?x=y", "s3://lab//runs"):
        with pytest.raises(SweepError, match="a folder, or s3://bucket/folder"):
            Store(address)
    with pytest.raises(StoreError, match="cannot be reached"):
        Store("s3://lab/runs?endpoint_override=127.0.0.1:9&scheme=http")
    Store(f"s3://lab/?endpoint_override={server}&scheme=http")


def test_what_cannot_be_written_at_all_is_an_error_at_the_start(write_sweep, tmp_path):
    path = write_sweep(seeds=1)
    code, out = finish(start(path, "--storage", str(path)), path)
    assert code == 2 and "Not a directory" in out and out.count("\n") == 1, out


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(retry, "AGAIN_S", 0.1)
    full = [True, True]

    def fsync(fd: int) -> None:
        if full and full.pop():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(
        "builtins.print",
        lambda *a, said=print, **k: (
            said(*a, **k),
            (_ for _ in ()).throw(OSError(28, "the log is full, too")),
        ),
    )
    Disk(tmp_path, 60).write("a/b", b"c")
    assert (
        tmp_path / "a/b"
    ).read_bytes() == b"c" and "No space left on device; trying again" in capsys.readouterr().out
    full[:] = [True]
    with pytest.raises(StoreError, match="a/b cannot be written: No space left on device"):
        Disk(tmp_path).write("a/b", b"d")
    assert (tmp_path / "a/b").read_bytes() == b"c" and not list(tmp_path.rglob("*.tmp"))


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
    wait_for(lambda: any(store.started(t.id) for t in trials) or first.poll() is not None)
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
        assert not store.started(trial.id) and not store.files.exists(f"trials/{trial.id}/lock")
    assert not (tmp_path / "runs").exists()
