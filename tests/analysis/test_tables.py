"""The table says what the trials say, and what is missing."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import reference, report, tables
from analysis.stats import paired, summarise
from runners.plan import load
from runners.store import Epoch, Record, Result, Store

ROOT = Path(__file__).parents[2]
TOP1 = {"R20": [70.0, 72.0, 71.0], "S+C": [71.0, 74.0, 72.0], "C": [60.0, None, 62.0]}
EVIDENCE = {
    "commit": "c0ffee", "dirty": "no", "device": "CPU (test)", "precision": "fp32", "torch": "2.0", "data": "d1",
    "train_images": 288, "val_images": 32, "test_images": 160,
}  # fmt: skip


@pytest.fixture
def sweep(write_sweep):
    return load(
        write_sweep(
            variants={"R20": {}, "S+C": {"conv": "scconv"}, "C": {"conv": "scconv", "options": {"order": ["cru"]}}}, seeds=3, reference="table1"
        )
    )


@pytest.fixture
def store(sweep, tmp_path):
    store = Store(tmp_path / "runs")
    epochs = [Epoch(n, 0.1, 2.0, 30.0, 1.0, 40.0 + n, 1.0, 100.0, 1_700_000_000_000 + n) for n in (1, 2)]
    for trial in sweep.trials:
        top1 = TOP1[trial.variant][trial.seed]
        result = Result(top1, 99.0, "ff", 272_474, 272_474, 2_551_424, 2_576_512, 100.0, 1.0, 9, 0.5) if top1 else None
        status, reason = ("finished", "") if result else ("diverged", "the loss was nan")
        store.commit(Record(trial.id, "tiny", trial.variant, trial.seed, {}, status, reason, epochs, result, EVIDENCE))
    return store


def test_summaries():
    assert summarise([]) is None and summarise([3.0]).sd is None
    assert (summarise([70.0, 72.0, 71.0]).mean, summarise([70.0, 72.0, 71.0]).sd) == (71.0, 1.0)
    difference = paired({0: 71.0, 1: 74.0, 5: 1.0}, {0: 70.0, 1: 72.0, 2: 9.0})
    assert (difference.n, difference.mean) == (2, 1.5)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_only_finished_trials_enter_a_mean_and_the_rest_is_named(sweep, store):
    table = tables.rows(sweep, store)
    assert [(r.variant, r.top1.n, r.top1.mean) for r in table] == [("R20", 3, 71.0), ("S+C", 3, pytest.approx(72.333, abs=1e-3)), ("C", 2, 61.0)]
    assert table[1].difference.mean == pytest.approx(4 / 3) and table[2].difference.mean == pytest.approx(-9.5) and table[0].difference is None
    assert table[2].missing == {"diverged": 1}
    assert table[2].difference.n == 2 and tables.cells(sweep, table)[1][2][1] == "2 of 3"
    text = report.text(sweep, store)
    assert "C: 1 diverged." in text and "8 of 9 trials finished" in text and "2 of 3" in text and "Fewer than five seeds" in text
    assert "digest d1" in text and "c0ffee" in text and "CPU (test)" in text


def test_the_papers_rows_stand_beside(sweep, store):
    table = tables.rows(sweep, store)
    assert (table[0].printed.top1, table[1].printed.top1, table[1].printed.flops_m) == (78.60, 79.89, 843.81)
    headers, lines = tables.cells(sweep, table)
    row = dict(zip(headers, lines[1], strict=True))
    assert (row["paper top-1"], row["paper Δ"], row["Δ R20 (± sd)"]) == ("79.89", "+1.29", "+1.33 ± 0.58")
    with pytest.raises(ValueError, match="unknown table 'table9'"):
        reference.load(replace(sweep, reference="table9"))


def test_a_table_of_several_networks_is_joined_by_backbone_and_data_set():
    sweep = load(ROOT / "sweeps/table2-r56.yaml")
    found = reference.load(sweep)
    assert found.title.endswith("Table 2: resnet56, CIFAR-100, 200 epochs, median of several runs")
    assert {v: p.top1 for v, p in found.rows.items()} == {
        "R56": 71.50, "Octave": 70.93, "SP": 71.51, "Ghost": 70.42, "Slim": 71.71, "Tied": 71.10, "SCConv": 72.56
    }  # fmt: skip
    assert reference.load(load(ROOT / "sweeps/table2-r56.yaml", ["base.dataset=cifar10"])).rows["SCConv"].top1 == 94.12
    with pytest.raises(ValueError, match="table2 has no rows of resnet18; it has resnet56, resnet50, "):
        reference.load(load(ROOT / "sweeps/table2-r56.yaml", ["base.backbone=resnet18"]))


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("table*.yaml")), ids=lambda p: p.stem)
def test_every_sweep_of_a_table_has_a_variant_for_every_printed_row(path):
    sweep = load(path)
    assert {*reference.load(sweep).rows} <= {*sweep.variants} and len({v[:10] for v in sweep.variants}) == len(sweep.variants)


def test_csv_has_the_trials_behind_every_row(sweep, store):
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(tables.rows(sweep, store)))))
    assert [line["variant"] for line in lines] == ["R20", "S+C", "C"]
    assert lines[0]["trials"].split() == [t.id for t in sweep.trials if t.variant == "R20"]
    assert float(lines[1]["difference_mean"]) == pytest.approx(4 / 3) and lines[0]["difference_mean"] == ""


def test_latex_escapes_what_latex_would_read():
    text = tables.latex(["variant", "Δ"], [["C&S_1", "+1.00 ± 0.50"]], ["100 %"])
    assert r"C\&S\_1 & +1.00 $\pm$ 0.50 \\" in text and r"variant & $\Delta$ \\" in text and r"\toprule" in text


def test_the_command_writes_tables_and_figures(sweep, store, tmp_path, capsys):
    out = tmp_path / "out"
    assert report.main([sweep.path, "--storage", str(store.root), "--out", str(out)]) == 0
    names = {p.name for p in out.iterdir()}
    assert names == {"table.md", "table.csv", "table.tex", "curves.svg", "curves.png", "tradeoff.svg", "tradeoff.png"}
    assert all(p.stat().st_size > 500 for p in out.iterdir()) and "Does it work?" in capsys.readouterr().out
    assert report.main([str(tmp_path / "none.yaml")]) == 2


def test_nothing_finished_yet_is_a_table_of_dashes(sweep, tmp_path):
    empty = Store(tmp_path / "empty")
    assert "0 of 9 trials finished" in report.text(sweep, empty)
    assert {p.name for p in report.write(sweep, empty, tmp_path / "out")} == {"table.md", "table.csv", "table.tex"}
