"""`at_least` in a sweep file: verdicts in the answer, the table and the page."""

from dataclasses import replace

import pytest

from analysis import figures, report, tables
from analysis.answer import answer
from analysis.tables import retention
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill

SCORES = {
    "R20": [80.0, 81.25, 80.625, 80.0, 81.25],
    "good": [80.0, 80.625, 81.25, 80.0, 80.625],
    "bad": [40.0, 41.25, 40.0, 40.625, 40.0],
    "near": [72.5, 73.125, 72.5, 73.75, 72.5],
}


@pytest.fixture
def table(write_sweep, tmp_path):
    rates = {name: {"lr": 0.02 + 0.01 * i} for i, name in enumerate(SCORES) if i}
    sweep = load(write_sweep(variants={"R20": {}} | rates, seeds=5, at_least=0.9))
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, SCORES))


def test_the_verdicts_stand_in_answer_table_and_page(table, tmp_path):
    found = retention.retained(table)
    assert {v: kept.verdict for v, kept in found.items()} == {
        "good": "keeps",
        "bad": "does not keep",
        "near": "open",
    }
    said = answer(table)
    assert said.startswith("good (") and "keeps 90 % of R20's accuracy; bad (" in said
    assert "whether near (0.9" in said and "In this training, " in said
    page = report.write(table, tmp_path / "out")[0].read_text()
    assert "Who keeps 90 % of R20&#39;s accuracy" in page and "does not keep" in page
    assert "| does not keep |" in (tmp_path / "out/table.md").read_text()


def test_one_seed_is_judged_for_other_images_alone(write_sweep, tmp_path):
    sweep = load(write_sweep(variants={"R20": {}, "bad": {"lr": 0.02}}, seeds=1, at_least=0.9))
    scores = {"R20": [80.0], "bad": [40.0]}
    found = answer(tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores)))
    assert "one seed, so for other test images alone). Differences are not judged" in found


def test_a_sweep_that_does_not_ask_has_none_of_it(write_sweep, tmp_path):
    sweep = load(write_sweep(seeds=2))
    scores = {"R20": [70.0, 71.25], "S+C": [70.0, 72.5]}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    assert not retention.retained(table) and "accuracy" not in answer(table)


@pytest.mark.parametrize("ratio", [0, 1.5, "much"])
def test_an_impossible_part_is_refused(write_sweep, ratio):
    with pytest.raises(SweepError, match=r"at_least: must be .*, got"):
        load(write_sweep(at_least=ratio))


def test_its_figure_comes_first_and_shows_the_ratios_and_the_part(table, tmp_path):
    axes = figures.kept(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "bad", "near"]
    found = retention.retained(table)
    spans = [[float(x) for x in line.get_xdata()] for line in axes.lines if line.get_lw() == 2]
    assert spans == [[kept.low, kept.high] for kept in found.values()]
    assert [text.get_text().split("  ")[2] for text in axes.texts] == [
        "keeps",
        "does not keep",
        "open",
    ]
    line = next(line for line in axes.lines if line.get_color() == "black")
    assert [*line.get_xdata()] == [0.9, 0.9]
    dots = next(line for line in axes.lines if line.get_marker() == ".")
    assert [*dots.get_xdata()] == pytest.approx(
        [ours / base for ours, base in zip(SCORES["good"], SCORES["R20"], strict=True)]
    )
    page = report.write(table, tmp_path / "out")[0].read_text()
    assert 0 < page.index("kept_") < page.index("forest_")


def test_an_interval_without_an_end_leaves_the_figure(table, monkeypatch):
    found = retention.retained(table)
    found["bad"] = replace(found["bad"], low=None, high=None)
    monkeypatch.setattr(retention, "retained", lambda table: found)
    axes = figures.kept(table).axes[0]
    assert "0 to ∞" in axes.texts[1].get_text()
    low, high = axes.get_xlim()
    assert low < 0 and found["good"].high < high < 1.5


def test_a_name_with_a_comma_is_quoted_within_a_sentence(write_sweep, tmp_path):
    names = ["static, linear", "static, black", "good"]
    arms = {name: {"lr": 0.02 + 0.01 * i} for i, name in enumerate(names)}
    sweep = load(write_sweep(variants=arms, baseline=names[0], seeds=5, at_least=0.9))
    scores = dict(zip(names, (SCORES["R20"], SCORES["bad"], SCORES["good"]), strict=True))
    said = answer(tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores)))
    assert "good (0.998) keeps 90 % of “static, linear”'s accuracy" in said
    assert "“static, black” (-40.25) is worse than “static, linear”" in said
