"""What a trial leaves behind survives kills, and is never half there."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import SweepError
from runners.store import Epoch, Record, Store

EPOCH = Epoch(1, 0.1, 2.0, 20.0, None, None, 3.0, 100.0, 1_700_000_000_000, {"load": 1.0})


def test_records_and_checkpoints_come_back_as_they_went(tmp_path):
    store = Store(tmp_path)
    assert store.record("a") is None and store.checkpoint("a") is None and not store.started("a")
    store.save("a", {"model": {"w": torch.arange(3)}}, [EPOCH])
    state, epochs = store.checkpoint("a")
    assert (
        torch.equal(state["model"]["w"], torch.arange(3))
        and epochs == [EPOCH]
        and store.started("a")
    )
    record = Record(
        "a", "s", "v", 0, {"lr": 0.1}, "failed", "because", [EPOCH], None, {"commit": "x"}
    )
    store.commit(record)
    assert store.record("a") == record and store.started(
        "a"
    )  # a failed trial may go on from its checkpoint
    store.forget_failure("a")
    assert store.record("a") is None and store.started("a")
    store.commit(replace(record, status="finished"))
    store.forget_failure("a")  # must never cost a finished trial its record
    assert store.record("a").status == "finished"


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    store = Store(tmp_path)
    store.folder("a").mkdir(parents=True)
    (store.folder("a") / "record.json").write_text('{"id": ')
    with pytest.raises(
        SweepError, match=r"record\.json: not a record of this version .* remove it"
    ):
        store.record("a")


def test_a_users_convolution_is_kept_as_it_was_planned(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("x = 1\n")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    copy = Store(tmp_path / "runs").keep_conv(str(source), digest)
    source.write_text("x = 2\n")
    assert Path(copy).read_text() == "x = 1\n"
    with pytest.raises(SweepError, match="was edited after the sweep was planned"):
        Store(tmp_path / "runs").keep_conv(str(source), digest)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.save("a", {"x": torch.ones(1)}, [EPOCH])
    monkeypatch.setattr(
        os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        store.save("a", {"x": torch.zeros(1)}, [EPOCH, EPOCH])
    monkeypatch.undo()
    assert store.checkpoint("a")[0]["x"].item() == 1 and not list(tmp_path.rglob("*.tmp"))


def test_a_pickle_in_place_of_a_checkpoint_is_not_run(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/evil",)

    store = Store(tmp_path)
    store.folder("a").mkdir(parents=True)
    content = io.BytesIO()
    torch.save(Evil(), content)
    forged = (
        hashlib.sha256(content.getvalue()).digest() + content.getvalue()
    )  # a checksum protects from accidents, not from people
    (store.folder("a") / "checkpoint.pt").write_bytes(forged)
    assert store.checkpoint("a") is None and not (tmp_path / "evil").exists()


def test_a_healthy_checkpoint_stays_when_the_machine_is_short_of_memory(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.save("a", {"x": torch.zeros(1)}, [EPOCH])
    monkeypatch.setattr(
        torch,
        "load",
        lambda *_, **__: (_ for _ in ()).throw(
            RuntimeError("DefaultCPUAllocator: can't allocate memory")
        ),
    )
    with pytest.raises(RuntimeError, match="can't allocate"):
        store.checkpoint("a")
    monkeypatch.undo()
    assert store.checkpoint("a")[1] == [EPOCH]


def test_what_a_killed_writer_left_is_swept_by_the_next_one(tmp_path):
    store = Store(tmp_path)
    store.save("a", {"x": torch.zeros(1)}, [EPOCH])
    os.link(
        store.folder("a") / "checkpoint.pt", store.folder("a") / "checkpoint.before.pt"
    )  # killed between its two moves
    store.save("a", {"x": torch.ones(1)}, [EPOCH, EPOCH])
    assert not list(tmp_path.rglob("*.tmp"))
    (store.folder("a") / "checkpoint.pt.123.tmp").write_bytes(b"half")
    with store.hold("a"):
        assert not list(tmp_path.rglob("*.tmp")) and len(store.checkpoint("a")[1]) == 2
