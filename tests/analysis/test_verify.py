"""--verify finds what was damaged or exchanged in the store after the report was written."""

import json

import pytest

from analysis import report
from runners.plan import load
from runners.store import Store
from tests import records


@pytest.fixture
def verify(write_sweep, tmp_path, capsys):
    """verify() -> exit status and output of --verify, on two finished trials and their report."""
    path = write_sweep(seeds=1)
    store = Store(tmp_path / "runs")
    for trial, right in zip(load(path).trials, (112, 96), strict=True):
        record = records.record(trial, result=records.result(right))
        store.commit(record, {"w": None, "name": "x" * 1000})
    arguments = [str(path), "--storage", str(store.root), "--out", str(tmp_path / "out")]
    assert report.main(arguments) == 0
    capsys.readouterr()

    def verify():
        status, said = report.main([*arguments, "--verify"]), capsys.readouterr()
        return status, said.out + said.err

    verify.store, verify.trials = store, load(path).trials
    return verify


def test_a_healthy_store_verifies(verify):
    assert verify() == (0, "tiny: the stored report agrees with the trials\n")


def test_a_false_accuracy_is_named(verify):
    path = verify.store.folder(verify.trials[0].id) / "record.json"
    raw = json.loads(path.read_text())
    raw["result"]["scores"]["top1"] = 99.5
    path.write_text(json.dumps(raw))
    status, said = verify()
    assert status == 2 and said.startswith(f"{path}: this record is damaged: its checksum is wrong")


def test_a_record_copied_over_another_is_named(verify):
    first, second = (verify.store.folder(t.id) / "record.json" for t in verify.trials)
    first.write_bytes(second.read_bytes())
    status, said = verify()
    assert status == 2 and f"{first}: this record is damaged: it is the record of another" in said
    assert "S+C seed0" in said


def test_one_flipped_bit_in_weights_is_named(verify):
    path = verify.store.folder(verify.trials[1].id) / "weights.pt"
    content = bytearray(path.read_bytes())
    content[content.index(b"xxxx") + 10] ^= 1
    path.write_bytes(content)
    status, said = verify()
    assert status == 1 and said.startswith(f"tiny: {path}: these weights are damaged")
    path.unlink()
    assert verify()[0] == 0
