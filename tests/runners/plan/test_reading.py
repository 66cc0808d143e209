"""YAML without surprises, and messages that name the place, the line and the way out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.errors import SweepError
from runners.plan import load, reading

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(
            min_codepoint=32, max_codepoint=0x24F, exclude_characters=[*map(chr, range(0x7F, 0xA0))]
        )
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc no1", min_size=1), inner)
    ),
    max_leaves=12,
)
HEAD = "question: q\nbaseline: A\nbase: {backbone: resnet20, dataset: digits}\nvariants: {A: {}}\n"


def value(text: str):
    return reading._Builder().load(text)


@given(PLAIN)
def test_json_is_read_as_what_it_says(content):
    """JSON is YAML 1.2; 1.1 reads some of it otherwise."""
    assert value(json.dumps(content, ensure_ascii=False)) == content


@pytest.mark.parametrize(
    "text, meant",
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("1e-1", 0.1),
        ("1.e2", 100.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1:30", "1:30"),
        ("0o10", 8),
        ("0x10", 16),
        ("1_000", 1000),
        ("2026-01-01", "2026-01-01"),
        ("0.10", 0.1),
        ("'010'", "010"),
        ("~", None),
        ("", None),
        ("!!str 5", "5"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, meant):
    found = value(text)
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize("text", ["010", "-007", "01_0", "00"])
def test_a_leading_zero_is_refused_since_it_has_two_meanings(text):
    with pytest.raises(SweepError, match=r"line 1: .* without the leading zero, or in quotes"):
        value(f"a: {text}")


@pytest.mark.parametrize(
    "text, meant",
    [
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"x": 1, "y": 3}),
        ("a: &a {x: 1}\nb: {y: 3, <<: *a, x: 2}", {"x": 2, "y": 3}),
        ("a: &a {x: 1, y: 1}\nc: &c {y: 2}\nb: {<<: [*c, *a]}", {"x": 1, "y": 2}),
        ("a: &a {<<: &i {x: 1, y: 1}, y: 2}\nb: {<<: *a, z: 3}", {"x": 1, "y": 2, "z": 3}),
        ("b: {<<: &i {<<: {x: 1}, x: 2}}", {"x": 2}),
        ("a: &a {o: {k: 1}}\nb: {<<: *a, o: {m: 2}}", {"o": {"m": 2}}),
    ],
)
def test_a_key_may_override_a_merged_one(text, meant):
    assert value(text)["b"] == meant


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: 'c' stands twice in one mapping"),
        ("a: &a {x: 1}\nb: {<<: *a, x: 1, x: 2}", "line 2: 'x' stands twice"),
        ("b: {<<: 3}", "line 1: '<<' takes a mapping"),
        ("a: &a [1, *a]", "line 1: an alias is inside what it stands for"),
        ("a: &a {b: *a}", "line 1: an alias is inside what it stands for"),
        ("a: !!timestamp 2026-01-01", "line 1: not valid YAML: could not determine a constructor"),
        ("a: !!int many", "line 1: 'many' is not of the kind"),
        ("a: " + 500 * "9", "line 1: a number of 500 digits"),
        ("question: is it: true", "put a text that has a colon in quotes"),
        ("[" * 5000, "nested too deeply|not valid YAML"),
    ],
)
def test_surprises_are_refused(text, message):
    with pytest.raises(SweepError, match=message):
        value(text)


def test_aliases_cannot_multiply_without_bound():
    """Nine lists of nine aliases each would be 9 ** 9 values."""
    lines = ["l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(SweepError, match="the file has more than 200,000 values"):
        value("\n".join(lines))


MESSAGES = {
    "an item of a list": ("seeds: [0, -1]", "line 5: seeds.1: must be at least 0, got -1"),
    "neither branch": (
        "seeds: many",
        "line 5: seeds: must be a whole number, a list or a mapping, got 'many'",
    ),
    "a nested key": ("resources: {gpus: 1}", "line 5: resources: unknown key 'gpus'"),
    "a nested value": ("limits:\n  hours: -1", "line 6: limits.hours: must be above 0, got -1"),
    "a report": ("report: [cost, pie]", "line 5: report.1: must be 'comparison'"),
    "epochs for fractions": (
        "factors: {milestones: [[60, 120, 160]]}",
        "it is a fraction of the epochs: 60 of 200 is 0.3",
    ),
    "a warm-up in epochs": ("factors: {warmup: [5]}", "it is a fraction of the epochs: 5 of 200"),
    "a parameter's key": (
        "search:\n  mode: tune\n  trials: 2\n  space:\n    lr: {min: 0.1, high: 1}",
        "line 9: search.space.lr: unknown key 'min': did you mean 'low'?",
    ),
    "a parameter's value": (
        "search: {mode: tune, trials: 2, space: {lr: {low: x, high: 1}}}",
        "line 5: search.space.lr.low: must be a number, got 'x'",
    ),
    "a key of the search": (
        "search: {mode: tune, trials: 2, space: {lr: [1]}, pruner: asha}",
        "line 5: search: unknown key 'pruner'; for 'pruner' write stop",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_message_has_line_place_rule_and_value(case, tmp_path):
    text, message = MESSAGES[case]
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + text + "\n")
    with pytest.raises(SweepError) as error:
        load(path)
    assert message in str(error.value) and str(error.value).startswith(f"{path}: ")


def test_an_overridden_place_has_no_line_of_the_file(tmp_path):
    (tmp_path / "x.yaml").write_text(HEAD)
    with pytest.raises(SweepError) as error:
        load(tmp_path / "x.yaml", ["base.lr=-1"])
    assert str(error.value) == f"{tmp_path / 'x.yaml'}: base.lr: must be above 0, got -1"


FOREIGN = {
    "W&B": (
        "program: train.py\nmethod: bayes\nmetric: {name: acc, goal: maximize}\n"
        "parameters: {lr: {min: 0.1, max: 1}}\n",
        ["for 'method' write factors", "for 'parameters' write factors"],
    ),
    "Determined": (
        "name: cifar\nhyperparameters: {lr: {type: log}}\nsearcher: {name: adaptive_asha}\n"
        "entrypoint: model_def:Trial\n",
        ["for 'hyperparameters' write base", "for 'searcher' write search"],
    ),
    "Hydra": ("defaults: [_self_]\nhydra: {sweeper: {}}\n", ["for 'hydra' write factors"]),
    "pycls": (
        "MODEL: {TYPE: resnet, DEPTH: 20}\nOPTIM: {BASE_LR: 0.1, MAX_EPOCH: 200}\nOUT_DIR: /tmp\n",
        [
            "for 'MODEL' write base.backbone",
            "for 'OPTIM' write base.lr",
            "'OUT_DIR' write --storage",
        ],
    ),
}


@pytest.mark.parametrize("tool", FOREIGN)
def test_a_file_for_another_tool_gets_our_keys(tool, tmp_path):
    text, ways = FOREIGN[tool]
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SweepError) as error:
        load(tmp_path / "x.yaml")
    assert all(way in str(error.value) for way in ways)


@pytest.mark.parametrize(
    "key, ours",
    [
        ("learning_rate", "lr"),
        ("max_epochs", "epochs"),
        ("wd", "weight_decay"),
        ("arch", "backbone"),
        ("lr_scheduler", "schedule"),
        ("bs", "batch_size"),
        ("label_smooth", "label_smoothing"),
    ],
)
def test_another_name_of_a_setting_is_answered_by_ours(key, ours, write_sweep):
    with pytest.raises(SweepError, match=f"base: unknown key '{key}': did you mean '{ours}'"):
        load(write_sweep(base={key: 1}))


def test_an_option_among_the_settings_is_answered_by_its_place(write_sweep):
    with pytest.raises(SweepError, match=r"unknown key 'alpha'; for 'alpha' write options\.alpha"):
        load(write_sweep(variants={"R20": {}, "S+C": {"conv": "scconv", "alpha": 0.25}}))


@pytest.mark.parametrize(
    "text, way",
    [
        ("choice(0.1, 0.2)", r"write the choices as a list: \[0.1, 0.2\]"),
        ("interval(0.1, 0.2)", "write {low: ..., high: ...}"),
        ("log_uniform(0.1, 0.2)", "log: true"),
    ],
)
def test_an_expression_of_another_tool_is_answered(text, way, write_sweep):
    search = {"mode": "tune", "trials": 2, "space": {"lr": text}}
    with pytest.raises(SweepError, match=way):
        load(write_sweep(search=search))


HUGE = {
    "seeds": {"seeds": 1_000_000_000},
    "many seeds": {"seeds": 10_000_000},
    "a grid": {"factors": {f"options.o{i}": [*range(1000)] for i in range(3)}},
    "a smaller grid": {"factors": {"lr": [i + 1 for i in range(400)], "epochs": [*range(1, 301)]}},
}


@pytest.mark.parametrize("case", HUGE)
def test_a_hostile_size_is_counted_before_anything_is_built(case, write_sweep, monkeypatch):
    monkeypatch.setattr("runners.plan.space.grid", lambda factors: pytest.fail("it was built"))
    with pytest.raises(SweepError, match=r"at most 100,000.*(fewer|search)"):
        load(write_sweep(**HUGE[case]))


def test_a_hostile_number_of_seeds_on_the_command_line_is_refused(write_sweep):
    with pytest.raises(SweepError, match="at most 100,000"):
        load(write_sweep(), seeds=10**9)


def test_an_endless_range_has_no_list_of_values(write_sweep):
    space = {"lr": {"low": 1e-9, "high": 1e300, "step": 1e-9}}
    search = {"mode": "tune", "trials": 2, "space": space, "sampler": "grid"}
    with pytest.raises(SweepError, match=r"search\.(sampler|space)"):
        load(write_sweep(search=search))
