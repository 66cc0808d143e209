"""A record is read for ever, can grow, and does not pass for another trial's."""

import contextlib
import gc
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from runners.errors import StoreError, SweepError
from runners.plan import Config, Trial
from runners.store import State, Store, label, record_file, shown
from runners.store import records as records_module
from tests import records

OLD = Path(__file__).with_name("version_1")  # written by the code before records had a version
TRIAL = Trial("s", "S+C", Config("resnet20", "synthetic", "scconv", epochs=2), 3)
OTHER = Trial("s", "R20", Config("resnet20", "synthetic", epochs=2), 3)


def old(name: str) -> dict:
    return json.loads((OLD / f"{name}.json").read_text())


def reading(raw: dict, trial_id: str = ""):
    return record_file.read(json.dumps(raw).encode(), trial_id or raw["id"])


@pytest.mark.parametrize(
    ("name", "status", "score", "epochs"),
    [
        ("finished", "finished", 10.0, 2),
        ("quickstart", "finished", 100 * 338 / 359, 8),
        ("searched", "finished", None, 6),
        ("diverged", "diverged", None, 0),
        ("failed", "failed", None, 0),
        ("stopped", "pruned", None, 2),
    ],
)
def test_records_of_version_1_are_read_for_ever(name, status, score, epochs, tmp_path):
    raw = old(name)
    store = Store(tmp_path)
    store.files.write(f"trials/{raw['id']}/record.json", (OLD / f"{name}.json").read_bytes())
    record = store.record(raw["id"])
    assert record is not None and record.status is State(status) and record.score == score
    assert [e.epoch for e in record.epochs] == [row["epoch"] for row in raw["epochs"]]
    assert len(record.epochs) == epochs
    for now, then in zip(record.epochs, raw["epochs"], strict=True):
        assert (now.train_loss, now.train["top1"]) == (then["train_loss"], then["train_top1"])
        assert (now.val_loss, now.val_score) == (then["val_loss"], then["val_top1"])
    if record.result:
        assert record.primary == "top1" and record.result.test_top5 == raw["result"]["test_top5"]
        assert all(getattr(record.result, key) == value for key, value in raw["result"].items())
    # written again it is of today's version, and says the same
    with store.hold(record.id):
        store.commit(record)
    assert json.loads(store.read(record.id, "record.json"))["version"] == record_file.VERSION
    assert Store(tmp_path).record(record.id) == record


def test_a_record_comes_back_as_it_went(tmp_path):
    record = records.record(TRIAL)
    Store(tmp_path).commit(record)
    assert Store(tmp_path).record(TRIAL.id) == record


def test_a_figure_added_later_is_one_more_name():
    result = records.result()
    grown = replace(
        result,
        scores=result.scores | {"top1_blurred": 55.5},
        costs=result.costs | {"latency_ms": 1.5},
    )
    record = records.record(TRIAL, result=grown)
    again = record_file.read(record_file.write(record), TRIAL.id)
    assert again == record and again.result.scores["top1_blurred"] == 55.5
    assert again.score == 70.0 and "latency_ms" not in result.costs


def test_a_score_has_one_name_for_readers():
    assert (shown("top1", 70.0), label("top5"), label("")) == ("top-1 70.00 %", "top-5", "score")
    assert shown("map", 0.5) == "map 0.50"


def test_a_config_written_before_a_field_was_added_has_its_default():
    raw = old("finished")
    for name in ("compile", "precision", "test"):
        del raw["config"][name]
    record = reading(raw)
    assert set(record.config) == {f.name for f in fields(Config)}
    assert record.config["precision"] == "auto"


def test_one_flipped_bit_anywhere_is_found():
    content = record_file.write(records.record(TRIAL))
    whole = record_file.read(content, TRIAL.id)
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        # a line break that became another white space changes nothing
        with contextlib.suppress(ValueError):
            assert record_file.read(bytes(flipped), TRIAL.id) == whole, bit


def edited(raw: dict, place: str, value) -> dict:
    *parents, last = place.split(".")
    target = raw
    for parent in parents:
        target = target[int(parent) if isinstance(target, list) else parent]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return raw


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("result.test_top1", 99.9, "result.scores.top1 is 99.9, but result.correct counts 10.0"),
        ("result.test_top1", float("nan"), "result.scores.top1: must be a finite number, got nan"),
        ("result.test_top1", "good", "result.scores.top1: must be a finite number, got 'good'"),
        ("result.macs", True, "result.costs.macs: must be a finite number, got True"),
        ("result.minutes", None, "minutes is missing"),
        ("result.correct", "0g", "non-hexadecimal"),
        ("result.correct", "ff", "result.correct: 1 bytes are not of 160 test images"),
        ("result", None, "result is missing"),
        ("epochs.1.train_loss", "low", "epochs.1.train.loss: must be a finite number, got 'low'"),
        ("epochs.0.val_top1", float("inf"), "epochs.0.val.top1: must be a finite number, got inf"),
        ("epochs.0.epoch", 1.5, "epochs.0.epoch: "),
        ("epochs", 3, "epochs and result: must be a list and a mapping"),
        ("status", "done", "status: must be one of finished, failed, diverged, pruned, got 'done'"),
        ("status", "failed", "its status is failed, but it has a result"),
        ("status", "running", "status: must be one of"),
        ("seed", 1000, "its config and seed are those of the trial "),
        ("config.lr", 0.2, "its config and seed are those of the trial "),
        ("config.backbone", None, "config.backbone is missing"),
        ("config", [], "config: must be a mapping"),
        ("provenance.device", None, "provenance.device is missing"),
        ("reason", None, "reason is missing"),
    ],
)
def test_what_a_record_says_of_itself_is_checked(place, value, reason):
    with pytest.raises(ValueError, match="") as refused:
        reading(edited(old("finished"), place, value))
    assert reason in str(refused.value)


def test_a_finished_trial_without_a_result_is_damaged_unless_it_has_no_test_set():
    raw = old("diverged") | {"status": "finished"}
    with pytest.raises(ValueError, match="its status is finished, but it has no result"):
        reading(raw)
    assert reading(old("searched")).result is None


def test_a_validation_loss_that_overflowed_does_not_cost_the_record():
    raw = edited(old("finished"), "epochs.0.val_loss", float("inf"))
    record = reading(raw)
    assert record.epochs[0].val_loss is None and record.epochs[0].val_score is not None


@pytest.mark.parametrize("version", [1, 2])
def test_a_record_with_a_false_accuracy_is_refused_by_name(version, tmp_path):
    store = Store(tmp_path)
    raw = old("finished")
    if version == 1:
        raw["result"]["test_top1"] = 99.5
    else:
        raw = json.loads(record_file.write(reading(raw)))
        raw["result"]["scores"]["top1"] = 99.5
    path = store.folder(raw["id"]) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(raw))
    with pytest.raises(SweepError) as refused:
        store.record(raw["id"])
    error = str(refused.value)
    assert error.startswith(f"{path}: this record is damaged: ") and "\n" not in error
    assert "restore it from a backup, or move it away" in error
    # the damaged file stays where it is: the trial is not trained again by itself
    assert path.exists() and store.ended(raw["id"])


def test_a_record_copied_over_another_trials_is_refused_by_name(tmp_path):
    store = Store(tmp_path)
    for trial in (TRIAL, OTHER):
        store.commit(records.record(trial))
    content = store.read(OTHER.id, "record.json")
    store.files.write(f"trials/{TRIAL.id}/record.json", content)
    with pytest.raises(SweepError, match=r"it is the record of another trial \(R20 seed3, "):
        store.record(TRIAL.id)
    # nor does it help to rename it
    renamed = json.loads(content) | {"id": TRIAL.id}
    store.files.write(f"trials/{TRIAL.id}/record.json", json.dumps(renamed).encode())
    with pytest.raises(SweepError, match="its checksum is wrong"):
        store.record(TRIAL.id)


def test_a_record_of_a_later_version_is_neither_damaged_nor_to_be_moved(tmp_path):
    store = Store(tmp_path)
    later = json.loads(record_file.write(records.record(TRIAL))) | {"version": 3}
    later |= {"sha256": record_file.checksum(later), "scores": "elsewhere"}
    later["sha256"] = record_file.checksum(later)
    store.files.write(f"trials/{TRIAL.id}/record.json", json.dumps(later).encode())
    with pytest.raises(SweepError, match=r"written by a later version of this code .* update") as e:
        store.record(TRIAL.id)
    assert "damaged" not in str(e.value) and "move" not in str(e.value)


def test_a_record_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.commit(records.record(TRIAL))
    path = store.folder(TRIAL.id) / "record.json"

    def unreadable(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    with pytest.raises(StoreError, match=r"record\.json cannot be read") as refused:
        store.record(TRIAL.id)
    assert "damaged" not in str(refused.value) and "again" not in str(refused.value)
    monkeypatch.undo()
    path.unlink()
    path.mkdir()
    with pytest.raises((StoreError, SweepError), match=r"record\.json cannot be read") as refused:
        store.record(TRIAL.id)
    assert "damaged" not in str(refused.value) and "train" not in str(refused.value)


def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path):
    store = Store(tmp_path)
    record = records.record(TRIAL)
    bad = replace(record.result, costs=record.result.costs | {"minutes": float("nan")})
    with pytest.raises(ValueError, match=r"result\.costs\.minutes: must be a finite number"):
        store.commit(replace(record, result=bad), {"w": None})
    assert not store.ended(TRIAL.id) and not (store.folder(TRIAL.id) / "weights.pt").exists()


def test_many_records_are_read_at_once_and_all_the_damaged_ones_are_counted(tmp_path):
    store = Store(tmp_path)
    trials = [replace(TRIAL, seed=seed) for seed in range(5)]
    for trial in trials[:4]:
        store.commit(records.record(trial))
    assert [*Store(tmp_path).records(trials)] == [t.id for t in trials[:4]]
    for trial in trials[1:3]:
        (store.folder(trial.id) / "record.json").write_text("{")
    with pytest.raises(SweepError, match=f"{trials[1].id}.*damaged.*1 more record like this"):
        Store(tmp_path).records(trials)


@pytest.mark.parametrize("many", [1, 100])
def test_reading_many_records_leaves_the_garbage_collector_on_or_off(many, tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "MANY", many)
    store, config = Store(tmp_path), Config("resnet20", "digits")
    trials = [Trial("s", "R20", config, seed) for seed in range(3)]
    for trial in trials:
        store.commit(records.record(trial))
    often, while_reading, read = gc.get_threshold(), [], record_file.load

    def noted(*record, checked):
        while_reading.append(gc.isenabled())
        return read(*record, checked=checked)

    monkeypatch.setattr(record_file, "load", noted)
    gc.set_threshold(50)
    try:
        assert len(store.records(trials)) == 3 and gc.isenabled()
        assert {*while_reading} == {many == 100}
        assert gc.get_threshold()[0] == (50 if many == 100 else 100)
        gc.disable()
        assert len(store.records(trials)) == 3 and not gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*often)


def test_a_word_that_is_no_utf8_comes_back():
    """As Python spells the bytes of a file's name that are none."""
    record = records.record(Trial("s", "R20", Config("resnet20", "digits"), 0))
    odd = replace(record, provenance=record.provenance | {"host": "caf\udce9"})
    assert record_file.read(record_file.write(odd), odd.id) == odd


def test_a_record_is_what_the_store_has_now(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    store.commit(records.record(OTHER, "failed"))
    assert store.record(OTHER.id).status == "failed"
    # another process runs it again
    other.forget_failure(OTHER.id)
    assert store.record(OTHER.id) is None
    other.commit(records.record(OTHER))
    assert store.record(OTHER.id).status == "finished"


def test_every_state_has_one_word_and_a_line_of_meaning():
    assert [str(s) for s in State] == ["new", "running", "finished", "failed", "diverged", "pruned"]
    assert all(s.meaning and "\n" not in s.meaning for s in State)
    assert [s for s in State if not s.ended] == ["new", "running"]
    assert json.loads(json.dumps(asdict(records.record(TRIAL))))["status"] == "finished"
