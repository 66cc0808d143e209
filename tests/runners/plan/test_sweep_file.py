"""Sweep files: what they mean, what a trial's identity is, and one clear line for whatever is
wrong.
"""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runners.errors import SweepError
from runners.plan import Config, Trial, load
from runners.plan.kinds import CONV
from runners.sweep import main

ROOT = Path(__file__).parents[3]


def test_seeds_are_outermost(write_sweep):
    assert [(t.variant, t.seed) for t in load(write_sweep()).trials] == [
        ("R20", 0),
        ("S+C", 0),
        ("R20", 1),
        ("S+C", 1),
    ]


def test_factors_are_a_full_grid_beside_the_variants(write_sweep):
    sweep = load(
        write_sweep(
            base={"conv": "scconv", "options": {"groups": 2}},
            variants={"R20": {"conv": "standard"}},
            factors={"options.alpha": [0.25, 0.5], "lr": [0.1, 0.01]},
        )
    )
    assert list(sweep.variants) == [
        "R20",
        "alpha=0.25,lr=0.1",
        "alpha=0.25,lr=0.01",
        "alpha=0.5,lr=0.1",
        "alpha=0.5,lr=0.01",
    ]
    assert (
        sweep.variants["R20"].options == {}
    )  # a variant with its own convolution does not inherit another one's options
    assert (
        sweep.variants["alpha=0.25,lr=0.01"].options == {"alpha": 0.25}
        and sweep.variants["alpha=0.25,lr=0.01"].lr == 0.01
    )
    assert sweep.variants["alpha=0.5,lr=0.1"].options == {} and load(
        write_sweep(
            base={"conv": "scconv", "options": {"gate": "soft"}},
            variants={"A": {"options": {"alpha": 0.25}}},
            baseline="A",
        )
    ).variants["A"].options == {"alpha": 0.25, "gate": "soft"}
    assert sweep.varying()["alpha=0.5,lr=0.1"] == {"conv": "scconv", "lr": 0.1, "alpha": 0.5}


def test_the_cells_of_a_grid_are_known_by_their_levels(write_sweep):
    base = {"conv": "scconv", "backbone": "resnet20"}
    factors = {"options.order": [["sru"], ["cru", "sru"]], "options.alpha": [0.25, 0.5]}
    sweep = load(write_sweep(base=base, variants={"R20": {"conv": "standard"}}, factors=factors))
    assert [*sweep.cells.values()] == [
        ("sru", 0.25),
        ("sru", 0.5),
        ("cru+sru", 0.25),
        ("cru+sru", 0.5),
    ]
    assert {*sweep.cells} == {*sweep.variants} - {"R20"}


def test_results_of_an_overridden_sweep_have_a_name_of_their_own(write_sweep):
    path = write_sweep()
    assert load(path).label == "tiny" == load(path, ["resources.gpu=0"]).label
    assert (
        load(path, ["base.epochs=3"]).label.startswith("tiny-")
        and load(path, seeds=1).label != load(path, only=["R20"]).label
    )


def test_merge_keys_are_yaml_too(tmp_path):
    text = "question: q\nbaseline: A\nbase: &b {backbone: resnet20, dataset: digits}\nvariants:\n  A: {<<: *b}\n  B: {<<: *b, lr: 0.2}\n"
    (tmp_path / "m.yaml").write_text(text)
    assert load(tmp_path / "m.yaml").variants["B"].lr == 0.2


def test_overrides(write_sweep):
    sweep = load(
        write_sweep(),
        ["base.epochs=3", "variants.S+C.options={alpha: 0.25}"],
        seeds=1,
        only=["S+C"],
    )
    assert sweep.variants == {
        "S+C": replace(sweep.variants["S+C"], epochs=3, options={"alpha": 0.25})
    }
    assert len(sweep.trials) == 1


def test_recipe_is_the_papers_unless_said():
    config = load(ROOT / "sweeps/order.yaml").variants["R50"]
    assert (config.epochs, config.lr, config.momentum, config.weight_decay, config.batch_size) == (
        200,
        0.05,
        0.9,
        5e-4,
        128,
    )
    assert config.schedule == "step" and config.milestones == (0.5, 0.75)


def test_identity_is_what_changes_the_numbers(write_sweep):
    sweep = load(write_sweep())
    trial = next(t for t in sweep.trials if t.variant == "S+C")
    assert trial.id == replace(trial, sweep="other", variant="renamed").id
    assert trial.id != replace(trial, seed=5).id
    assert trial.id != replace(trial, config=replace(trial.config, lr=0.2)).id
    spelled_out = load(
        write_sweep(
            variants={
                "R20": {},
                "S+C": {"conv": "scconv", "options": {"alpha": "5e-1", "order": ["sru", "cru"]}},
            }
        )
    )
    assert next(t for t in spelled_out.trials if t.variant == "S+C").id == trial.id


def test_a_field_added_later_stays_out_of_the_id():
    """Ids that were once given out; if one changes, every finished trial of every user is trained
    again.
    """
    assert Trial("x", "y", Config("resnet20", "digits"), 0).id == "895ff3b98968183b"
    assert (
        Trial(
            "x", "y", Config("resnet50", "cifar100", "scconv", options={"alpha": 0.25}, epochs=3), 4
        ).id
        == "03ee422c1f15c999"
    )


def test_a_convolutions_own_file_is_part_of_its_identity(write_sweep, tmp_path):
    path = write_sweep(variants={"R20": {}, "mine": {"conv": "mine"}})
    (tmp_path / "mine.py").write_text("def drop_in(conv, *, k=3):\n    return conv\n")
    first = load(path)
    assert first.lookup.user_file(CONV, "mine").path == str(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("def drop_in(conv, *, k=5):\n    return conv\n")
    assert (
        first.trials[1].id != load(path).trials[1].id
        and first.trials[0].id == load(path).trials[0].id
    )


BASE = {"backbone": "resnet20", "dataset": "synthetic"}
MALFORMED = {
    "unknown key": ({"base": {"epoch": 3}}, "base: unknown key 'epoch': did you mean 'epochs'?"),
    "unknown top-level key": ({"seed": 3}, "unknown key 'seed': did you mean 'seeds'?"),
    "unknown key of a variant": (
        {"variants": {"R20": {"convs": "ghost"}}},
        "variants.R20: unknown key 'convs': did you mean 'conv'?",
    ),
    "unknown resource": (
        {"resources": {"gpus": 1}},
        "resources: unknown key 'gpus': did you mean 'gpu'?",
    ),
    "wrong type": ({"base": {"epochs": "many"}}, "base.epochs: must be a whole number"),
    "fraction of an epoch": (
        {"base": {"epochs": 12.5}},
        "base.epochs: must be a whole number, got 12.5",
    ),
    "out of range": ({"base": {"lr": -1}}, "base.lr: must be above 0, got -1"),
    "unknown choice": (
        {"base": {"schedule": "stairs"}},
        "base.schedule: must be 'step', 'cosine', 'constant' or 'wsd', got 'stairs'",
    ),
    "unknown recipe": (
        {"base": {"recipe": "papr"}},
        "base.recipe: unknown recipe 'papr': did you mean 'paper'?",
    ),
    "unknown variant as baseline": (
        {"baseline": "R21"},
        "baseline: no variant is called 'R21': did you mean 'R20'?",
    ),
    "no question": ({"question": None}, "'question' is missing"),
    "no variants": ({"variants": {}}, "variants: at least one is needed"),
    "a variant that is no mapping": (
        {"variants": {"R20": 3}},
        "variants.R20: must be a mapping, got 3",
    ),
    "the same configuration twice": (
        {
            "variants": {
                "R20": {},
                "A": {"conv": "scconv"},
                "B": {"conv": "scconv", "options": {"alpha": 0.5}},
            }
        },
        "variants: 'A' and 'B' are the same configuration",
    ),
    "options that would apply to none": (
        {"base": {"options": {"alpha": 0.25}}, "variants": {"R20": {"conv": "scconv"}}},
        "base.options: no variant has base's convolution",
    ),
    "options that are no mapping": (
        {"variants": {"R20": {"options": [1]}}},
        "variants.R20.options: must be a mapping",
    ),
    "a recipe that is no name": (
        {"base": {"recipe": ["paper"]}},
        "base.recipe: unknown recipe ['paper']",
    ),
    "an infinite rate": (
        {"base": {"lr": float("inf")}},
        "base.lr: must be a finite number, got inf",
    ),
    "true for a number": (
        {"base": {"epochs": True}},
        "base.epochs: must be a whole number, got True",
    ),
    "no seeds": ({"seeds": 0}, "seeds: must be at least 1, got 0"),
    "a seed twice": ({"seeds": [1, 1]}, "seeds: each must occur once, got [1, 1]"),
    "unknown convolution": (
        {"variants": {"R20": {"conv": "standrad"}}},
        "variants.R20.conv: unknown conv 'standrad': did you mean 'standard'?",
    ),
    "unknown option": (
        {"variants": {"R20": {"conv": "scconv", "options": {"alhpa": 0.5}}}},
        "variants.R20.options: conv 'scconv' has no option 'alhpa': did you mean 'alpha'?",
    ),
    "an option where there are none": (
        {"variants": {"R20": {"options": {"alpha": 0.5}}}},
        "conv 'standard' has no option 'alpha': it takes none; set conv to one that takes options",
    ),
    "option of a wrong type": (
        {"variants": {"R20": {"conv": "scconv", "options": {"alpha": "half"}}}},
        "alpha: must be a number, got 'half'",
    ),
    "a name with a path in it": (
        {"variants": {"../R20": {}}},
        "a name is at most 60 printable characters without '/'",
    ),
    "a name with a new line": (
        {"variants": {"R\n20": {}}},
        "a name is at most 60 printable characters",
    ),
    "a factor without values": (
        {"factors": {"lr": []}},
        "factors.lr: must have at least 1 value, got []",
    ),
    "unknown report": (
        {"report": ["figures"]},
        "report.0: must be 'comparison', 'conditions', 'classes', 'curves', 'cost' or 'tradeoff', got 'figures'",
    ),
}
TEXTS = {
    "empty file": ("", "but it is empty"),
    "a list": ("- a\n- b\n", "but it holds a list"),
    "text": ("hello\n", "but it holds a str"),
    "not YAML": ("a: [1, 2\nb: }", "line 2: not valid YAML"),
    "duplicate variants": (
        "variants:\n  A: {}\n  A: {lr: 1}\n",
        "line 3: 'A' stands twice in one mapping",
    ),
    "a key that YAML reads as false": (
        "variants:\n  false: {}\n",
        "line 2: a key must be text, got False; put it in quotes",
    ),
    "an unhashable key": ("? [a]\n: 1\n", "line 1: a key must be text"),
    "a tag that would run code": (
        "a: !!python/object/apply:os.system [ls]\n",
        "line 1: not valid YAML: could not determine a constructor",
    ),
    "binary": ("\x00\x01", "not valid YAML"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_sweep(case, write_sweep, capsys):
    changes, message = MALFORMED[case]
    path = write_sweep(**changes)
    assert_refused(path, message, capsys)


def assert_refused(path: Path, message: str, capsys) -> None:
    """By the real command: exit status 2, and one line that names the file."""
    assert main([str(path)]) == 2
    said = capsys.readouterr()
    assert (
        said.err.startswith(f"{path}: ")
        and message in said.err
        and said.err.count("\n") == 1
        and not said.out
    )


@pytest.mark.parametrize("case", TEXTS)
def test_malformed_text(case, tmp_path, capsys):
    text, message = TEXTS[case]
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert_refused(path, message, capsys)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sets": ["base.epochs"]}, "--set takes place=value"),
        ({"sets": ["question.x=1"]}, "--set question.x: 'question' is not a mapping"),
        ({"sets": ["base.lr={"]}, "--set base.lr: not a YAML value"),
        ({"sets": ["base.lr= "]}, "--set base.lr: has no value; give one, or null for none"),
        ({"only": ["S"]}, "--only: no variant is called 'S'"),
        ({"seeds": 0}, "seeds: must be at least 1"),
    ],
)
def test_malformed_overrides(arguments, message, write_sweep):
    with pytest.raises(SweepError, match=message):
        load(write_sweep(), **arguments)


def test_no_such_file(tmp_path):
    with pytest.raises(SweepError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    with pytest.raises(SweepError, match="a sweep's name is its file's"):
        load(tmp_path / "a b.yaml")


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1\n", "must define drop_in"),
        ("def drop_in(conv, *, k=[].append):\n    return conv\n", "must have literal defaults"),
        ("def drop_in(:\n", "not valid Python"),
    ],
)
def test_malformed_convolution(text, message, write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SweepError, match=message):
        load(write_sweep(variants={"R20": {}, "mine": {"conv": "mine"}}))


def test_every_sweep_of_ours_loads():
    names = {path.stem: load(path) for path in ROOT.glob("sweeps/*.yaml")}
    assert {"order", "alpha", "groups", "quickstart", "order-small"} <= set(names)
    assert len(names["order"].trials) == 30 and list(names["order"].variants) == [
        "R50",
        "S",
        "C",
        "C&S",
        "C+S",
        "S+C",
    ]


def test_planning_needs_no_torch():
    code = "import sys, runners.plan as p; p.load('sweeps/order.yaml').trials[0].id; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_planning_is_linear(write_sweep):
    def calls(rates: int) -> int:
        """Of functions, Python's and C's, to plan as many variants with ten seeds each."""
        grid = {"lr": [round(0.0001 * i, 4) for i in range(1, rates + 1)]}
        path = write_sweep(variants=None, factors=grid, baseline="lr=0.0001", seeds=10)
        count = itertools.count()
        sys.setprofile(lambda frame, event, arg: next(count) if "return" not in event else None)
        try:
            ids = {t.id for t in load(path).trials}
        finally:
            sys.setprofile(None)
        assert len(ids) == 10 * rates
        return next(count)

    calls(2)  # what is read once for all plans
    small, large = calls(50), calls(200)
    assert large < 4.2 * small  # four times the trials
