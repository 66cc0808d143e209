"""status, logs, ls and rm of a store on disk and in a bucket, while a process trains and after."""

import json
import threading

import pytest
import torch

from runners import __main__ as sweeps
from runners.plan import load
from runners.store import Store, lease
from tests import records


@pytest.fixture
def quick_leases(monkeypatch):
    """A bucket's locks, renewed often, so that a living owner is known soon."""
    monkeypatch.setattr(lease, "LEASE_S", 2.0)


@pytest.fixture
def half(place, write_sweep):
    """(path, its trials, store): one finished at its second attempt, one after an epoch, two new."""
    path = write_sweep()
    sweep, store = load(path), Store(place)
    store.keep_plan(sweep)
    assert store.identity  # as every store has that a sweep ran in
    done, begun, *_ = trials = sweep.trials
    for trial in (done, begun):
        store.begin(trial)
        with store.log(trial.id) as log:
            log.write(f"{trial.name}: first words\n")
    store.save(begun.id, {"w": torch.zeros(3)}, [records.epoch(1)])
    evidence = records.EVIDENCE | {"attempts": 2}
    store.commit(records.record(done, provenance=evidence), {"w": torch.zeros(1000)})
    return path, trials, store


def rows(out: str) -> list[list[str]]:
    """The cells of a Markdown table's lines, without its head."""
    lines = [line for line in out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_status_shows_every_trial_and_who_trains_it(half, place, quick_leases, capsys):
    path, (done, begun, new, _), store = half
    command = ["status", str(path), "--storage", place]
    assert sweeps.main(command) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "tiny: 2 new, 1 running, 1 finished; no process runs it; the same command continues\n"
    )
    logs = [store.address(t.id, "log.txt") for t in (done, begun)]
    assert rows(out) == [
        ["R20", "0", "finished", "1/2", "-", "2", done.id, logs[0]],
        ["S+C", "0", "running", "1/2", "waits", "1", begun.id, logs[1]],
        ["R20", "1", "new", "0/2", "-", "-", new.id, "-"],
        ["S+C", "1", "new", "0/2", "-", "-", rows(out)[3][6], "-"],
    ]

    store.note_failure(begun.id, "error")
    with store.drive(load(path)), store.hold(begun.id):
        assert sweeps.main(command) == 0
    out = capsys.readouterr().out
    # an epoch of one second each: one of this trial's, two of each new one's, one at a time
    assert "1 finished, about 5 s left; run by process" in out
    assert rows(out)[1][2:6] == ["running", "1/2", "1 s", "2"]


def test_logs_follows_a_trial_to_its_end(half, place, quick_leases, capsys):
    _, (done, begun, *_), store = half
    assert sweeps.main(["logs", done.id, "--storage", place]) == 0
    assert capsys.readouterr().out == "R20 seed0: first words\n"
    # a trial that nobody trains is not waited for
    assert sweeps.main(["logs", begun.id[:6], "--storage", place]) == 0
    assert "no process trains it" in capsys.readouterr().err

    with store.hold(begun.id):  # as of the process that trains it
        ended = threading.Timer(1.0, lambda: finish(store, begun))
        ended.start()
        assert sweeps.main(["logs", begun.id, "--storage", place]) == 0
    assert capsys.readouterr().out == "S+C seed0: first words\nlast words\n"


def finish(store, trial) -> None:
    with store.log(trial.id) as log:
        log.write("last words\n")
    store.commit(records.record(trial))


def test_logs_names_the_trials_it_could_mean_and_one_without_a_log(half, place, capsys):
    path, (done, _, new, _), _ = half
    assert sweeps.main(["logs", str(path), "--variant", "R20", "--storage", place]) == 2
    err = capsys.readouterr().err
    assert f"names 2 trials: {done.id} (R20 seed0), {new.id} (R20 seed1); name one" in err
    assert sweeps.main(["logs", new.id, "--storage", place]) == 2
    assert "no trial of" in capsys.readouterr().err
    one = ["logs", str(path), "--variant", "R20", "--seed", "1", "--storage", place]
    assert sweeps.main(one) == 2
    assert capsys.readouterr().err.startswith("R20 seed1: it has no log in ")
    assert sweeps.main(["logs", str(path), "--seed", "7", "--storage", place]) == 2
    assert "--seed: must be one of 0, 1, got 7" in capsys.readouterr().err


def test_ls_counts_the_sweeps_of_a_store(half, place, write_sweep, capsys):
    _, (done, *_), store = half
    # another sweep with one of its trials, and a trial of before there were plans
    store.keep_plan(load(write_sweep("other", variants={"R20": {}}, seeds=1)))
    old = load(write_sweep("old", base={"epochs": 9})).trials[0]
    store.commit(records.record(old, "failed"))
    assert sweeps.main(["ls", "--storage", place]) == 0
    out = capsys.readouterr().out
    found = {name: cells for name, *cells in rows(out)}
    assert found["tiny"][:4] == ["4", "2 new, 1 running, 1 finished", "0", "1"]
    assert found["other"][:4] == ["1", "1 finished", "0", "1"]
    assert found["old"][:4] == ["1", "1 failed", "0", "0"]
    sizes = store.files.listing(f"trials/{done.id}")
    assert set(sizes) >= {f"trials/{done.id}/{n}" for n in ("record.json", "weights.pt", "log.txt")}
    assert found["other"][4] == f"{sum(sizes.values()) / 1e6:.1f}"


def test_ls_of_a_large_store_reads_what_has_changed(half, place, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("runners.shell.ls.MANY", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, (done, begun, *_), store = half
    read: list[str] = []
    several = type(store.files).several

    def noted(self, keys):
        read.extend(keys)
        return several(self, keys)

    monkeypatch.setattr(type(store.files), "several", noted)
    tables = []
    for _ in range(2):
        assert sweeps.main(["ls", "--storage", place]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] and "2 new, 1 running, 1 finished" in tables[0]
    assert f"trials/{done.id}/record.json" in read and len(read) == len({*read})
    with store.hold(begun.id):
        store.commit(records.record(begun, "failed"))
    assert sweeps.main(["ls", "--storage", place]) == 0
    out = capsys.readouterr().out
    assert "1 failed" in out and "running" not in out
    assert read.count(f"trials/{begun.id}/record.json") == 1
    store.files.write(f"trials/{done.id}/record.json", b"{}")
    assert sweeps.main(["ls", "--storage", place]) == 0
    assert "1 damaged" in capsys.readouterr().out


def test_an_empty_store_is_said_in_a_line(place, capsys):
    assert sweeps.main(["ls", "--storage", place]) == 1
    assert "has no trials yet" in capsys.readouterr().out


def test_rm_leaves_what_is_trained_and_what_another_sweep_shares(
    half, place, write_sweep, quick_leases, capsys, monkeypatch
):
    path, (done, begun, *_), store = half
    store.keep_plan(load(write_sweep("other", variants={"R20": {}}, seeds=1)))
    command = ["rm", str(path), "--storage", place]
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert sweeps.main(command) == 1 and "nothing was removed" in capsys.readouterr().out

    with store.hold(begun.id):
        assert sweeps.main([*command, "--yes"]) == 1
    out, err = capsys.readouterr()
    assert f"R20 seed0 of tiny ({done.id}) also belongs to other: it stays" in out
    assert err.startswith("S+C seed0 of tiny stays: it is being trained by process")
    assert store.started(begun.id) and store.record(done.id)

    with store.drive(load(path), "sqlite:///elsewhere.db"):
        assert sweeps.main([*command, "--yes"]) == 2
    assert "sweep 'tiny' is in use by process" in capsys.readouterr().err

    assert sweeps.main([*command, "--yes"]) == 0
    assert "removed 1 trial," in capsys.readouterr().out
    left = store.files.listing(f"trials/{begun.id}")
    assert all("/lock" in key for key in left) and store.record(done.id)
    assert sweeps.main([*command, "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert sweeps.main([*command, "--yes", "--shared"]) == 0
    assert "it is removed there, too" in capsys.readouterr().out
    assert store.record(done.id) is None and "tiny" not in store.plans()


def test_rm_of_one_trial_asks_by_its_name(half, place, capsys, monkeypatch):
    _, (done, begun, *_), store = half
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    assert sweeps.main(["rm", done.id[:8], "--storage", place]) == 0
    assert asked[0].startswith("remove R20 seed0 of tiny from ")
    assert store.record(done.id) is None and store.started(begun.id)
    assert "tiny" in store.plans()


def test_a_record_goes_before_the_rest_of_its_trial(half, monkeypatch):
    """Cut off in between, the trial starts over; a record without weights would be a lie."""
    _, (done, *_), store = half
    removed = []
    delete = store.files.delete
    monkeypatch.setattr(store.files, "delete", lambda key: removed.append(key) or delete(key))
    with store.hold(done.id):
        store.remove(done.id)
    assert removed[0].endswith("/record.json") and len(removed) == 4


def test_a_damaged_plan_names_nothing(half):
    _, _, store = half
    store.files.write("plans/torn-1.json", b'{"sweep": "torn"')
    assert set(store.plans()) == {"tiny"}
    store.files.write("trials/1234/trial.json", json.dumps({"sweep": "s"}).encode())
    assert store.named("1234") is None
