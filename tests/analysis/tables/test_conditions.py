"""Variants under conditions, and what they are compared by: every figure against one by hand."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from analysis import figures, report, tables
from analysis.answer import answer
from analysis.programs import report_of
from analysis.stats import retention, summarise
from analysis.stats.conditions import over_conditions
from analysis.tables import retention as kept
from analysis.tables import warnings
from analysis.tables.class_scores import Classes, grid_of, to_csv
from analysis.tables.conditions import Conditions
from analysis.tables.conditions import to_csv as conditions_csv
from analysis.tables.text import p_equals
from runners.plan import load
from runners.store import Evaluation, Store
from runners.store.evaluation import Scores, packed
from tests import records

IMAGES, CLASSES = 160, 4
TRUTH = np.arange(IMAGES) % CLASSES
MASKS = {"RGB": (True, True, True), "R": (True, False, False), "B": (False, False, True)}
# variant -> condition -> images right of 160, for the seeds 0, 1, 2
RIGHT = {
    "fill": {"RGB": [120, 124, 122], "R": [60, 66, 63], "B": [80, 82, 84]},
    "black": {"RGB": [120, 124, 122], "R": [40, 44, 42], "B": [41, 40, 42]},
    "S": {"RGB": [110, 112, 114], "R": [61, 66, 64], "B": [81, 82, 83]},
}
VARIANTS = {"fill": {}, "black": {"fill": "black"}, "S": {"lr": 0.02, "nesterov": False}}
SWEEP = {
    "variants": VARIANTS,
    "baseline": "fill",
    "seeds": 3,
    "evaluate": {"channels": ["R", "B"]},
    "report": ["comparison", "conditions", "classes"],
}


def scores(name: str, fill: str, right: int) -> Scores:
    """The first `right` images right, the others taken for the next class."""
    predicted = np.where(np.arange(IMAGES) < right, TRUTH, (TRUTH + 1) % CLASSES)
    fill = "none" if name == "RGB" else fill
    untrained = (
        ["stem.subset.0.weight", "stem.subset.0.bias"] if (fill, name) == ("none", "R") else []
    )
    top1 = 100 * right / IMAGES
    mask = [*MASKS[name]]
    return Scores(name, mask, None, fill, top1, 99.0, 1.0, packed(predicted, CLASSES), untrained)


@pytest.fixture
def make(write_sweep, tmp_path):
    """make(**changes to the sweep) -> its table, of evaluated trials."""

    def table(own_stem: bool = False, **changes):
        sweep, store = load(write_sweep(**(SWEEP | changes))), Store(tmp_path / "runs")
        for trial in sweep.distinct:
            seed, variants = trial.seed, ["S"] if trial.variant == "S" else ["fill", "black"]
            found = [scores("RGB", "", RIGHT[trial.variant]["RGB"][seed])]
            for variant in variants:
                fill = {"black": "black", "S": "none" if own_stem else "linear"}.get(
                    variant, "linear"
                )
                found += [scores(name, fill, RIGHT[variant][name][seed]) for name in ("R", "B")]
            ended = records.record(trial, result=records.result(RIGHT[trial.variant]["RGB"][seed]))
            records.overwrite(store, ended)
            store.keep_evaluation(
                Evaluation(trial.id, "", CLASSES, packed(TRUTH, CLASSES), found, {})
            )
        return tables.read(sweep, store)

    return table


def test_every_cell_is_a_mean_over_seeds_and_marks_stand_where_they_should(make):
    table = make(own_stem=True)
    found = Conditions(table)
    grid = tables.under_conditions(table)
    assert grid.headers == ["variant", "n", "RGB", "R", "B", "mean %", "worst %", "retained %"]
    lines = {line[0]: dict(zip(grid.headers, line, strict=True)) for line in grid.lines}
    for variant, by in RIGHT.items():
        for name, right in by.items():
            values = summarise([100 * n / IMAGES for n in right])
            assert lines[variant][name].rstrip("*†") == f"{values.mean:.2f} ± {values.sd:.2f}"
            marked = lines[variant][name].endswith(("*", "*†"))
            assert marked == (found.p.get((name, variant), 1) < 0.05)
        means = [sum(by[name][seed] for name in by) / 3 / IMAGES * 100 for seed in range(3)]
        assert lines[variant]["mean %"].startswith(f"{sum(means) / 3:.2f} ± ")
        worst = [100 * min(by[name][seed] for name in by) / IMAGES for seed in range(3)]
        assert lines[variant]["worst %"].startswith(f"{sum(worst) / 3:.2f} ± ")
        part = [100 * m / (100 * by["RGB"][s] / IMAGES) for s, m in enumerate(means)]
        assert lines[variant]["retained %"].startswith(f"{sum(part) / 3:.2f} ± ")
    # filled with black it is plainly worse; S is hardly different, and its R rests on nothing
    assert lines["black"]["R"].endswith("*") and lines["black"]["B"].endswith("*")
    assert lines["S"]["R"].endswith("†") and "*" not in lines["S"]["B"]
    assert "*" not in lines["black"]["RGB"]


def test_the_notes_name_guessing_the_fills_and_what_was_never_trained(make):
    said = "\n".join(tables.notes(make(own_stem=True)))
    assert "guessing is 25.0 % right, and on 160 images within 18.8 to 31.9 % (95 %)" in said
    assert "linear in fill; black in black; nothing (the stem takes what is there) in S." in said
    assert (
        "† S under R rests on stem.subset.0.weight, stem.subset.0.bias (2 parameters), ne" in said
    )
    assert "fill and black are one training that was evaluated 2 times" in said
    assert "S differs from fill in lr, nesterov and fill: its difference is that of all" in said


def test_the_csv_has_every_condition_in_full(make):
    rows = [*csv.DictReader(io.StringIO(conditions_csv(Conditions(make()))))]
    assert [(r["variant"], r["condition"]) for r in rows[:4]] == [
        ("fill", "RGB"), ("fill", "R"), ("fill", "B"), ("black", "RGB"),
    ]  # fmt: skip
    black = next(r for r in rows if (r["variant"], r["condition"]) == ("black", "R"))
    assert (black["channels"], black["fill"], black["n"]) == ("1", "black", "3")
    assert float(black["top1_mean"]) == 26.25 and float(black["difference"]) == -13.125
    assert float(black["p"]) < 0.05 and rows[0]["p"] == rows[0]["difference"] == ""


@pytest.mark.parametrize("measure", ["mean", "worst", "B"])
def test_variants_are_compared_by_the_measure(measure, make):
    table = make(measure=measure)
    for variant, by in RIGHT.items():
        for seed in range(3):
            values = [100 * by[name][seed] / IMAGES for name in by]
            expected = {"mean": sum(values) / 3, "worst": min(values), "B": values[2]}[measure]
            assert table.scores[variant][seed] == pytest.approx(expected)
            (record,) = [r for r in table.of(variant) if r.seed == seed]
            right = table.measure.right(variant, record)
            assert 100 * right.mean() == pytest.approx(expected)
    assert f"{measure} top-1 % ± sd" in report.text(table)
    assert f"by {measure} top-1, " in answer(table)
    assert f"{measure}_top1_mean" in tables.to_csv(table)
    assert report.aggregates(table)[0]["metrics"][f"test/{measure}_top1_mean"] == pytest.approx(
        sum(table.scores["fill"].values()) / 3
    )


def test_keeping_a_part_is_judged_by_the_measure(make):
    table = make(measure="mean", at_least=0.8)
    right = {}
    for variant in ("fill", "black", "S"):
        rows = []
        for seed in range(3):
            hits = [np.arange(IMAGES) < RIGHT[variant][name][seed] for name in MASKS]
            rows.append(np.mean(hits, axis=0))
        right[variant] = np.stack(rows)
    expected = retention({v: (right[v], right["fill"]) for v in ("black", "S")}, 0.8)
    assert kept.retained(table) == expected
    assert "80 % of fill's mean top-1" in kept.sentence(table)


def test_a_trial_that_was_not_evaluated_is_missing_from_the_measure_alone(make, tmp_path):
    table = make(measure="mean")
    trial = table.of("S")[0]
    (Store(tmp_path / "runs").folder(trial.id) / "evaluation.json").unlink()
    again = tables.read(table.sweep, Store(tmp_path / "runs"))
    row = next(row for row in again.rows if row.variant == "S")
    assert row.missing == {"not evaluated": 1} and len(row.records) == 2
    usual = tables.read(replace(table.sweep, measure="top1"), Store(tmp_path / "runs"))
    assert usual.planned_trials == len(usual.records) == 9
    assert tables.under_conditions(usual).lines[2][1] == "2"


def test_programs_get_every_condition_too(make):
    made = report_of(make(own_stem=True, measure="mean"))
    assert made.measure == "mean_top1" and made.primary == "top1" and made.looks == []
    base, black, mine = made.variants
    assert [c.name for c in base.conditions] == ["RGB", "R", "B"]
    assert all(c.p is None for c in base.conditions) and black.conditions[1].p < 0.05
    assert black.conditions[1].score.mean == 26.25
    assert mine.conditions[1].untrained == ["stem.subset.0.weight", "stem.subset.0.bias"]


def test_classes_are_of_the_whole_images_and_of_the_worst_condition(make):
    found = Classes(make())
    assert [(look.variant, look.condition) for look in found.looks] == [
        ("fill", "RGB"), ("fill", "R"), ("black", "RGB"), ("black", "B"), ("S", "RGB"), ("S", "R"),
    ]  # fmt: skip
    # by hand: of 40 images a class, the first 30, 31, 30.5 are right
    recalls = [100 * n / IMAGES for n in RIGHT["fill"]["RGB"]]
    first = dict(zip(grid_of(found).headers, grid_of(found).lines[0], strict=True))
    assert first["weighted recall %"].startswith(f"{sum(recalls) / 3:.2f} ± ")
    assert first["images"] == "160"
    rows = [*csv.DictReader(io.StringIO(to_csv(found)))]
    assert {r["class"] for r in rows} == {"0", "1", "2", "3", "macro", "weighted"}


def test_the_report_has_the_tables_the_figure_and_the_matrices(make, tmp_path):
    table = make(measure="mean")
    names = {path.name for path in report.write(table, tmp_path / "out")}
    assert {
        "conditions.csv",
        "classes.csv",
        "channels.svg",
        "classes-0.svg",
        "classes-5.png",
    } <= names
    page = (tmp_path / "out/report.html").read_text()
    assert "Under conditions" in page and "Classes of black: B" in page
    axes = figures.channels(Conditions(table)).axes[0]
    line = next(x for x in axes.lines if x.get_label().strip() == "fill")
    singles = [100 * n / IMAGES for name in ("R", "B") for n in RIGHT["fill"][name]]
    whole = [100 * n / IMAGES for n in RIGHT["fill"]["RGB"]]
    assert line.get_ydata() == pytest.approx([sum(singles) / 6, sum(whole) / 3])


def test_a_training_that_still_gained_is_said_to(make):
    table = make()
    rising = [records.epoch(n, val=50.0 + n) for n in range(1, 21)]
    flat = [records.epoch(n, val=60.0) for n in range(1, 21)]
    rows = [
        replace(row, records=[replace(r, epochs=rising if row.variant == "S" else flat)
                              for r in row.records])
        for row in table.rows
    ]  # fmt: skip
    (line,) = warnings.not_converged(replace(table, rows=rows))
    assert "Not converged: S (+2.0) points over the last tenth" in line


def test_the_differences_are_drawn_with_the_intervals_of_each_condition(make):
    table = make()
    found = Conditions(table)
    axes = figures.conditions(found).axes[0]
    compared = over_conditions(found.figures, "fill")[0]
    expected = [
        (f"{name}: {variant}", d)
        for name, comparison in compared.items()
        for variant, d in comparison.differences.items()
    ]
    # with all channels there, two fills are one training
    assert len(expected) == 5 and expected[0][0] == "RGB: S"
    assert [label.get_text() for label in axes.get_yticklabels()] == [name for name, _ in expected]
    spans = [[float(x) for x in line.get_xdata()] for line in axes.lines if line.get_lw() == 2]
    assert spans == [[d.low, d.high] for _, d in expected if d.low is not None]
    said = [text.get_text() for text in axes.texts]
    assert said[0].endswith(f"p {p_equals(found.p['RGB', 'S'])}")
