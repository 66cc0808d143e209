"""What a trial leaves behind survives kills, and is never half there."""

import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import StoreError, SweepError
from runners.plan import Config, Trial
from runners.store import Store
from tests import records
from tests.runners.store.test_record import OLD

EPOCH = records.epoch(1, val=None)
TRIAL = Trial("s", "v", Config("resnet20", "synthetic", epochs=2), 0)


def test_records_and_checkpoints_come_back_as_they_went(tmp_path):
    store, key = Store(tmp_path), TRIAL.id
    assert store.record(key) is None and store.checkpoint(key) is None and not store.started(key)
    store.save(key, {"model": {"w": torch.arange(3)}}, [EPOCH])
    state, epochs = store.checkpoint(key)
    assert torch.equal(state["model"]["w"], torch.arange(3)) and [*state] == ["model"]
    assert epochs == [EPOCH] and store.started(key)
    record = records.record(TRIAL, "failed")
    store.commit(record)
    # a failed trial may go on from its checkpoint
    assert store.record(key) == record and store.started(key)
    store.forget_failure(key)
    assert store.record(key) is None and store.started(key)
    store.commit(records.record(TRIAL))
    store.forget_failure(key)  # must never cost a finished trial its record
    assert store.record(key).status == "finished" and not store.started(key)


def test_a_checkpoint_of_another_trial_is_refused(tmp_path, capsys):
    """Of another seed, it fits this trial's network."""
    store, other = Store(tmp_path), replace(TRIAL, seed=1)
    for epochs in ([EPOCH], [EPOCH, EPOCH]):
        store.save(other.id, {"x": torch.zeros(1)}, epochs)
    store.folder(other.id).rename(store.folder(TRIAL.id))
    assert store.checkpoint(TRIAL.id) is None and not store.started(TRIAL.id)
    first, second = capsys.readouterr().out.splitlines()
    assert f"it is the checkpoint of another trial, {other.id}), set aside" in first
    assert second.endswith("set aside; the trial starts over")
    assert len(list(store.folder(TRIAL.id).glob("*.damaged"))) == 2


def test_a_checkpoint_of_version_1_is_gone_on_from(tmp_path):
    """It named no trial, and its epochs had a field for every figure."""
    store = Store(tmp_path)
    row = json.loads((OLD / "quickstart.json").read_text())["epochs"][0]
    data = io.BytesIO()
    torch.save({"model": {"w": torch.ones(1)}, "data": "d", "epochs": [row]}, data)
    content = hashlib.sha256(data.getvalue()).digest() + data.getvalue()
    store.files.write(f"trials/{TRIAL.id}/checkpoint.pt", content)
    state, epochs = store.checkpoint(TRIAL.id)
    assert [*state] == ["model", "data"] and epochs[0].epoch == 1
    assert (epochs[0].train_loss, epochs[0].val_score) == (row["train_loss"], row["val_top1"])


def test_an_unreadable_checkpoint_costs_one_epoch_and_never_all_of_them(
    tmp_path, monkeypatch, capsys
):
    store = Store(tmp_path)
    for n in (1, 2):
        store.save(TRIAL.id, {"x": torch.full((1,), float(n))}, [EPOCH] * n)
    last, before = (store.folder(TRIAL.id) / f"checkpoint{name}.pt" for name in ("", ".before"))
    bad = {last, before}
    read = Path.read_bytes

    def sector(self):
        if self in bad:
            raise OSError(5, "Input/output error")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", sector)
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be read"):
        store.checkpoint(TRIAL.id)
    assert last.exists() and before.exists()
    bad.remove(before)
    state, epochs = store.checkpoint(TRIAL.id)
    assert state["x"].item() == 1 and epochs == [EPOCH]
    out = capsys.readouterr().out
    assert "checkpoint.pt cannot be read: Input/output error; " in out and ", set aside" in out
    assert out.endswith("the trial goes on from the one before\n")
    # the next one does not push the healthy one out before it is written
    assert not last.exists() and before.exists()


@pytest.mark.parametrize("version", [1, 2])
def test_one_flipped_bit_in_the_weights_is_found(version, tmp_path):
    store, state = Store(tmp_path), {"w": torch.arange(1000.0)}
    store.commit(records.record(TRIAL), state)
    record = store.record(TRIAL.id)
    path = store.folder(TRIAL.id) / "weights.pt"
    assert len(record.weights_sha256) == 64
    if version == 1:  # had no checksum of them
        record = replace(record, weights_sha256="")
    assert torch.equal(store.weights(record)["w"], state["w"])
    content = bytearray(path.read_bytes())
    content[content.index(state["w"].numpy().tobytes()) + 500] ^= 1
    path.write_bytes(content)
    with pytest.raises(SweepError) as refused:
        store.weights(record)
    error = str(refused.value)
    assert error.startswith(f"{path}: these weights are damaged: the") or "its checksum" in error
    assert "restore them from a backup, or move the trial's folder away" in error
    path.write_bytes(content[:1000])
    with pytest.raises(SweepError, match="these weights are damaged"):
        store.weights(record, parse=False)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        store.weights(record)


def test_torn_notes_of_failures_count_as_none(tmp_path):
    store = Store(tmp_path)
    assert [store.note_failure(TRIAL.id, "error") for _ in range(2)] == [1, 2]
    store.files.write(f"trials/{TRIAL.id}/failures.json", b'["err')
    assert store.failures(TRIAL.id) == [] and store.note_failure(TRIAL.id, "error") == 1


def test_a_users_convolution_is_kept_as_it_was_planned(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("x = 1\n")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    copy = Store(tmp_path / "runs").keep_file(str(source), digest)
    source.write_text("x = 2\n")
    assert Path(copy).read_text() == "x = 1\n"
    with pytest.raises(SweepError, match="was edited after the sweep was planned"):
        Store(tmp_path / "runs").keep_file(str(source), digest)


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
