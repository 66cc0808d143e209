"""The table says what the trials say, what may be concluded from them, and what is missing."""

import csv
import io
import random
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis import figures, report, tables
from analysis.answer import answer
from analysis.tables import factors, trials
from analysis.tables.measure import correct
from runners.plan import load, reference
from runners.store import Result, Store
from tests import records

ROOT = Path(__file__).parents[3]
EVIDENCE = records.EVIDENCE
MEASURED = {"images_per_s": 100.0, "peak_memory_gb": 1.0, "swapped": 9, "minutes": 0.5}
COSTS = {
    "R20": MEASURED
    | {"params": 272_474, "paper_params": 272_474, "macs": 2_551_424, "paper_flops": 2_576_512},
    "S+C": MEASURED
    | {"params": 162_000, "paper_params": 160_000, "macs": 1_520_000, "paper_flops": 1_600_000},
}
SCREENED = {"R20": [70.0, 72.0, 71.0], "S+C": [71.0, 74.0, 72.0], "C": [60.0, None, 62.0]}


def bits(top1: float, images: int = 160, seed: int = 0) -> str:
    right = np.zeros(images, np.uint8)
    right[random.Random(seed).sample(range(images), round(top1 * images / 100))] = 1
    return np.packbits(right).tobytes().hex()


def _whole(count: float) -> bool:
    return abs(count - round(count)) < 1e-6


def fill(store: Store, sweep, top1: dict[str, list], evidence=EVIDENCE) -> Store:
    """A record for every trial of the sweep that `top1` has a value for; None is one that
    diverged.
    """
    epochs = [records.epoch(n, loss=2.0, val=40.0 + n) for n in (1, 2)]
    values = [value for row in top1.values() for value in row if value is not None]
    # so many that each of the figures is that of a whole number of images
    images = next(
        n for n in (160, 200, 320, 800, 40_000) if all(_whole(v * n / 100) for v in values)
    )
    evidence = evidence | {"test_images": images}
    for trial in sweep.trials:
        if len(top1[trial.variant]) <= sweep.seeds.index(trial.seed):
            continue
        value = top1[trial.variant][sweep.seeds.index(trial.seed)]
        if value is None:
            reason = "the loss was nan"
            records.overwrite(
                store, records.record(trial, "diverged", reason=reason, epochs=epochs)
            )
            continue
        right = bits(value, images, seed=trial.seed)
        scores = {"top1": float(value), "top5": 99.0}
        costs = COSTS["R20" if trial.variant == "R20" else "S+C"]
        result = Result("top1", scores, right, costs)
        ended = records.record(trial, epochs=epochs, result=result, provenance=evidence)
        records.overwrite(store, ended)
    return store


@pytest.fixture
def make(write_sweep):
    def sweep(**changes):
        variants = {
            "R20": {},
            "S+C": {"conv": "scconv"},
            "C": {"conv": "scconv", "options": {"order": ["cru"]}},
        }
        return load(
            write_sweep(**({"variants": variants, "seeds": 3, "reference": "table1"} | changes))
        )

    return sweep


@pytest.fixture
def screened(make, tmp_path):
    """Three seeds, one trial diverged."""
    sweep = make()
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, SCREENED))


@pytest.fixture
def complete(make, tmp_path):
    """Six seeds: S+C plainly better, C plainly the same."""
    sweep = make(seeds=6, margin_pp=1.0)
    noise = [0.0, 0.625, -0.625, 0.625, 0.0, -0.625]
    scores = {
        "R20": [70 + x for x in noise],
        "S+C": [75 + x for x in noise[::-1]],
        "C": [70 + x / 2 for x in noise[::-1]],
    }
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))


def test_only_finished_trials_enter_a_mean_and_the_rest_is_named(screened):
    rows = screened.rows
    assert [(r.variant, r.score.n, r.score.mean) for r in rows] == [
        ("R20", 3, 71.0),
        ("S+C", 3, pytest.approx(72.333, abs=1e-3)),
        ("C", 2, 61.0),
    ]
    assert (
        rows[1].difference.mean == pytest.approx(4 / 3)
        and rows[2].difference.mean == -10
        and rows[0].difference is None
    )
    assert (
        rows[2].missing == {"diverged (the loss was nan)": 1}
        and tables.comparison(screened).lines[2][1] == "2 of 3"
    )
    text = report.text(screened)
    assert (
        "C: 1 diverged (the loss was nan)." in text
        and "8 of 9 trials finished" in text
        and "2 of 3" in text
        and "Fewer than five seeds" in text
    )
    assert "digest d1" in text and "c0ffee" in text and "CPU (test)" in text
    assert (
        "by Welch's t, because not every seed has finished in every variant: p by Holm, which "
        "decides the verdict" in text
    )


def test_the_answer_says_what_is_shown_and_no_more(screened, complete):
    assert answer(complete) == (
        "In this training, S+C (+5.00) is better than R20; C is equivalent to R20 (simultaneously "
        "at 95 %, 6 seeds); S+C is above all others."
    )
    end = "and with so few seeds that is a screening, to be confirmed with five or more; of the planned trials C has 2 of 3 finished."
    assert answer(screened).endswith(end)
    assert complete.best == "S+C" and not screened.best
    assert (
        "**S+C**" in report.text(complete)
        and "**+5.00**" in report.text(complete)
        and "**S+C**" not in report.text(screened)
    )
    assert r"\bfseries S+C" in tables.latex(tables.comparison(complete), [], "", "")


def test_no_difference_is_told_with_what_could_have_been_seen(make, tmp_path):
    sweep = make(seeds=5, variants={"R20": {}, "S+C": {"conv": "scconv"}})
    same = {"R20": [70, 71.25, 70, 68.75, 70], "S+C": [70, 70, 71.25, 70, 70]}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, same))
    assert answer(table).startswith(
        "In this training, no difference to R20 is shown (simultaneously at 95 %, 5 seeds): a "
        "difference under "
    )
    assert (
        f"{table.comparison.detectable:.1f} points could well have gone unseen (power below 80 %)"
        in answer(table)
    )


def test_why_there_is_no_answer(make, tmp_path):
    sweep = make(seeds=2)
    table = tables.read(
        sweep,
        fill(
            Store(tmp_path / "a"),
            sweep,
            {"R20": [None, None], "S+C": [70, 71.25], "C": [70, 71.25]},
        ),
    )
    assert answer(table) == "There is no answer: no trial of the baseline finished."
    table = tables.read(
        sweep,
        fill(
            Store(tmp_path / "b"), sweep, {"R20": [70, 71.25], "S+C": [72, 73.25], "C": [70, 71.25]}
        ),
    )
    why = "the differences are the same in every seed, so there is no spread to judge them by"
    assert answer(table) == f"There is no answer yet: {why}."
    alone = load(sweep.path, only=["S+C"])
    assert (
        answer(tables.read(alone, Store(tmp_path / "b")))
        == "There is no answer: the baseline R20 is not among these variants."
    )
    alone = load(sweep.path, only=["R20"])
    assert (
        answer(tables.read(alone, Store(tmp_path / "b")))
        == "There is no answer: there is only one variant."
    )


def test_a_variant_without_a_trial_is_not_passed_over(make, tmp_path):
    sweep = make(seeds=5)
    noise = [0, 1.25, -1.25, 0.625, -0.625]
    scores = {"R20": [70 + x for x in noise], "S+C": [80 + x for x in noise[::-1]], "C": [None] * 5}
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    assert not table.best and answer(table).endswith("of the planned trials C has 0 of 5 finished.")


def test_the_footer_tells_the_methods(complete):
    notes = "\n".join(tables.footer(complete))
    assert (
        "one additive model, variant + seed (10 degrees of freedom), with Dunnett's simultaneous "
        "intervals and p" in notes
    )
    assert (
        "% of the variance; a true difference of " in notes
        and "would show with 80 % power" in notes
    )
    assert "two one-sided tests against ±1 points (margin_pp)" in notes
    assert (
        "Exact sign-flip p, each variant by itself, and the smallest that its seeds can reach: S+C "
        "0.031 (at the least 0.031), C " in notes
    )
    assert (
        "Fewer than five seeds" not in notes
        and "For other test images as well as other seeds" in notes
    )


def test_the_interval_over_images_is_wider_than_over_seeds(complete):
    row = complete.rows[0]
    assert (
        row.images.mean == pytest.approx(row.score.mean)
        and row.images.high - row.images.low > row.score.high - row.score.low
    )
    grid = trials.images(complete)
    assert len(grid.lines) == 12 and grid.headers[2] == "only R20 right"
    line = next(x for x in grid.lines if x[:2] == ["S+C", "0"])
    a, b = (correct(next(r for r in complete.rows[i].records if r.seed == 0)) for i in (0, 1))
    assert [int(line[2]), int(line[3])] == [int((a & ~b).sum()), int((b & ~a).sum())]


def test_mixed_code_and_devices_are_said(make, tmp_path):
    sweep = make(seeds=2)
    store = fill(
        Store(tmp_path / "runs"), sweep, {"R20": [70, 71.25], "S+C": [70, 71.25], "C": [70, 71.25]}
    )
    trial = sweep.trials[0]
    other = EVIDENCE | {"commit": "beef", "device": "NVIDIA T4"}
    records.overwrite(store, replace(store.record(trial.id), provenance=other))
    notes = "\n".join(tables.footer(tables.read(sweep, store)))
    assert (
        "These trials were not all run on the same code and devices: part of a difference may be "
        "due to that." in notes
    )


def test_seeds_that_came_to_one_accuracy_are_explained(make, tmp_path):
    scores = {"R20": [70, 70], "S+C": [70, 71.25], "C": [60, 61.25]}
    sweep = make(seeds=2)
    table = tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))
    said = [line for line in tables.footer(table) if "± 0.00" in line]
    assert said == ["R20: 112 of 160 test images right in each of 2 seeds, hence ± 0.00."]


def test_mixed_numbers_of_threads_are_said_of_a_cpu_alone(make, tmp_path):
    sweep = make(seeds=2)
    scores = {"R20": [70, 71.25], "S+C": [70, 71.25], "C": [70, 71.25]}
    store = fill(Store(tmp_path / "runs"), sweep, scores)
    said = "not all run on the same number of threads"
    for device, expected in (("CPU (test)", True), ("NVIDIA T4", False)):
        for i, trial in enumerate(sweep.trials):
            evidence = EVIDENCE | {"device": device, "threads": 1 + i % 2}
            records.overwrite(store, replace(store.record(trial.id), provenance=evidence))
        assert (said in "\n".join(tables.footer(tables.read(sweep, store)))) == expected


class TestAgainstThePaper:
    """The printed figure against the interval and the protocol that the trials really had."""

    def verdicts(self, make, tmp_path, top1, evidence=None, **base):
        base = {
            "backbone": "resnet50",
            "dataset": "cifar100",
            "recipe": "paper",
            "epochs": 200,
            "batch_size": 128,
            "val_fraction": 0,
        } | base
        sweep = make(base=base, variants={"R20": {}, "S+C": {"conv": "scconv"}}, seeds=len(top1))
        paper = EVIDENCE | {"train_images": 50_000, "val_images": 0} | (evidence or {})
        table = tables.read(
            sweep,
            fill(
                Store(tmp_path / "runs"),
                sweep,
                {"R20": [78.6 + x for x in (-0.2, 0.1, 0.2)], "S+C": top1},
                paper,
            ),
        )
        return table, table.rows[1].against_paper

    def test_reproduced(self, make, tmp_path):
        table, verdict = self.verdicts(make, tmp_path, [79.8, 79.9, 80.0])
        assert verdict[0] == "reproduced" and table.rows[0].against_paper[0] == "underpowered"
        assert (
            "reproduced" in report.text(table)
            and "Against the paper, S+C: reproduced: printed 79.89, interval 79.65 to 80.15."
            in report.text(table)
        )

    def test_a_planted_mismatch_differs(self, make, tmp_path):
        assert self.verdicts(make, tmp_path, [78.8, 78.9, 79.0])[1] == (
            "differs",
            "printed 79.89, interval 78.65 to 79.15",
        )

    def test_too_wide_an_interval_is_underpowered(self, make, tmp_path):
        assert self.verdicts(make, tmp_path, [79.0, 80.0, 81.0])[1][0] == "underpowered"
        assert self.verdicts(make, tmp_path / "one", [79.89])[1] == ("underpowered", "one seed")

    @pytest.mark.parametrize(
        "base, evidence, why",
        [
            ({"epochs": 100}, {}, "epochs 100, not 200"),
            ({"val_fraction": 0.1}, {"train_images": 45_000}, "45,000 training images, not 50,000"),
            (
                {"lr": 0.1, "weight_decay": 1e-4},
                {},
                "lr 0.1, not 0.05; weight_decay 0.0001, not 0.0005",
            ),
            ({"dataset": "cifar10"}, {}, "dataset cifar10, not cifar100"),
            ({"backbone": "resnet18"}, {}, "backbone resnet18, not resnet50"),
        ],
    )
    def test_another_protocol_is_named(self, make, tmp_path, base, evidence, why):
        assert self.verdicts(make, tmp_path, [79.8, 79.9, 80.0], evidence, **base)[1] == (
            "other protocol",
            why,
        )


def test_the_papers_rows_stand_beside(screened):
    assert (
        screened.rows[0].printed.top1,
        screened.rows[1].printed.top1,
        screened.rows[1].printed.flops_m,
    ) == (78.60, 79.89, 843.81)
    beside = tables.paper(screened)
    row = dict(zip(beside.headers, beside.lines[1], strict=True))
    assert (row["paper top-1"], row["paper Δ"], row["Δ R20"], row["against the paper"]) == (
        "79.89",
        "+1.29",
        "+1.33",
        "other protocol",
    )
    with pytest.raises(ValueError, match="unknown reference 'table9'"):
        reference.load(replace(screened.sweep, reference="table9"))


def test_a_table_of_several_networks_is_joined_by_backbone_and_data_set():
    sweep = load(ROOT / "sweeps/table2-r56.yaml")
    found = reference.load(sweep)
    assert found.title.endswith("Table 2: resnet56, CIFAR-100, 200 epochs, median of several runs")
    assert {v: p.top1 for v, p in found.rows.items()} == {
        "R56": 71.50, "Octave": 70.93, "SP": 71.51, "Ghost": 70.42, "Slim": 71.71, "Tied": 71.10, "SCConv": 72.56
    }  # fmt: skip
    assert (
        reference.load(load(ROOT / "sweeps/table2-r56.yaml", ["base.dataset=cifar10"]))
        .rows["SCConv"]
        .top1
        == 94.12
    )
    with pytest.raises(
        ValueError, match="table2 has no rows of resnet18; it has resnet56, resnet50, "
    ):
        reference.load(load(ROOT / "sweeps/table2-r56.yaml", ["base.backbone=resnet18"]))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sweeps").glob("table*.yaml")), ids=lambda p: p.stem
)
def test_every_sweep_of_a_table_has_a_variant_for_every_printed_row(path):
    sweep = load(path)
    assert {*reference.load(sweep).rows} <= {*sweep.variants} and len(
        {v[:10] for v in sweep.variants}
    ) == len(sweep.variants)


@pytest.mark.slow
def test_trends_and_factors_are_told(make, tmp_path):
    base = {"base": {"conv": "scconv"}, "variants": {"R20": {"conv": "standard"}}}
    one = make(factors={"options.alpha": [0.25, 0.5, 0.75]}, **base)
    noise = {0.25: 0.1, 0.5: 0, 0.75: 0}
    scores = {
        f"alpha={a}": [60 + 10 * a, 61.25 + 10 * a, 60.625 + 10 * a + e] for a, e in noise.items()
    }
    lines = factors.sentences(
        tables.read(one, fill(Store(tmp_path / "a"), one, scores | {"R20": [70.0, 71.25, 70.625]}))
    )
    assert (
        lines[0].startswith("Linear trend: +9.9")
        and "points per unit of alpha (95 %" in lines[0]
        and lines[1].startswith("Quadratic trend: ")
    )
    two = make(factors={"options.alpha": [0.25, 0.5], "options.gate": ["hard", "soft"]}, **base)
    scores = {v: [60 + 5 * ("soft" in v) + 0.1 * i, 60.5, 61] for i, v in enumerate(two.cells)}
    table = tables.read(
        two, fill(Store(tmp_path / "b"), two, scores | {"R20": [70.0, 71.25, 70.625]})
    )
    lines = factors.sentences(table)
    effects = factors.factors(table).lines
    assert [e[:2] for e in effects[:4]] == [
        ["alpha", "alpha=0.25"],
        ["alpha", "alpha=0.5"],
        ["gate", "gate=hard"],
        ["gate", "gate=soft"],
    ]
    assert (
        len(effects) == 8
        and "Main effects and interactions" in report.write(table, tmp_path / "out")[0].read_text()
    )
    assert [line.split(":")[0] for line in lines] == [
        "alpha",
        "gate",
        "alpha x gate",
    ] and "largest: gate=" in lines[1]


def test_csv_has_the_trials_behind_every_row(screened):
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(screened))))
    assert [line["variant"] for line in lines] == ["R20", "S+C", "C"]
    assert lines[0]["trials"].split() == [t.id for t in screened.sweep.trials if t.variant == "R20"]
    assert (
        float(lines[1]["difference_mean"]) == pytest.approx(4 / 3, rel=1e-5)
        and lines[0]["difference_mean"] == ""
    )
    assert lines[2]["against_paper"] == "other protocol" and float(
        lines[0]["top1_images_low"]
    ) < float(lines[0]["top1_low"])


class _Page(HTMLParser):
    """Every tag closed in its order, and whatever a page could fetch."""

    VOID = ("meta", "br", "img", "path", "use", "rect", "stop")

    def __init__(self):
        super().__init__()
        self.open, self.links, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [
            v
            for k, v in attrs
            if k in ("src", "href", "xlink:href") and v and not v.startswith("#")
        ]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.slow
def test_the_page_opens_offline_and_says_everything(complete, screened, tmp_path):
    files = report.write(complete, tmp_path / "out", all_pairs=True)
    assert files[0].name == "report.html"
    page = _Page()
    page.feed(files[0].read_text())
    assert not page.open and not page.links
    for part in (
        complete.sweep.question,
        "S+C (+5.00) is better than R20",
        "All pairs",
        "Cost",
        "McNemar p",
        "c0ffee",
        "question: Does it work?",
    ):
        assert part in page.text, part
    # forest, trade-off, curves, and every pair
    assert files[0].read_text().count("<svg") == 4 and "trials have finished" not in page.text
    page = _Page()
    page.feed(report.write(screened, tmp_path / "partial")[0].read_text())
    assert "8 of 9 trials have finished. C: 1 diverged (the loss was nan)." in page.text


@pytest.mark.slow
def test_names_that_html_would_read_are_escaped(make, tmp_path):
    sweep = make(variants={"R20": {}, "<b>&S": {"conv": "scconv"}}, question="Is <a> & b > c?")
    table = tables.read(
        sweep,
        fill(
            Store(tmp_path / "runs"), sweep, {"R20": [70, 71.25, 70], "<b>&S": [70, 71.25, 71.25]}
        ),
    )
    text = report.write(table, tmp_path / "out")[0].read_text()
    assert "<b>" not in text and "&lt;b&gt;&amp;S" in text and "Is &lt;a&gt; &amp; b" in text


@pytest.mark.slow
def test_the_command_writes_tables_figures_and_a_page(screened, tmp_path, capsys):
    out, storage, path = tmp_path / "out", str(tmp_path / "runs"), screened.sweep.path
    assert report.main([path, "--storage", storage, "--out", str(out), "--pairs"]) == 0
    names = {p.name for p in out.iterdir()}
    assert names == {
        ".figures.json",
        "report.html",
        "table.md",
        "table.csv",
        "table.tex",
        "curves.svg",
        "curves.png",
        "forest.svg",
        "forest.png",
        "pairs.svg",
        "pairs.png",
        "tradeoff.svg",
        "tradeoff.png",
    }
    said = capsys.readouterr().out
    assert (
        all(p.stat().st_size > 500 for p in out.iterdir())
        and "Does it work?" in said
        and "| S+C - R20" in said
    )
    assert report.main([str(tmp_path / "none.yaml")]) == 2


@pytest.mark.slow
def test_several_sweeps_make_one_page(make, tmp_path, capsys):
    for name in ("one", "two"):
        sweep = make(name=name, question=f"Is {name} right?")
        fill(Store(tmp_path / "runs"), sweep, SCREENED)
    paths = [str(tmp_path / f"{name}.yaml") for name in ("one", "two")]
    assert (
        report.main([*paths, "--storage", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
        == 0
    )
    page = _Page()
    page.feed((tmp_path / "out/one+two.html").read_text())
    assert (
        not page.open
        and "2 questions" in page.text
        and "Is one right?" in page.text
        and "Is two right?" in page.text
    )
    assert (tmp_path / "out/two/table.csv").exists()


def test_from_a_row_to_its_trials_by_one_command(screened, tmp_path, capsys):
    arguments = [screened.sweep.path, "--storage", str(tmp_path / "runs")]
    assert report.main([*arguments, "--trials", "S+C"]) == 0
    out = capsys.readouterr().out
    for trial in screened.sweep.trials:
        assert (trial.id in out) == (trial.variant == "S+C")
    assert (
        "c0ffee" in out
        and "CPU (test)" in out
        and str(tmp_path / "runs/trials") in out
        and " d1 |" in out
    )
    assert report.main([*arguments, "--trials", "S"]) == 2
    assert "no variant is called 'S'; there are R20, S+C, C" in capsys.readouterr().err


@pytest.mark.slow
def test_verify_names_what_differs(screened, tmp_path, capsys):
    arguments = [
        screened.sweep.path,
        "--storage",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert report.main([*arguments, "--verify"]) == 2  # nothing stored yet
    assert report.main(arguments) == 0 and report.main([*arguments, "--verify"]) == 0
    assert "the stored report agrees with the trials" in capsys.readouterr().out
    store, trial = Store(tmp_path / "runs"), screened.sweep.trials[0]
    record = store.record(trial.id)
    scores, correct = (
        record.result.scores | {"top1": 69.0},
        bits(69.0, record.provenance["test_images"]),
    )
    records.overwrite(
        store, replace(record, result=replace(record.result, scores=scores, correct=correct))
    )
    assert report.main([*arguments, "--verify"]) == 1
    out = capsys.readouterr().out
    assert (
        "tiny: R20, top1_mean: stored 71, by the trials 70.6667" in out
        and "S+C, difference_mean" in out
        and "C, top1_mean" not in out
    )
    assert report.main(arguments) == 0
    (tmp_path / "out/table.md").write_text("nothing")
    assert (
        report.main([*arguments, "--verify"]) == 1
        and "tiny: table.md: differs" in capsys.readouterr().out
    )


def test_sweeps_of_one_name_are_not_reported_together(screened, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tiny.yaml").write_text(Path(screened.sweep.path).read_text())
    assert (
        report.main(
            [
                screened.sweep.path,
                str(tmp_path / "other/tiny.yaml"),
                "--storage",
                str(tmp_path / "runs"),
            ]
        )
        == 2
    )
    assert "two of these sweeps are called tiny" in capsys.readouterr().err


def test_a_damaged_record_is_refused_in_one_line(screened, tmp_path, capsys):
    store, trial = Store(tmp_path / "runs"), screened.sweep.trials[0]
    path = store.folder(trial.id) / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"dirty"', b'"other"'))
    assert report.main([screened.sweep.path, "--storage", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert f"{path}: this record is damaged: its checksum is wrong; restore it" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_names_that_matplotlib_would_read_are_drawn(make, tmp_path):
    sweep = make(
        variants={
            "R20": {},
            "$x_$": {"conv": "scconv"},
            "_S": {"conv": "scconv", "options": {"order": ["sru"]}},
        }
    )
    table = tables.read(
        sweep,
        fill(Store(tmp_path / "runs"), sweep, {v: [70, 71.25, 70.625] for v in sweep.variants}),
    )
    report.write(table, tmp_path / "out")
    legend = figures.curves(table).axes[0].get_legend()
    assert [t.get_text().strip() for t in legend.get_texts()] == [
        "R20 (n=3)",
        "$x_$ (n=3)",
        "_S (n=3)",
    ]


def test_nothing_finished_yet_is_a_table_of_dashes(make, tmp_path):
    table = tables.read(make(), Store(tmp_path / "empty"))
    assert "0 of 9 trials finished" in report.text(
        table
    ) and "There is no answer yet" in report.text(table)
    assert {p.name for p in report.write(table, tmp_path / "out")} == {
        "report.html",
        "table.md",
        "table.csv",
        "table.tex",
    }


def test_the_pareto_front():
    places = {
        "a": (1.0, 70.0),
        "b": (2.0, 72.0),
        "c": (3.0, 71.0),
        "d": (2.0, 71.0),
        "e": (4.0, 75.0),
    }
    assert figures.pareto(places) == ["a", "b", "e"]
    assert figures.pareto(places, less_is_better=False) == ["e"]


@pytest.mark.parametrize("x", figures.AXES)
def test_accuracy_is_drawn_against_every_cost(x, complete, tmp_path):
    figure = figures.tradeoff(complete, x)
    labels = [t.get_text() for t in figure.axes[0].texts]
    assert {"R20", "S+C", "C"} <= {*labels} and figure.axes[0].get_xlabel() == figures.AXES[x][0]
    assert (tmp_path / "f.svg").exists() == (figures.save(figure, tmp_path / "f") == [])
