"""Optuna's journal: written so that Optuna reads it, and named where it is damaged."""

import os

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from runners.errors import SweepError
from runners.plan import load
from runners.search import journal
from runners.search.searching import Searching
from runners.store import Store
from tests.runners.search.test_searching import cost, drive, told

TUNE = {
    "mode": "tune",
    "space": {"lr": {"low": 0.01, "high": 0.2, "log": True}},
    "trials": 5,
    "ahead": 1,
}
KEY = "studies/tiny.journal"


@pytest.fixture
def sweep(write_sweep):
    return load(write_sweep(variants={"R20": {}}, search=TUNE))


def test_optuna_reads_what_is_written_and_what_it_wrote_is_read(tmp_path, sweep):
    store = Store(tmp_path)
    drive(sweep, store, order=0)
    path = tmp_path / KEY
    by_optuna = JournalStorage(JournalFileBackend(str(path)))
    (name,) = [s.study_name for s in optuna.get_all_study_summaries(by_optuna)]
    theirs = optuna.load_study(study_name=name, storage=by_optuna)
    assert len(theirs.trials) == 5
    theirs.set_user_attr("note", "by optuna-dashboard")
    # Optuna's own lock, left by a process that was killed: a link to the journal
    os.symlink(path, f"{path}.lock")
    ours = optuna.load_study(study_name=name, storage=journal.storage(Store(tmp_path), KEY))
    assert ours.user_attrs["note"] == "by optuna-dashboard" and len(ours.trials) == 5
    assert told(drive(sweep, Store(tmp_path), order=0)) == told(drive(sweep, store, order=0))


@pytest.mark.parametrize("damage", [b'{"op_code": 4, "wor', b"[1, 2]", b"\xff\x00"])
def test_a_damaged_line_is_named_with_the_way_out(tmp_path, sweep, damage):
    whole = told(drive(sweep, Store(tmp_path), order=0))
    path = tmp_path / KEY
    lines = path.read_bytes().splitlines()
    lines[3] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    store = Store(tmp_path)
    for _ in range(2):  # it does not go away by itself
        with pytest.raises(SweepError, match=r"tiny\.journal: line 4 is damaged; move the file"):
            Searching(sweep, store, cost)
    # the way out: the same proposals, with the results in the store
    path.rename(tmp_path / "away")
    work = drive(sweep, Store(tmp_path), order=0)
    assert told(work) == whole


def test_two_processes_that_write_one_journal_lose_nothing(tmp_path):
    first, second = (journal.storage(Store(tmp_path), KEY) for _ in range(2))
    a = optuna.create_study(study_name="a", storage=first)
    b = optuna.create_study(study_name="b", storage=second)
    for n in range(5):
        a.add_trial(optuna.create_trial(value=n))
        b.add_trial(optuna.create_trial(value=10 + n))
    for name, values in (("a", [0, 1, 2, 3, 4]), ("b", [10, 11, 12, 13, 14])):
        study = optuna.load_study(study_name=name, storage=journal.storage(Store(tmp_path), KEY))
        assert [t.value for t in study.trials] == values
