"""What the report says of a search: only what is so, at every stage of it."""

import csv
import io
from collections import Counter

import pytest

from analysis import report, tables
from analysis.answer import answer
from analysis.tables import search
from analysis.verify import differences
from runners.plan import load
from runners.search.searching import Searching
from runners.store import Store
from tests.runners.search.test_searching import FRONT, cost, drive, end


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def sweep(write_sweep):
    return load(
        write_sweep(
            base={"conv": "scconv"},
            variants={"R20": {"conv": "standard"}, "alpha=0.5": {}},
            search=FRONT,
            reference="figure4",
        )
    )


def test_before_under_way_and_after(sweep, store, tmp_path):
    table = tables.read(sweep, store)
    assert (
        answer(table)
        == "There is no answer yet: the search, which says what is compared, has 0 of 12 trials."
    )
    assert (
        "0 of 12 trials proposed" in search.sentences(table)[0]
        and len(search.sentences(table)) == 1
    )
    drive(sweep, store, order=0, killed_after=5)
    table = tables.read(sweep, store)
    assert "has 5 of 12 trials" in answer(table) and "Found" not in report.text(table)
    report.write(table, tmp_path / "half")  # a report works at any time
    assert {p.name for p in (tmp_path / "half").iterdir()} >= {
        "front.png",
        "history.png",
        "search.csv",
    }
    drive(sweep, store, order=0)
    table = tables.read(sweep, store)
    assert [*table.sweep.variants][:2] == ["R20", "alpha=0.5"] and table.sweep.settled
    first, chosen, promise = search.sentences(table)
    again = sum(p.trial is not None and not p.trained for p in table.studies[0].proposals)
    assert (
        "12 of 12 trials proposed; 12 finished" in first
        and f"{again} proposed again and answered from the store" in first
    )
    assert "12 minutes of training" in first  # two epochs of 30 s each
    assert chosen.startswith("Found, by validation") and promise.startswith(
        "No trial of the search read the test set"
    )


def test_every_proposal_is_in_the_csv_with_its_reason(sweep, store):
    drive(sweep, store, order=0)
    table = tables.read(sweep, store)
    rows = list(csv.DictReader(io.StringIO(search.to_csv(table))))
    proposals = table.studies[0].proposals
    assert len(rows) == len(proposals)
    for row, p in zip(rows, proposals, strict=True):
        told = (int(row["proposal"]), int(row["first"]), row["status"], float(row["options.alpha"]))
        assert told == (p.number, p.first, p.status, p.cell["options.alpha"])
        assert row["why"] == p.why and (row["val_top1"] == "") == (p.score is None)
    found = search.finds(table)
    tops = [float(line[found.headers.index("val top-1 %")]) for line in found.lines]
    assert tops == sorted(tops) and max(tops) == round(
        max(p.score for p in proposals if p.score is not None), 2
    )


def test_variants_that_were_not_tuned_alike_are_named(write_sweep, store):
    found = {
        "mode": "tune",
        "space": {"lr": [0.05, 0.1, 0.2]},
        "sampler": "grid",
        "trials": 3,
        "ahead": 1,
    }
    sweep = load(write_sweep(search=found))
    work = Searching(sweep, store, cost)
    work.begin(Counter())
    while trial := work.next():
        fails = trial.config.conv == "scconv" and trial.config.lr == 0.2
        end(work, trial, "failed" if fails else "finished")
    assert any(
        "not tuned with the same number of finished trials (R20 3, S+C 2)" in line
        for line in search.sentences(tables.read(sweep, store))
    )


def test_a_changed_search_is_found_out(sweep, store, tmp_path):
    drive(sweep, store, order=0)
    folder = tmp_path / "out"
    report.write(tables.read(sweep, store), folder)
    assert differences(tables.read(sweep, store), folder) == []
    text = (folder / "search.csv").read_text()
    (folder / "search.csv").write_text(text.replace(",finished,", ",failed,", 1))
    assert [line.split(":")[0] for line in differences(tables.read(sweep, store), folder)] == [
        "search.csv"
    ]
