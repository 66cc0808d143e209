"""A store that is full, unreachable or forbidden: waited for as long as is promised, or named."""

import contextlib
import errno
import os

import pytest

from runners.errors import StoreDenied, StoreError, StoreUnreadable, SweepError
from runners.store import Store, retry
from runners.store.disk import Disk
from runners.store.retry import Patience
from runners.store.s3 import Address


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(retry, "AGAIN_S", 0.05)


def failing(times: int, error: OSError):
    """A task that fails so often, then returns its calls so far."""
    calls = []

    def task() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return task


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_outage_is_waited_for_and_reported_once(capsys):
    assert Patience(600).retry(failing(5, FULL), "a/b cannot be written") == 6
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "a/b cannot be written: No space left on device; trying again for" in printed


def test_operations_that_meet_one_outage_share_its_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(retry.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    patience, attempts = Patience(300), []

    def away() -> None:
        attempts.append(now[0])
        raise OSError("the network is down")

    with pytest.raises(StoreError, match="x: the network is down"):
        patience.retry(away, "x")
    assert 300 <= now[0] < 310 and len(attempts) > 100
    attempts.clear()
    with pytest.raises(StoreError):
        patience.retry(away, "y")
    assert len(attempts) == 1
    # the store was there again in between: the next outage has a time of its own
    assert patience.retry(lambda: "there", "z") == "there"
    begun = now[0]
    with pytest.raises(StoreError):
        patience.retry(away, "x")
    assert now[0] - begun >= 300


def test_a_signal_ends_the_waiting():
    patience = Patience(600)

    def task() -> None:
        patience.cancel()
        raise FULL

    with pytest.raises(StoreError, match="No space left"):
        patience.retry(task, "x")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR])
def test_without_permission_no_waiting_helps(number):
    with pytest.raises(StoreDenied, match=r"runs/x cannot be written: .*; .*--storage"):
        Patience(600).retry(
            failing(10**6, OSError(number, os.strerror(number))), "runs/x cannot be written"
        )


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    full = [True, True]

    def fsync(fd: int) -> None:
        if full and full.pop():
            raise FULL

    def unprintable(*arguments, **options) -> None:
        raise OSError(errno.ENOSPC, "the log is full, too")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("builtins.print", unprintable)
    Disk(tmp_path, 600).write("a/b", b"c")
    assert (tmp_path / "a/b").read_bytes() == b"c"
    full[:] = [True]
    with pytest.raises(StoreError, match="a/b cannot be written: No space left on device"):
        Disk(tmp_path).write("a/b", b"d")
    assert (tmp_path / "a/b").read_bytes() == b"c" and not list(tmp_path.rglob("*.tmp"))


def test_something_else_in_a_folders_place_is_denied_and_named(tmp_path):
    (tmp_path / "trials").write_text("a file")
    store = Store(tmp_path, 600)
    for attempt in (
        lambda: store.files.write("trials/a/x", b""),
        lambda: store.files.read("trials/a/x"),
        lambda: store.files.exists("trials/a/x"),
        lambda: store.files.create("trials/a/x", b""),
    ):
        with pytest.raises(StoreDenied, match=r"trials/a/x cannot be (read|written): Not a dir"):
            attempt()
    (tmp_path / "here").mkdir()
    with pytest.raises(StoreDenied, match="here cannot be read: Is a directory"):
        store.files.read("here")


def test_a_file_that_the_disk_cannot_read_is_named_and_no_outage(tmp_path, monkeypatch):
    disk = Disk(tmp_path, 600)
    disk.write("a", b"1")
    disk.write("b", b"2")
    real, attempts = type(tmp_path).read_bytes, []

    def read_bytes(path) -> bytes:
        if path.name == "a":
            attempts.append(1)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", read_bytes)
    with pytest.raises(StoreUnreadable, match=r"a cannot be read: Input/output error") as caught:
        disk.read("a")
    assert len(attempts) == 3 and disk.read("b") == b"2"
    assert "remove" not in str(caught.value) and "delete" not in str(caught.value)


def test_a_bucket_that_is_away_is_waited_for_and_the_log_has_it_later(behind_proxy, proxy):
    store, away = Store(behind_proxy("away"), 600), [503, 503, 403, 403, "lose"]
    proxy.trouble = lambda method, path: away.pop() if away else None
    store.files.write("trials/a/x", b"y")
    away[:] = [503] * 5
    # the lines about the outage go to the log, which is away as well
    with store.log("a") as log, contextlib.redirect_stdout(log):
        assert store.read("a", "x") == b"y"
    assert b"cannot be read: as the test wants (503 SlowDown)" in store.read("a", "log.txt")
    assert not away


def test_a_bucket_that_refuses_is_an_error_at_the_start_and_an_outage_later(behind_proxy, proxy):
    proxy.trouble = lambda method, path: 403
    with pytest.raises(SweepError, match=r"--storage s3://lab/.*403 AccessDenied.*credentials"):
        Store(behind_proxy("x"), 600)
    spell = [403] * 3
    proxy.trouble = lambda method, path: spell.pop() if spell else None
    store = Store(behind_proxy("x"), 600, proven=True)
    spell[:] = [403] * 3
    store.files.write("identity", b"a" * 32)
    assert store.identity == "a" * 32 and not spell
    proxy.trouble = lambda method, path: 403
    store.files.patience.seconds = 0
    with pytest.raises(StoreError, match=r"identity cannot be read: .*403 AccessDenied"):
        store.files.read("identity")


def test_where_a_store_cannot_be_is_said(bucket, moto):
    service = f"endpoint_override=127.0.0.1:{moto}&scheme=http"
    with pytest.raises(SweepError, match="there is no bucket 'nowhere'"):
        Store(f"s3://nowhere/runs?{service}")
    for address in ("gs://lab/runs", "s3:/lab/runs", "s3://?x=y", "s3://lab//runs"):
        with pytest.raises(SweepError, match="a folder, or s3://bucket/folder"):
            Store(address)
    with pytest.raises(SweepError, match="unknown option 'endpoint'; there are endpoint_override"):
        Store("s3://lab/runs?endpoint=minio:9000")
    with pytest.raises(StoreError, match="cannot be reached"):
        Store("s3://lab/runs?endpoint_override=127.0.0.1:9&scheme=http")
    Store(f"s3://lab/?{service}")


def test_an_address_is_read_as_the_aws_tools_read_it(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id=k\naws_secret_access_key=s\n")
    (tmp_path / "config").write_text("[profile lab]\nregion=eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    client = Address.parse("s3://lab/runs").client()
    assert client.meta.region_name == "eu-north-1"
    assert client._request_signer._credentials.access_key == "k"
    assert client.meta.endpoint_url == "https://s3.eu-north-1.amazonaws.com"
    own = Address.parse(
        "s3://a%2Fb:c%40d@lab/x/y?endpoint_override=minio:9000&scheme=http&region=r"
    )
    assert (own.bucket, own.folder, own.root) == ("lab", "x/y", "lab/x/y")
    client = own.client()
    assert (client.meta.region_name, client.meta.endpoint_url) == ("r", "http://minio:9000")
    assert client._request_signer._credentials.access_key == "a/b"
    assert client._request_signer._credentials.secret_key == "c@d"
    url = client.generate_presigned_url("get_object", {"Bucket": "lab", "Key": "k"})
    assert url.startswith("http://minio:9000/lab/k?")


def test_a_start_does_not_wait_for_ever_and_a_sweep_waits_five_minutes(tmp_path, write_sweep):
    from runners.plan import load

    store = Store(tmp_path / "runs", 30)
    assert store.files.patience.seconds == 30
    with store.drive(load(write_sweep())):
        assert store.files.patience.seconds == 300
