"""A column is defined once and written in every format; no cell of a CSV is a formula."""

import csv
import io

import pytest

from analysis import report, tables
from analysis.tables import columns, search, variants
from analysis.tables.columns import Column
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill
from tests.runners.search.test_searching import drive

FORMULAS = ["=1+1", "+S", "-S", "@SUM(1)", "＝1"]


def cells(text: str) -> list[str]:
    return [cell for line in csv.reader(io.StringIO(text)) for cell in line]


@pytest.fixture
def table(write_sweep, tmp_path):
    rates = {name: {"lr": round(0.02 + 0.01 * i, 3)} for i, name in enumerate(FORMULAS)}
    sweep = load(write_sweep(variants={"R20": {}} | rates, seeds=2))
    scores = {name: [70.0 - i, 71.25 - i] for i, name in enumerate(sweep.variants)}
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))


def test_a_column_more_is_shown_in_every_format(table, tmp_path, monkeypatch):
    """The score is in the records; nothing but its column is added."""
    before = variants.columns
    top5 = Column(
        "top5",
        "The right class is among the first five.",
        "top-5 & more %",
        lambda row: f"{row.mean('top5'):.3f}",
        {"top5_mean": lambda row: row.mean("top5")},
        tables=[variants.RESULT],
    )
    monkeypatch.setattr(variants, "columns", lambda table: [*before(table), top5])
    report.write(table, tmp_path / "out")
    texts = {p.name: p.read_text() for p in (tmp_path / "out").iterdir() if p.suffix != ".png"}
    assert texts["table.md"].splitlines()[4].endswith(" top-5 & more % |")
    assert "|         99.000 |" in texts["table.md"]
    assert r"{top-5 \& more \%} \\" in texts["table.tex"]
    assert r"99.000 \\" in texts["table.tex"]
    page = texts["report.html"]
    assert "The right class is among the first five." in page
    assert "top-5 &amp; more %</th>" in page and "<td>99.000</td>" in page
    lines = [*csv.DictReader(io.StringIO(texts["table.csv"]))]
    assert {line["top5_mean"] for line in lines} == {"99"}


def test_every_column_says_what_it_means(table):
    for column in variants.columns(table):
        assert column.means.endswith("."), column.key
    assert len({c.key for c in variants.columns(table)}) == len(variants.columns(table))


def test_no_cell_of_a_csv_is_a_formula(table, write_sweep, tmp_path):
    text = tables.to_csv(table)
    names = [line["variant"] for line in csv.DictReader(io.StringIO(text))]
    assert names == ["R20", *(f"'{name}" for name in FORMULAS)]
    # what still begins so is a negative number
    for cell in cells(text):
        if cell.startswith(columns.FORMULA):
            assert float(cell) < 0
    assert any(cell.startswith("-") for cell in cells(text))
    tuned = {"mode": "tune", "space": {"lr": [0.05, 0.1]}, "sampler": "grid", "trials": 2}
    names = {"=1+1": {}, "@S": {"conv": "scconv"}}
    sweep = load(write_sweep("tuned", baseline="=1+1", variants=names, search=tuned))
    store = Store(tmp_path / "tuned")
    drive(sweep, store, order=0)
    found = cells(search.to_csv(tables.read(sweep, store)))
    assert "'=1+1" in found and "'@S" in found
    assert not any(cell.startswith(columns.FORMULA) for cell in found)


@pytest.mark.parametrize(
    "value, cell",
    [
        (-0.5, "-0.5"),
        (-3, "-3"),
        (None, ""),
        ("-0.5", "'-0.5"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("\t=1", "'\t=1"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_escaped_and_numbers_are_not(value, cell):
    column = Column("x", "Anything.", fields={"x": lambda item: item})
    assert cells(columns.csv_text([column], [value])) in (["x", cell], ["x"] + [cell] * bool(cell))
