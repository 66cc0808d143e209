"""A search's space as a sweep file writes it: what it spans, and what is refused with one line."""

import pytest

from runners.errors import SweepError
from runners.plan import load, search_key, space

SEARCH = {"mode": "tune", "space": {"lr": {"low": 0.01, "high": 0.1, "log": True}}, "trials": 4}


def parse(**parameters) -> space.Search:
    return search_key.parse(
        {
            "mode": "front",
            "space": {k.replace("__", "."): v for k, v in parameters.items()},
            "trials": 4,
        },
        (0, 1),
    )


def test_choices_steps_and_whole_numbers_are_enumerable_and_a_float_is_not():
    search = parse(
        a=[1, 2],
        b={"low": 0.125, "high": 0.5, "step": 0.125},
        c={"low": 1, "high": 3},
        d={"low": 2, "high": 8, "step": 3},
    )
    assert [p.values for p in search.parameters] == [
        [1, 2],
        [0.125, 0.25, 0.375, 0.5],
        [1, 2, 3],
        [2, 5, 8],
    ]
    assert len(search.cells) == 2 * 4 * 3 * 3
    assert parse(a=[1], lr={"low": 0.1, "high": 0.5}).cells is None
    assert parse(n={"low": 1, "high": 64, "log": True}).parameters[0].values == list(range(1, 65))


def test_a_parameter_with_a_condition_is_there_only_where_it_holds():
    search = parse(
        order=[["sru"], ["cru"], "parallel"],
        alpha={"choices": [0.25, 0.5], "when": {"order": [["cru"], "parallel"]}},
    )
    assert search.cells == [
        {"order": ["sru"]},
        {"order": ["cru"], "alpha": 0.25},
        {"order": ["cru"], "alpha": 0.5},
        {"order": "parallel", "alpha": 0.25},
        {"order": "parallel", "alpha": 0.5},
    ]


def test_the_probes_have_every_choice_and_both_ends():
    search = parse(
        order=[["sru"], ["cru"]],
        alpha={"low": 0.25, "high": 0.75, "when": {"order": [["cru"]]}},
        fine=[1, 2],
    )
    probes = list(search.probes)
    assert ("alpha", {"order": ["cru"], "alpha": 0.75, "fine": 1}) in probes
    assert {
        name: sorted({str(cell[name]) for n, cell in probes if n == name})
        for name in ("order", "alpha", "fine")
    } == {
        "order": ["['cru']", "['sru']"],
        "alpha": ["0.25", "0.75"],
        "fine": ["1", "2"],
    }


MALFORMED = {
    "no range": ({"lr": {}}, "search.space.lr: needs choices, or low and high"),
    "half a range": ({"lr": {"low": 1}}, "search.space.lr: needs choices, or low and high"),
    "both": (
        {"lr": {"choices": [1], "low": 1}},
        "search.space.lr: has choices and a range; keep one",
    ),
    "empty": ({"lr": []}, "search.space.lr.choices: "),
    "twice": ({"lr": [1, 1]}, "search.space.lr: each choice must occur once, got [1, 1]"),
    "upside down": (
        {"lr": {"low": 2, "high": 1}},
        "search.space.lr: low must be below high, got 2 and 1",
    ),
    "log of zero": (
        {"lr": {"low": 0, "high": 1, "log": True}},
        "search.space.lr: a log range starts above 0 and has no step, got low 0",
    ),
    "log steps": (
        {"lr": {"low": 1, "high": 2, "log": True, "step": 1}},
        "a log range starts above 0 and has no step, got low 1, step 1",
    ),
    "uneven": (
        {"lr": {"low": 0.1, "high": 0.5, "step": 0.3}},
        "high - low must be a multiple of step, got 0.1 to 0.5 in steps of 0.3",
    ),
    "typo": ({"lr": {"lwo": 1, "high": 2}}, "unknown key 'lwo': did you mean 'low'?"),
    "when nothing": (
        {"lr": {"choices": [1], "when": {"x": 1}}},
        "search.space.lr.when: 'x' is not a parameter before this one; move it up",
    ),
    "when never": (
        {"a": [1, 2], "b": {"choices": [1], "when": {"a": 3}}},
        "search.space.b.when.a: can never be 3; its values are [1, 2]",
    ),
    "when endless": (
        {"a": {"low": 0.1, "high": 1}, "b": {"choices": [1], "when": {"a": 0.5}}},
        "it has endlessly many values; give it choices",
    ),
    "same text": ({"a": [["sru"], "sru"]}, "search.space.a: each choice must occur once"),
    "mapping": (
        {"a": [{"b": 1}]},
        "search.space.a: a choice must be a number, text or a list of them",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_space(case):
    content, message = MALFORMED[case]
    with pytest.raises(SweepError) as refused:
        search_key.parse({"mode": "front", "space": content, "trials": 4}, (0, 1))
    assert message in str(refused.value) and "\n" not in str(refused.value)


REFUSED = {
    "not a mapping": ({"search": [1]}, "search"),
    "no trials": (
        {"search": {"mode": "tune", "space": {"lr": [0.1]}}},
        "'search.trials' is missing",
    ),
    "mode": (
        {"search": SEARCH | {"mode": "find"}},
        "search.mode: must be 'front', 'tune' or 'screen', got 'find'",
    ),
    "seed": ({"search": SEARCH | {"seed": 1}}, "search.seed: 1 is a seed of the comparison"),
    "constraint": (
        {"search": SEARCH | {"constraints": {"macs": [0, 1]}}},
        "search.constraints.macs",
    ),
    "bounds": (
        {"search": SEARCH | {"constraints": {"macs_m": [2, 1]}}},
        "constraints.macs_m: must be [low, high] with low < high, got [2, 1]",
    ),
    "endless grid": (
        {"search": SEARCH | {"sampler": "grid"}},
        "search.sampler: a grid needs choices or a step, and lr has neither",
    ),
    "setting": (
        {"search": SEARCH | {"space": {"learning_rate": [0.1]}}},
        "search.space.learning_rate, for learning_rate=0.1: ",
    ),
    "option": (
        {"search": SEARCH | {"space": {"options.alpha": [0.5]}}},
        "conv 'standard' has no option 'alpha'",
    ),
    "value": (
        {"search": SEARCH | {"space": {"lr": [0.1, "fast"]}}},
        "search.space.lr: must be a number, got 'fast'",
    ),
    "end of a range": (
        {"search": SEARCH | {"space": {"lr": {"low": -1.0, "high": 1.0}}}},
        "search.space.lr: must be above 0, got -1.0",
    ),
    "data": (
        {"search": SEARCH | {"space": {"dataset": ["digits"]}}},
        "search: 'dataset' must be the same for the whole search",
    ),
    "in both": (
        {"search": SEARCH | {"base": {"lr": 0.1}}},
        "search.base: 'lr' is in the space as well",
    ),
    "no validation": (
        {"search": SEARCH, "base": {"val_fraction": 0}},
        "search: trials are judged on a validation split, and val_fraction is 0",
    ),
    "min_epochs": (
        {"search": SEARCH | {"min_epochs": 9}},
        "search.min_epochs: 9 is more than the 2 epochs of a trial",
    ),
    "base": (
        {"search": SEARCH | {"base": {"epoch": 3}}},
        "search.base: unknown key 'epoch': did you mean 'epochs'?",
    ),
    "one bound": (
        {"search": SEARCH | {"constraints": {"macs_m": [0]}}},
        "search.constraints.macs_m: must have at least 2 values",
    ),
    "same value": (
        {"search": SEARCH | {"space": {"lr": [0.1, "0.10"]}}},
        "search.space.lr: lr=0.1 and lr=0.10 are the same configuration",
    ),
    "same arms": (
        {"search": SEARCH, "variants": {"R20": {"lr": 0.1}, "again": {"lr": 0.2}}},
        "search: for lr=0.01 the variants 'R20' and 'again' are the same configuration",
    ),
    "big grid": (
        {
            "search": SEARCH
            | {
                "sampler": "grid",
                "space": {
                    "batch_size": {"low": 2, "high": 1000},
                    "epochs": {"low": 1, "high": 1000},
                },
            }
        },
        "search.sampler: a grid needs choices or a step, and at most 100,000 cells",
    ),
    "test": ({"base": {"test": False}}, "unknown key 'test'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_search_that_cannot_be_is_refused_when_the_sweep_is_read(case, write_sweep):
    changes, message = REFUSED[case]
    with pytest.raises(SweepError) as refused:
        load(write_sweep(**changes))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_searchs_trial_is_another_than_the_comparisons(write_sweep):
    sweep = load(write_sweep(search=SEARCH | {"base": {"epochs": 1}}))
    searching, compared = (
        sweep.candidate({"lr": 0.05}, "S+C"),
        sweep.candidate({"lr": 0.05}, "S+C", searching=False),
    )
    assert (searching.lr, searching.epochs, searching.test) == (0.05, 1, False)
    assert (compared.lr, compared.epochs, compared.test, compared.conv) == (0.05, 2, True, "scconv")
    assert sweep.trials == [] and not sweep.settled  # before the search there is nothing to compare


def test_a_tuned_variant_keeps_its_own_options(write_sweep):
    variants = {
        "R20": {"conv": "standard"},
        "C": {"conv": "scconv", "options": {"order": ["cru"], "squeeze": 4}},
    }
    sweep = load(write_sweep(variants=variants, search=SEARCH))
    assert sweep.candidate({"lr": 0.05}, "C").options == {"order": ["cru"], "squeeze": 4}


def test_options_of_the_searchs_base_are_options_of_every_trial(write_sweep):
    variants = {"plain": {"conv": "scconv"}, "C": {"conv": "scconv", "options": {"order": ["cru"]}}}
    found = SEARCH | {"space": {"options.alpha": [0.25, 0.5]}, "base": {"options": {"squeeze": 4}}}
    sweep = load(write_sweep(variants=variants, baseline="plain", search=found))
    assert sweep.candidate({"options.alpha": 0.25}, "plain").options == {
        "alpha": 0.25,
        "squeeze": 4,
    }
    assert sweep.candidate({"options.alpha": 0.25}, "C").options == {
        "alpha": 0.25,
        "order": ["cru"],
        "squeeze": 4,
    }
    assert sweep.candidate({"options.alpha": 0.25}, "C", searching=False).options == {
        "alpha": 0.25,
        "order": ["cru"],
    }


def test_a_huge_space_is_not_enumerated():
    assert (
        parse(a={"low": 0, "high": 10**9}).cells is None
        and parse(a={"low": 1, "high": 999}, b={"low": 1, "high": 999}).cells is None
    )
