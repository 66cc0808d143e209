"""A store of many trials is read with few requests and few checks, and never wrongly."""

import hashlib
import json
import tempfile
import threading
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from runners import sweep
from runners.errors import StoreError, SweepError
from runners.plan import Config, Trial
from runners.store import Store, bucket_reading, cache, record_file, several
from runners.store import place as files
from runners.store import records as store_records
from tests import records
from tests.runners.store.test_record import OLD

CONFIG = Config("resnet20", "synthetic", epochs=2)
TRIALS = [Trial("s", "v", CONFIG, seed) for seed in range(40)]


@pytest.fixture
def many(monkeypatch, tmp_path):
    """Every store counts as a large one."""
    monkeypatch.setattr(store_records, "MANY", 0)
    monkeypatch.setattr(bucket_reading, "MANY", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def filled(place: str, some=TRIALS) -> Store:
    store = Store(place)
    for trial in some:
        store.commit(records.record(trial, epochs=[records.epoch(n) for n in (1, 2)]))
    return store


def requests(proxy, method: str = "") -> int:
    return sum(method in (asked, "") for asked, _ in proxy.seen)


def test_records_that_were_checked_before_come_back_the_same(many, place):
    store = filled(place)
    # one has no result, one is not there
    failed, lacking = replace(TRIALS[0], seed=98), replace(TRIALS[0], seed=99)
    store.commit(records.record(failed, "failed"))
    wanted = [failed, lacking, *TRIALS]
    first, again = store.records(wanted), Store(place).records(wanted)
    assert first == again and [*first] == [*again]
    assert lacking.id not in first and len(first) == 41
    assert first[TRIALS[3].id] == store.record(TRIALS[3].id)
    assert all(type(record.config["milestones"]) is tuple for record in again.values())


@pytest.mark.parametrize("epochs", [0, 2])
@pytest.mark.parametrize("indent", [1, 2, None])
def test_the_epochs_are_found_in_any_text_of_a_record(epochs, indent):
    text = '\n "epochs": [\n 7\n ]'
    history = [records.epoch(n + 1) for n in range(epochs)]
    record = records.record(TRIALS[0], "failed", epochs=history, reason=text)
    raw = json.loads(record_file.write(record)) | {"extra": [text], "more": {"epochs": [[1]]}}
    raw["sha256"] = record_file.checksum(raw)
    content = json.dumps(raw, indent=indent).encode()
    read = record_file.load(content, record.id, "here")
    assert record_file.load(content, record.id, "here", checked=True) == read
    assert read.reason == text and len(read.epochs) == epochs


def test_the_epochs_of_records_that_were_checked_before_are_read_when_asked_for(many, tmp_path):
    filled(str(tmp_path)).records(TRIALS)
    read = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(record_file, "_epoch", lambda row: read.append(row["epoch"]))
        found = Store(tmp_path).records(TRIALS)
        assert all(record.score and record.result for record in found.values()) and not read
        record = found[TRIALS[0].id]
        assert len(record.epochs) == len(record.epochs) == 2 and read == [1, 2]
    again = Store(tmp_path).records(TRIALS)[TRIALS[0].id]
    copied = deepcopy(again)
    assert replace(again, reason="x").epochs == copied.epochs == again.epochs
    with pytest.raises(AttributeError, match="'Record' object has no attribute 'epoch'"):
        _ = again.epoch  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_the_last_epochs_are_read_without_those_before(count):
    history = [records.epoch(n + 1) for n in range(7)]
    content = record_file.write(records.record(TRIALS[0], epochs=history))
    whole = record_file.load(content, TRIALS[0].id, "here")
    assert whole.trained == 7 and whole.last_epochs(count) == history[-count:]
    later, read = record_file.load(content, TRIALS[0].id, "here", checked=True), []
    with pytest.MonkeyPatch.context() as patched:
        epoch = record_file._epoch
        patched.setattr(record_file, "_epoch", lambda row: read.append(row["epoch"]) or epoch(row))
        assert later.trained == 7 and not read
        assert later.last_epochs(count) == history[-count:]
        assert len(read) == min(count, 7)
    assert later == whole and later.trained == 7 and later.last_epochs(count) == history[-count:]


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.glob("*.json")))
def test_an_old_record_is_rebuilt_as_it_is_read(name):
    content = (OLD / name).read_bytes()
    trial_id = json.loads(content)["id"]
    read = record_file.load(content, trial_id, "here")
    assert record_file.load(content, trial_id, "here", checked=True) == read


def test_a_record_that_was_damaged_since_is_found(many, place):
    store = filled(place)
    store.records(TRIALS)
    key = f"trials/{TRIALS[5].id}/record.json"
    content = store.files.read(key)
    store.files.write(key, content.replace(b'"top1": 70.0', b'"top1": 71.0', 1))
    with pytest.raises(SweepError, match="damaged"):
        Store(place).records(TRIALS)
    # another trial's, which is in order where it belongs
    store.files.write(key, store.files.read(f"trials/{TRIALS[6].id}/record.json"))
    with pytest.raises(SweepError, match="the record of another trial"):
        Store(place).records(TRIALS)


def test_a_cache_that_is_lost_or_damaged_costs_time_alone(many, place, tmp_path):
    store = filled(place)
    first = store.records(TRIALS)
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert kept and all(file.stat().st_mode & 0o077 == 0 for file in kept if file.suffix)
    for file in kept:
        file.write_bytes(b'{"half": \xff\n["a"]\n[1')
    again = Store(place)
    with again.files.listed("trials", 40):
        assert again.records(TRIALS) == first


def test_a_bucket_is_listed_once_and_each_record_read_once(many, proxy, behind_proxy):
    store = filled(behind_proxy("runs"), TRIALS[:30])
    proxy.seen.clear()
    with store.files.listed("trials", len(TRIALS)):
        first = store.records(TRIALS)
        assert not any(store.started(trial.id) or store.progress(trial.id) for trial in TRIALS)
        assert store.ended(TRIALS[0].id) and not store.ended(TRIALS[35].id)
    assert (requests(proxy), len(first)) == (31, 30)

    # what has changed is asked for again, and what was made since is seen
    changed = records.record(TRIALS[0], epochs=[records.epoch(val=1.0), records.epoch(2)])
    records.overwrite(store, changed)
    store.commit(records.record(TRIALS[35]))
    proxy.seen.clear()
    with store.files.listed("trials", len(TRIALS)):
        again = store.records(TRIALS)
    assert requests(proxy) == 3 and len(again) == 31
    assert again[TRIALS[0].id] == changed != first[TRIALS[0].id]
    assert store.ended(TRIALS[36].id) is False and requests(proxy) == 4


def test_copies_are_this_users_alone_and_go_with_their_objects(many, bucket, tmp_path):
    store = filled(bucket("runs"), TRIALS[:3])
    with store.files.listed("trials", 3):
        store.records(TRIALS[:3])
    (folder,) = (tmp_path / "cache").glob("*/objects-*")
    assert len([*folder.iterdir()]) == 3 and folder.stat().st_mode & 0o077 == 0
    store.files.delete(f"trials/{TRIALS[0].id}/record.json")
    with store.files.listed("trials", 3):
        assert len(store.records(TRIALS[:3])) == 2
    assert len([*folder.iterdir()]) == 2
    # one that was damaged is read from the bucket
    for copy in folder.iterdir():
        copy.write_bytes(copy.read_bytes().replace(b"finished", b"diverged"))
    with store.files.listed("trials", 3):
        assert {r.status for r in store.records(TRIALS[:3]).values()} == {"finished"}


def test_the_copies_of_another_user_are_not_believed(many, bucket, tmp_path, monkeypatch):
    store = filled(bucket("runs"), TRIALS[:1])
    with store.files.listed("trials", 1):
        store.records(TRIALS[:1])
    (folder,) = (tmp_path / "cache").glob("*/objects-*")
    assert (folder.parent.stat().st_mode | folder.stat().st_mode) & 0o077 == 0
    (copy,) = folder.iterdir()
    forged = copy.read_bytes()[32:].replace(b'"variant": "v"', b'"variant": "w"')
    copy.write_bytes(hashlib.sha256(forged).digest() + forged)
    folder.rename(tmp_path / "theirs")
    folder.symlink_to(tmp_path / "theirs")
    with store.files.listed("trials", 1):
        assert store.records(TRIALS[:1])[TRIALS[0].id].variant == "v"
    assert [*(tmp_path / "theirs").iterdir()]


def test_the_cache_itself_may_be_on_another_disk(many, bucket, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache/scconv-sweeps").symlink_to(tmp_path / "disk")
    store = filled(bucket("runs"), TRIALS[:2])
    with store.files.listed("trials", 2):
        store.records(TRIALS[:2])
    assert len([*(tmp_path / "disk").glob("objects-*/*")]) == 2


@pytest.mark.parametrize("home", ["/", ""])
def test_without_a_home_the_cache_is_among_the_temporary_files(home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(cache.Path, "home", lambda: Path("/"))
    cache._folder.cache_clear()
    assert cache.folder().parent == Path(tempfile.gettempdir())
    cache._folder.cache_clear()


def test_a_store_of_far_more_trials_is_not_listed(many, proxy, behind_proxy, monkeypatch):
    store = filled(behind_proxy("runs"), TRIALS[:4])
    paginate = store.files.objects.client.get_paginator
    pages = paginate("list_objects_v2").paginate
    monkeypatch.setattr(
        store.files.objects.client,
        "get_paginator",
        lambda name: type(
            "", (), {"paginate": lambda self, **at: pages(**at, PaginationConfig={"PageSize": 1})}
        )(),
    )
    proxy.seen.clear()
    with store.files.listed("trials", 20):
        assert len(store.records(TRIALS[:4])) == 4
    # two pages, a look at the third, and a request for each record
    assert requests(proxy) == 7


def test_few_trials_do_not_list_a_large_bucket(proxy, behind_proxy):
    store = filled(behind_proxy("runs"), TRIALS[:2])
    proxy.seen.clear()
    with store.files.listed("trials", 2):
        store.records(TRIALS[:3])
    assert requests(proxy) == 3


def test_a_plan_of_a_bucket_asks_for_no_trial_that_is_not_there(
    many, write_sweep, proxy, behind_proxy, capsys
):
    path, address = write_sweep("tiny", seeds=20), behind_proxy("runs")
    assert sweep.main([str(path), "--plan", "--storage", address]) == 0
    proxy.seen.clear()
    assert sweep.main([str(path), "--plan", "--storage", address]) == 0
    assert "40 new" in capsys.readouterr().out
    # locks, the store's identity and the like; none for each trial
    assert requests(proxy) < 20


def test_far_files_are_read_several_at_a_time_and_in_order():
    waiting = threading.Barrier(4, timeout=60)

    def far(key: str) -> bytes:
        if int(key) < several.FEW:
            time.sleep(2 * several.NEAR_S)
        elif int(key) < several.FEW + 4:
            waiting.wait()  # for the three others: never, were they read one after another
        if key == "7":
            raise FileNotFoundError(key)
        return key.encode()

    keys = [str(n) for n in range(several.FEW + several.AHEAD + 9)]
    found = [*several.read(far, keys, 4)]
    assert [key for key, _ in found] == [key for key in keys if key != "7"]
    assert all(content == key.encode() for key, content in found)


def test_an_error_of_a_far_file_is_the_readers():
    def far(key: str) -> bytes:
        if key == "40":
            raise OSError("no")
        time.sleep(2 * several.NEAR_S)
        return b""

    with pytest.raises(OSError, match="no"):
        [*several.read(far, [str(n) for n in range(60)], 4)]


def test_a_far_place_is_read_by_several_whatever_the_first_files_say():
    waiting = threading.Barrier(4, timeout=60)

    def far(key: str) -> bytes:
        if several.FEW <= int(key) < several.FEW + 4:
            waiting.wait()
        return b""

    assert len([*several.read(far, [str(n) for n in range(40)], 4, far=True)]) == 40


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path, monkeypatch):
    where = files.at(tmp_path / "runs")
    where.write("trials/a/x", b"one")

    def scandir(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("runners.store.listing.os.scandir", scandir)
    with pytest.raises(StoreError, match="Input/output error"):
        where.listing()


def test_a_version_changes_whenever_a_file_is_written(place):
    where, seen = files.at(place), set()
    for content in (b"one", b"two", b"six"):
        where.write("trials/a/x", content)
        seen.add(where.versions("trials")["trials/a/x"])
    assert len(seen) == 3 and {file.bytes for file in seen} == {3}
