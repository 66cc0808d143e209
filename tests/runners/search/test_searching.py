"""A search: what it proposes, what it trains, what a kill leaves; first without training, then by
the real command.
"""

import hashlib
import json
import os
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest

from runners import data
from runners.data.dataset import Split
from runners.plan import Trial, load
from runners.search import searching as search
from runners.search.sampler import decode, encode, seen
from runners.search.searching import Searching
from runners.search.study import Study
from runners.store import Epoch, Store
from runners.trial.run import run
from runners.trial.training import Training
from tests import records
from tests.runners.test_sweep import finish, start, wait_for

SPACE = {
    "options.alpha": {"low": 0.125, "high": 0.875, "step": 0.125},
    "options.groups": [1, 2, 4],
    "options.lower": ["paper", "eq11"],
}
FRONT = {
    "mode": "front",
    "space": SPACE,
    "trials": 12,
    "constraints": {"macs_m": [0, 200]},
    "confirm": 2,
}


def cost(config, path: str = "") -> dict[str, float]:
    """A made-up price: no network is built. What groups do not divide is impossible, as it would
    be.
    """
    alpha, groups = config.options.get("alpha", 0.5), config.options.get("groups", 2)
    if int(16 * alpha) % (2 * groups):
        raise ValueError(f"alpha={alpha} cannot be in groups={groups}")
    return {"macs_m": 100 + 150 * alpha / groups, "params_m": 1.0}


def accuracy(trial: Trial) -> float:
    """A made-up outcome of a trial, the same on every machine."""
    return int(hashlib.sha256(trial.id.encode()).hexdigest(), 16) % 1000 / 10


def epoch(trial: Trial, n: int) -> Epoch:
    return records.epoch(n, val=accuracy(trial), seconds=30.0)


def commit(
    store: Store,
    trial: Trial,
    status: str = "finished",
    epochs: int = 2,
    evidence: dict | None = None,
) -> None:
    rows = [epoch(trial, n) for n in range(1, epochs + 1)]
    ended = records.record(trial, status, epochs=rows, reason="", provenance=evidence or {})
    store.commit(ended)


def end(work: Searching, trial: Trial, *how) -> None:
    """What a worker does, and then the driver: the trial has a record, and the search learns it."""
    commit(work.store, trial, *how)
    work.ended(trial)


def drive(sweep, store: Store, order: int, killed_after: int = 10**9, slots: int = 2) -> Searching:
    """What the driver does, with trials that end at once, in some order; "killed" so, that what is
    in flight is lost.
    """
    work, dice, running = Searching(sweep, store, cost), random.Random(order), []
    work.begin(Counter())
    for _ in range(killed_after):
        while len(running) < slots and (trial := work.next()):
            running.append(trial)
        if not running:
            break
        end(work, running.pop(dice.randrange(len(running))))
    return work


def told(work: Searching) -> list[tuple]:
    return [
        (p.number, p.cell, p.first, p.status, p.why)
        for study in work.studies
        for p in study.proposals
    ]


@pytest.fixture
def sweep(write_sweep):
    return load(
        write_sweep(
            base={"conv": "scconv"},
            variants={"R20": {"conv": "standard"}, "alpha=0.5": {}},
            search=FRONT,
        )
    )


def test_the_same_points_whatever_ends_first_and_however_often_it_is_killed(sweep, tmp_path):
    once = drive(sweep, Store(tmp_path / "a"), order=0)
    for order, kill in ((1, 1), (2, 3), (3, 2), (4, 4), (5, 10**9)):
        often = drive(sweep, Store(tmp_path / "b"), order, kill, slots=order)
    assert told(once) == told(often) and once.over and often.over
    for work in (once, often):
        states = Counter(t.state.name for t in work.studies[0].kept.trials)
        assert not states["RUNNING"] and not states["WAITING"] and states["COMPLETE"] >= 12


def test_a_budget_is_of_trained_trials_and_what_cannot_be_is_never_one(sweep, tmp_path):
    work = drive(sweep, Store(tmp_path), order=0)
    proposals = work.studies[0].proposals
    trained = [p for p in proposals if p.trained]
    assert len(trained) == len(work.trials) == 12 == len({p.trial.id for p in trained})
    assert any("cannot be in groups=" in p.why for p in proposals)
    assert all(p.record is None and p.trial is None for p in proposals if p.why)
    assert all(p.cost["macs_m"] <= 200 for p in trained)
    beyond = [p for p in proposals if p.why.startswith("macs_m")]
    assert all(p.violation > 0 for p in beyond)


def test_a_cell_proposed_again_is_answered_and_counted(sweep, tmp_path):
    work = drive(sweep, Store(tmp_path), order=0)
    again = [p for p in work.studies[0].proposals if p.trial and not p.trained]
    assert again and all(p.record == work.studies[0].proposals[p.first].record for p in again)
    book = work.studies[0].kept.trials
    assert all(book[p.number].values == book[p.first].values for p in again)


def test_what_another_sweep_has_trained_is_not_trained_again(sweep, write_sweep, tmp_path):
    store = Store(tmp_path / "s")
    first = drive(sweep, store, order=0)
    path = write_sweep(
        "other",
        base={"conv": "scconv"},
        variants={"R20": {"conv": "standard"}, "alpha=0.5": {}},
        search=FRONT,
    )
    second = Searching(load(path), store, cost)
    second.begin(Counter())
    assert second.next() is None and second.over and told(second)[:5] == told(first)[:5]


def test_more_trials_go_on_with_the_same_study(sweep, write_sweep, tmp_path):
    store = Store(tmp_path / "s")
    first = told(drive(sweep, store, order=0))
    path = write_sweep(
        base={"conv": "scconv"},
        variants={"R20": {"conv": "standard"}, "alpha=0.5": {}},
        search=FRONT | {"trials": 15},
    )
    more = told(drive(load(path), store, order=0))
    assert more[: len(first)] == first and len(more) > len(first)


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_space_is_exhausted_and_then_it_ends(sampler, write_sweep, tmp_path):
    found = FRONT | {"sampler": sampler, "trials": 1000, "constraints": {}}
    sweep = load(
        write_sweep(base={"conv": "scconv"}, variants={"R20": {"conv": "standard"}}, search=found)
    )
    proposals = drive(sweep, Store(tmp_path / "s"), order=0).studies[0].proposals
    assert len({json.dumps(p.cell) for p in proposals}) == len(sweep.search.cells) == 42
    if sampler == "grid":
        assert [p.cell for p in proposals] == sweep.search.cells


def test_a_search_learns(write_sweep, tmp_path, monkeypatch):
    """On a plain hill TPE comes nearer to the top than chance: else it would not be told what its
    trials came to.
    """
    import tests.runners.search.test_searching as module

    monkeypatch.setattr(module, "accuracy", lambda trial: 90 - 200 * abs(trial.config.lr - 0.3))
    best = {}
    for sampler in ("tpe", "random"):
        found = {
            "mode": "tune",
            "space": {"lr": {"low": 0.01, "high": 1.0}},
            "trials": 30,
            "sampler": sampler,
        }
        sweep = load(write_sweep(sampler, search=found))
        work = drive(sweep, Store(tmp_path / sampler), order=0)
        best[sampler] = [
            sum(90 - p.score for p in study.proposals[15:]) / 15 for study in work.studies
        ]
    assert max(best["tpe"]) < 0.5 * min(best["random"]), best


def test_every_variant_gets_the_same_budget_and_its_own_best(write_sweep, tmp_path):
    found = {"mode": "tune", "space": {"lr": {"low": 0.01, "high": 0.5, "log": True}}, "trials": 5}
    sweep, store = load(write_sweep(search=found)), Store(tmp_path / "s")
    assert search.conclude(sweep, store) is sweep
    work = drive(sweep, store, order=0)
    assert [study.spent for study in work.studies] == [5, 5]
    numbers = [t.variant.split(":")[0] for t in work.trials]
    assert numbers[:4] == [
        "R20",
        "S+C",
        "R20",
        "S+C",
    ]  # in turn: a search cut off has given each as much
    settled = search.conclude(sweep, store)
    for study in work.studies:
        best = max(study.proposals, key=lambda p: p.score)
        config = settled.variants[study.variant]
        assert (
            config.lr == best.cell["lr"]
            and config.test
            and config.conv == sweep.variants[study.variant].conv
        )
    assert len(settled.trials) == 4 and not {t.id for t in settled.trials} & {
        t.id for t in work.trials
    }


def test_the_front_enters_the_comparison_beside_the_variants(sweep, tmp_path):
    store = Store(tmp_path)
    work = drive(sweep, store, order=0)
    settled = search.conclude(sweep, store)
    best = search.front(work.studies[0].proposals)
    assert [p.cost["macs_m"] for p in best] == sorted(p.cost["macs_m"] for p in best)
    assert [p.score for p in best] == sorted(p.score for p in best)
    dominated = [p for p in work.studies[0].proposals if p.trained and p not in best]
    assert all(
        any(q.cost["macs_m"] <= p.cost["macs_m"] and q.score >= p.score for q in best)
        for p in dominated
    )
    assert [*settled.variants][:2] == ["R20", "alpha=0.5"] and len(settled.variants) in (3, 4)
    top = max(best, key=lambda p: p.score)
    assert any(
        config.options == sweep.candidate(top.cell, searching=False).options
        for config in settled.variants.values()
    )
    assert all(config.test for config in settled.variants.values())


def test_hypervolume_is_the_area_below_a_front():
    among = [(1.0, 10.0), (2.0, 20.0)]  # so the corner is at cost 2.1, accuracy 9
    assert search.hypervolume([(1.0, 10.0)], among) == pytest.approx(1.1 * 1)
    assert search.hypervolume(among, among) == pytest.approx(1.1 * 1 + 0.1 * 10)
    assert search.hypervolume([(1.5, 9.5), *among], among) == pytest.approx(
        search.hypervolume(among, among)
    )  # dominated


def test_a_diverged_trial_counts_as_nothing_and_a_failed_one_not_at_all(sweep, tmp_path):
    store = Store(tmp_path)
    work = Searching(sweep, store, cost)
    work.begin(Counter())
    for status in ("diverged", "failed", "finished", "finished"):
        end(work, work.next(), status)
    study = work.studies[0]
    trained = [p for p in study.proposals if p.trained]
    assert [p.score is None for p in trained] == [True, True, False, False]
    views = [seen(sweep.search, p, True) for p in trained]
    assert [v.state.name for v in views] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"] and views[
        0
    ].values[0] == 0
    book = study.kept.trials
    assert [book[p.number].state.name for p in trained] == [
        "FAIL",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]  # as a reader of the dashboard would have it
    assert search.front(study.proposals) and all(
        p.record.status == "finished" for p in search.front(study.proposals)
    )


def test_a_search_that_found_nothing_says_why(write_sweep, tmp_path):
    found = FRONT | {"constraints": {"macs_m": [0, 1]}, "trials": 2}
    sweep, store = (
        load(
            write_sweep(
                base={"conv": "scconv"}, variants={"R20": {"conv": "standard"}}, search=found
            )
        ),
        Store(tmp_path / "s"),
    )
    assert drive(sweep, store, order=0).trials == []
    assert not search.conclude(sweep, store).settled
    assert search.fruitless(drive(sweep, store, order=0).studies).startswith(
        "search: no trial finished; most often: macs_m"
    )


def test_a_torn_line_in_the_journal_does_not_end_the_study(sweep, tmp_path):
    whole = told(drive(sweep, Store(tmp_path / "a"), order=0))
    drive(sweep, Store(tmp_path / "b"), order=0, killed_after=4)
    journal = next((tmp_path / "b").rglob("*.journal"))
    with open(journal, "ab") as file:
        file.write(b'{"op_code": 4, "study_id"')
    assert told(drive(sweep, Store(tmp_path / "b"), order=0)) == whole


def test_asha_stops_the_worst_and_survivors_alone_are_compared(write_sweep, tmp_path):
    found = {
        "mode": "screen",
        "space": {"lr": {"low": 0.01, "high": 0.5}},
        "trials": 9,
        "base": {"epochs": 9},
        "confirm": 2,
        "ahead": 1,
    }
    sweep, store = load(write_sweep(search=found)), Store(tmp_path / "s")
    work, stopped = Searching(sweep, store, cost), {}
    work.begin(Counter())
    while trial := work.next():
        for n in range(1, 10):
            if why := work.judge(trial, [epoch(trial, n)]):
                stopped[trial.id] = why
                # decided, and killed before it was written down: the next start decides the same
                assert (
                    Searching(sweep, store, cost).judge(
                        trial,
                        [epoch(trial, m) for m in range(1, n + 1)],
                    )
                    == why
                )
                break
        end(work, trial, "pruned" if trial.id in stopped else "finished", n, work.mark(trial))
    survivors = [t for t in work.trials if t.id not in stopped]
    assert (
        stopped
        and len(survivors) >= 2
        and "asha stopped it after epoch" in next(iter(stopped.values()))
    )
    assert max(map(accuracy, work.trials)) == max(map(accuracy, survivors))
    settled = search.conclude(sweep, store)
    wanted = sorted(survivors, key=accuracy)[-2:]
    assert {settled.variants[v].lr for v in settled.variants if v.startswith("lr=")} == {
        t.config.lr for t in wanted
    }
    assert all(
        config.epochs == 2 for config in settled.variants.values()
    )  # in full, as the comparison has it


def test_what_one_screening_stopped_another_search_trains(write_sweep, tmp_path):
    found = {
        "mode": "screen",
        "space": {"lr": [0.1, 0.2, 0.3]},
        "sampler": "grid",
        "trials": 3,
        "base": {"epochs": 9},
        "ahead": 1,
    }
    store = Store(tmp_path / "s")
    sweep = load(write_sweep(search=found))
    work = Searching(sweep, store, cost)
    work.begin(Counter())
    while trial := work.next():
        end(work, trial, "pruned", 1, work.mark(trial))
    assert {p.status for p in Searching(sweep, store, cost).studies[0].proposals} == {"pruned"}
    other = Searching(load(write_sweep(search=found | {"min_epochs": 9})), store, cost)
    other.begin(Counter())
    first = other.next()
    assert (
        first.id == work.trials[0].id and store.record(first.id) is None
    )  # it is to be trained, from the start
    # the other search trained it meanwhile, and stopped it: it is handed out again
    commit(store, first, "pruned", 1, {"study": "another"})
    assert other.ended(first) is None and other.next().id == first.id


def test_killed_when_all_but_the_telling_was_done(sweep, tmp_path):
    """Workers outlive a killed driver for seconds: the search can be over in the store, and not in
    Optuna's book.
    """
    store = Store(tmp_path)
    work = Searching(sweep, store, cost)
    work.begin(Counter())
    running = []
    while not work.over:
        if trial := work.next():
            running.append(trial)
        else:
            end(work, running.pop(0))
    for trial in running:
        commit(store, trial)
    states = [
        t.state.name
        for t in optuna.load_study(
            study_name=work.studies[0].name, storage=work.studies[0].kept.storage
        ).trials
    ]
    again = Searching(sweep, store, cost)
    assert again.over and not again.left() and search.conclude(sweep, store).settled
    book = again.studies[0].kept.trials
    assert states.count("RUNNING") and not [t for t in book if t.state.name == "RUNNING"]


def test_whatever_a_convolution_raises_its_cell_is_impossible(sweep, tmp_path):
    def picky(config, path: str = "") -> dict[str, float]:
        if config.options.get("groups") == 4:
            raise AssertionError("four is too many")
        return {"macs_m": 100.0, "params_m": 1.0}

    work = Searching(sweep, Store(tmp_path), picky)
    work.begin(Counter())
    while trial := work.next():
        end(work, trial)
    assert {p.why for p in work.studies[0].proposals if p.why} == {
        "AssertionError: four is too many"
    } and len(work.trials) == 12
    survey = search.survey(work.studies[0], sweep.search.cells, picky, 60)
    assert (survey.checked, len(survey.possible), survey.refused) == (
        42,
        28,
        {"AssertionError: four is too many": 14},
    )


def test_a_find_takes_no_variants_name(write_sweep, tmp_path):
    found = FRONT | {"space": {"options.alpha": [0.25]}, "constraints": {}, "trials": 1}
    variants = {"alpha=0.25": {"options": {"alpha": 0.25, "groups": 1}}}
    sweep, store = (
        load(
            write_sweep(
                base={"conv": "scconv"}, variants=variants, baseline="alpha=0.25", search=found
            )
        ),
        Store(tmp_path / "s"),
    )
    drive(sweep, store, order=0)
    settled = search.conclude(sweep, store)
    assert [*settled.variants] == ["alpha=0.25", "alpha=0.25 (found)"] and settled.found == (
        "alpha=0.25 (found)",
    )
    assert settled.variants["alpha=0.25"] == sweep.variants["alpha=0.25"]


@pytest.mark.parametrize("step, low, high", [(0.03125, 0.03125, 0.96875), (0.1, 0.1, 0.9)])
@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_fine_step_is_trained_as_it_is_written(sampler, step, low, high, write_sweep, tmp_path):
    found = {
        "mode": "tune",
        "space": {"lr": {"low": low, "high": high, "step": step}},
        "trials": 100,
        "sampler": sampler,
    }
    sweep = load(write_sweep(variants={"R20": {}}, search=found))
    proposals = drive(sweep, Store(tmp_path / "s"), order=0).studies[0].proposals
    values = [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]
    assert sorted(p.cell["lr"] for p in proposals if p.trained) == values


def test_a_median_screening_waits_for_min_epochs(write_sweep, tmp_path):
    found = {
        "mode": "screen",
        "space": {"lr": {"low": 0.01, "high": 0.5}},
        "trials": 12,
        "base": {"epochs": 9},
        "ahead": 1,
    }
    sweep, store = (
        load(write_sweep(search=found | {"stop": "median", "min_epochs": 5})),
        Store(tmp_path / "s"),
    )
    work, lengths = Searching(sweep, store, cost), []
    work.begin(Counter())
    while trial := work.next():
        ran = next((n for n in range(1, 10) if work.judge(trial, [epoch(trial, n)])), 9)
        end(work, trial, "finished" if ran == 9 else "pruned", ran, work.mark(trial))
        lengths.append(ran)
    assert min(lengths) == 5, lengths


def test_an_edited_convolution_does_not_change_a_search_under_way(write_sweep, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def drop_in(conv, *, k=1):\n    return conv\n")
    found = FRONT | {"space": {"options.k": {"low": 1, "high": 20}}, "constraints": {}, "trials": 8}
    sweep, store = (
        load(
            write_sweep(base={"conv": "mine"}, variants={"R20": {"conv": "standard"}}, search=found)
        ),
        Store(tmp_path / "s"),
    )
    kept = replace(
        sweep, lookup=sweep.lookup.moved(lambda file: store.keep_file(file.path, file.digest))
    )
    work = Searching(
        kept,
        store,
        lambda config, own: {"macs_m": float(len(Path(own.conv).read_text())), "params_m": 1.0},
    )
    work.begin(Counter())
    for n in range(8):
        if n == 3:
            mine.write_text("def drop_in(conv, *, k=1):\n    return conv  # edited\n")
        end(work, work.next())
    assert (
        len({t.config.conv_digest for t in work.trials}) == 1
        and len({p.cost["macs_m"] for p in work.studies[0].proposals}) == 1
    )
    assert search.conclude(
        sweep, store
    ).settled  # and the command that began it finds what it found


def test_choices_that_are_lists_come_back_as_they_were(write_sweep):
    space = {"options.order": [["sru"], ["cru", "sru"], "parallel"], "options.alpha": [0.25, 0.5]}
    sweep = load(
        write_sweep(
            base={"conv": "scconv"},
            variants={"R20": {"conv": "standard"}},
            search=FRONT | {"space": space},
        )
    )
    for cell in sweep.search.cells:
        assert decode(sweep.search, encode(sweep.search, cell)) == cell


class Forbidden(Split):
    """A test set that must not be looked at."""

    def subset(self, rows):
        assert not len(rows), "the test set was read"
        return Split(self.images[:0], self.labels[:0])

    def to(self, device):
        raise AssertionError("the test set was read")

    def at(self, rows):
        raise AssertionError("the test set was read")

    def read(self, rows, batch_size):
        raise AssertionError("the test set was read")


def test_a_searchs_trial_never_touches_the_test_set(sweep, tmp_path, monkeypatch):
    whole = data.load("synthetic")
    guarded = replace(whole, test=Forbidden(whole.test.images, whole.test.labels))
    monkeypatch.setattr("runners.trial.run._data", lambda *_: guarded)
    cell = {"options.alpha": 0.5, "options.groups": 1}
    trial = Trial("s", "v", replace(sweep.candidate(cell), epochs=1), 1000)
    store = Store(tmp_path)
    assert [len(rows) for rows in run(trial, store)] == [1]
    record = store.record(trial.id)
    assert record.status == "finished" and record.result is None and record.val_score is not None
    assert (
        record.provenance["test_images"] == 0
        and not (store.folder(trial.id) / "weights.pt").exists()
    )
    with pytest.raises(
        AssertionError, match="the test set was read"
    ):  # the guard works: a trial of the comparison does read it
        Training(replace(trial, config=sweep.candidate(cell, searching=False)), guarded)


def runs_of(path, experiment: str) -> list[tuple[str, str, int]]:
    """(trial, status, epochs logged) of every run."""
    client = mlflow.MlflowClient(f"sqlite:///{path.parent}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [
        (
            r.data.tags["trial"],
            r.info.status,
            len(client.get_metric_history(r.info.run_id, "train/loss")),
        )
        for r in runs
    ]


def test_killed_mid_search_the_same_command_finishes_the_search_and_the_comparison(
    write_sweep, tmp_path
):
    found = FRONT | {
        "trials": 6,
        "constraints": {},
        "space": {"options.alpha": [0.25, 0.5, 0.75], "options.lower": ["paper", "eq11"]},
    }
    found["space"]["lr"] = {"low": 0.01, "high": 0.2, "log": True}
    path = write_sweep(
        base={"conv": "scconv"}, variants={"R20": {"conv": "standard"}}, seeds=1, search=found
    )
    store, journal = Store(tmp_path / "runs"), tmp_path / "runs" / "studies" / "tiny.journal"
    process = start(path)
    wait_for(lambda: len(list(store.root.glob("trials/*/record.json"))) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, out = finish(start(path), path)
    assert code == 0, out
    sweep = load(path)
    study = Study(sweep, "", store)
    assert study.done and len(study.proposals) < 20
    book = optuna.load_study(
        study_name=study.name,
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(journal))
        ),
    )
    assert {t.state.name for t in book.trials} <= {"COMPLETE", "PRUNED"}
    searched = [p.trial.id for p in study.proposals if p.trained]
    assert len(searched) == 6 and sorted(runs_of(path, "tiny/search")) == sorted(
        (t, "FINISHED", 2) for t in searched
    )
    compared = [t.id for t in search.conclude(sweep, store).trials]
    assert len(compared) in (2, 3) and sorted(runs_of(path, "tiny")) == sorted(
        (t, "FINISHED", 2) for t in compared
    )
    assert all(store.record(t).result is None for t in searched) and all(
        store.record(t).result for t in compared
    )
    assert {p.name for p in (tmp_path / "runs" / "trials").iterdir()} == {
        *searched,
        *compared,
    }  # nothing else was trained
    report = tmp_path / "results" / "tiny"
    assert {p.name for p in report.iterdir()} >= {
        "search.csv",
        "front.svg",
        "front.png",
        "history.svg",
        "report.html",
        "table.md",
    }
    assert (
        "6 of 6 trials proposed; 6 finished" in (report / "table.md").read_text()
        and "What the search found" in (report / "report.html").read_text()
    )
    before = (tmp_path / "out.txt").read_text()
    code, out = finish(start(path), path)  # and again: nothing to do
    assert (
        code == 0
        and "at a time" not in out
        and out.splitlines()[2:6] == before[before.index("**Does it work?**") :].splitlines()[1:5]
    )


def test_screened_out_trials_are_listed_and_never_averaged(write_sweep, tmp_path, monkeypatch):
    # no used worker comes free in time: Tune drops the trial that was to have it, without a word
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "0")
    space = {"lr": [0.00001, 0.05, 0.1, 0.2]}
    found = {
        "mode": "screen",
        "space": space,
        "sampler": "grid",
        "trials": 4,
        "stop": "median",
        "base": {"epochs": 6},
        "confirm": 1,
        "ahead": 1,
    }
    path = write_sweep(
        variants={"R20": {"conv": "standard"}}, seeds=1, search=found | {"stop": "asha"}
    )
    code, out = finish(start(path), path)
    assert code == 0 and "its worker was still busy; another one will train it" in out, out
    sweep, store = load(path), Store(tmp_path / "runs")
    proposals = Study(sweep, "", store).proposals
    statuses = Counter(p.status for p in proposals)
    assert statuses["pruned"] >= 1 and statuses["finished"] >= 1 and sum(statuses.values()) == 4, (
        statuses
    )
    for p in proposals:
        if p.status == "pruned":
            assert (
                len(p.record.epochs) < 6
                and f"after epoch {len(p.record.epochs)} of 6" in p.record.reason
                and p.score is None
            )
            assert not (store.folder(p.trial.id) / "checkpoint.pt").exists()
    listed = (tmp_path / "results" / "tiny" / "search.csv").read_text()
    assert listed.count("asha stopped it after epoch") == statuses["pruned"]
    assert {r[1] for r in runs_of(path, "tiny/search")} == {"KILLED", "FINISHED"}


def test_two_cells_that_are_one_trial_do_not_keep_a_grid_from_ending(write_sweep, tmp_path):
    found = {"mode": "tune", "sampler": "grid", "trials": 10, "ahead": 1}
    space = {
        "nesterov": [True, False],
        "options.squeeze": {"choices": [2, 4], "when": {"nesterov": True}},
        "lr": [0.1, 0.2],
    }
    sweep = load(
        write_sweep(
            variants={"C": {"conv": "scconv"}}, baseline="C", search=found | {"space": space}
        )
    )
    study = Study(sweep, "C", Store(tmp_path / "s"), cost)
    study._trial = lambda config, cell: Trial(
        "s", "v", replace(config, options={}), 1000
    )  # as if squeeze made no difference
    while not study.over and (p := study.next()):
        if p.record is None:
            commit(study.store, p.trial)
            study.learn(study.store.record(p.trial.id))
    assert [p.cell for p in study.proposals] == sweep.search.cells and len(
        {p.trial.id for p in study.proposals}
    ) == 4
