"""Where things stand in the figures of a comparison: at their own cost, at their own difference."""

import pytest

from analysis import figures, report, tables
from analysis.tables import Grid, factors, pairs
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill

SCORES = {"R20": [70.0, 71.25, 70.5], "S": [66.0, 66.25, 66.5], "C": [70.0, 71.0, 72.0]}


@pytest.fixture
def table(write_sweep, tmp_path):
    """Three variants; two of them cost the same."""
    variants = {"R20": {}, "S": {"lr": 0.02}, "C": {"lr": 0.03}}
    sweep = load(write_sweep(variants=variants, seeds=3, margin_pp=1.0))
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, SCORES))


def test_a_forest_plot_shows_each_difference_its_interval_and_the_verdict(table):
    axes = figures.forest(table).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["S", "C"]
    spans, means = [], []
    for line in axes.lines:
        xs = [float(x) for x in line.get_xdata()]
        if line.get_linewidth() == 2:
            spans.append(xs)
        elif line.get_marker() == "s":
            means += xs
    differences = [table.comparison.differences[v] for v in ("S", "C")]
    assert spans == [[d.low, d.high] for d in differences]
    assert means == [d.mean for d in differences]
    said = [text.get_text() for text in axes.texts]
    assert [words.split()[-1] for words in said] == [d.verdict for d in differences]
    assert said[0].startswith("-4.33  (") and "margin of ±1" in axes.get_xlabel()


def test_one_seed_has_no_interval_in_a_forest_plot(write_sweep, tmp_path):
    sweep = load(write_sweep(variants={"R20": {}, "S": {"lr": 0.02}}, seeds=1))
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, {"R20": [70.0], "S": [66.0]}))
    axes = figures.forest(table).axes[0]
    assert [text.get_text() for text in axes.texts] == ["-4.00  inconclusive"]
    assert "95 %" not in axes.get_xlabel()
    legend = figures.tradeoff(table).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][-1:] == ["one seed"]


def test_every_variant_stands_at_its_own_cost_and_equal_ones_apart_on_paper(table):
    axes = figures.tradeoff(table).axes[0]
    means = [line for line in axes.lines if line.get_marker() == "o"]
    costs = [row.result.macs / 1e6 for row in table.rows]
    assert [line.get_xdata()[0] for line in means[:3]] == costs and costs[1] == costs[2]
    shown = [line.get_transform().transform(line.get_xydata())[0][0] for line in means[:3]]
    assert len({round(x) for x in shown}) == 3
    low, high = axes.get_ylim()
    for row in table.rows:
        assert low < row.score.low and row.score.high < high


def test_costs_that_hardly_differ_do_not_look_apart(write_sweep, tmp_path):
    """The axis spans at least a tenth of the dearest cost, and costs are in its middle."""
    arms = {"S": {"lr": 0.02}, "C": {"lr": 0.03}}
    sweep = load(write_sweep(variants=arms, baseline="S", seeds=3))
    scores = {name: SCORES[name] for name in arms}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    cost = table.rows[0].result.macs / 1e6
    assert table.rows[1].result.macs / 1e6 == cost
    low, high = figures.tradeoff(table).axes[0].get_xlim()
    assert 0.1 < (high - low) / cost < 0.15
    assert (low + high) / 2 == pytest.approx(cost)


def test_a_table_fits_a_terminal_and_the_papers_figures_are_beside(table):
    assert max(map(len, tables.markdown(tables.comparison(table)).splitlines())) <= 80
    assert tables.paper(table) == Grid(
        ["variant", "top-1 % ± sd", "Δ R20", "paper top-1", "paper Δ", "against the paper"],
        [],
        tables.paper(table).means,
    )


def spans(axes) -> list[list[float]]:
    return [[float(x) for x in line.get_xdata()] for line in axes.lines if line.get_lw() == 2]


def test_every_pair_has_its_line(table, tmp_path):
    axes = figures.pairs(table).axes[0]
    expected = pairs.found(table)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["S - R20", "C - R20", "C - S"] == [f"{b} - {a}" for a, b in expected]
    assert spans(axes) == [[d.low, d.high] for d in expected.values()]
    assert "(Tukey), 3 seeds" in axes.get_xlabel() and "p " in axes.texts[0].get_text()
    # only where they were asked for
    for asked in (False, True):
        report.write(table, tmp_path / "out", all_pairs=asked)
        assert (tmp_path / "out/pairs.svg").exists() == asked


def test_the_effects_of_factors_have_theirs(write_sweep, tmp_path):
    grid = {"options.alpha": [0.25, 0.5], "options.gate": ["hard", "soft"]}
    name = "alpha=0.25,gate=hard"
    sweep = load(
        write_sweep(
            base={"conv": "scconv"},
            variants=None,
            factors=grid,
            baseline=name,
            seeds=3,
            report=None,
        )
    )
    scores = {v: [70.0 + i, 71.25 + i, 70.5 + i * i] for i, v in enumerate(sweep.variants)}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    axes = figures.effects(table).axes[0]
    found = [e for source in factors.effects_of(table)[1] for e in source.effects]
    assert len(found) > 4 and spans(axes) == [[e.low, e.high] for e in found]
    assert axes.get_yticklabels()[0].get_text() == "alpha=0.25"
    report.write(table, tmp_path / "out")
    assert (tmp_path / "out/effects.svg").exists()


def test_of_very_many_pairs_the_clearest_are_drawn(write_sweep, tmp_path):
    names = [f"v{i}" for i in range(11)]
    arms = {name: {"lr": 0.01 * (i + 1)} for i, name in enumerate(names)}
    sweep = load(write_sweep(variants=arms, baseline="v0", seeds=3))
    scores = {name: [50.0 + i, 51.25 + i, 50.5 + i + i % 2] for i, name in enumerate(names)}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    axes = figures.pairs(table).axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == 40 and "v10 - v0" in shown
    assert "the 40 of 55 with the smallest p" in axes.get_xlabel()


def test_a_row_of_many_equal_costs_does_not_look_like_many_costs(write_sweep, tmp_path):
    arms = {f"lr {i}": {"lr": 0.011 * i} for i in range(1, 13)}
    sweep = load(write_sweep(variants={"R20": {}} | arms, seeds=2))
    scores = {name: [70.0 + i, 71.0 + i] for i, name in enumerate(sweep.variants)}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    axes, cost = figures.tradeoff(table).axes[0], table.rows[-1].result.macs / 1e6
    means = [line for line in axes.lines if line.get_marker() == "o" and cost in line.get_xdata()]
    shown = [line.get_transform().transform(line.get_xydata())[0][0] for line in means]
    assert len(shown) == len(arms)
    assert 34 < (max(shown) - min(shown)) / axes.figure.dpi * 72 < 36  # points on paper


@pytest.mark.parametrize("baseline, drawn", [("R20", True), ("C", False)])
def test_without_a_difference_in_cost_there_is_no_trade_off(baseline, drawn, write_sweep, tmp_path):
    arms = {baseline: {}, "S": {"lr": 0.02}}
    sweep = load(write_sweep(variants=arms, baseline=baseline, seeds=3))
    scores = {name: SCORES[name] for name in arms}  # S and C cost the same
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    written = {path.name for path in report.write(table, tmp_path / "out")}
    assert ("tradeoff.svg" in written) == drawn and "forest.svg" in written
