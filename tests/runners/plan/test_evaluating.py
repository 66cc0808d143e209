"""The keys `evaluate`, `fill` and `measure`: read, refused, and no part of an id."""

import pytest

from runners.errors import SweepError
from runners.plan import Evaluate, load
from runners.trial import conditions

TWO = {"linear": {"fill": "linear"}, "black": {"fill": "black"}, "S+C": {"conv": "scconv"}}
ALL = {"baseline": "linear", "variants": TWO, "evaluate": {"channels": "all"}}


def test_a_training_with_two_fills_is_one_trial(write_sweep):
    sweep = load(write_sweep(**ALL, measure="worst"))
    assert sweep.evaluate == Evaluate("all") and sweep.measure == "worst"
    assert sweep.fills == {"linear": "linear", "black": "black", "S+C": ""}
    plain = load(write_sweep(variants={"R20": {}, "S+C": {"conv": "scconv"}}))
    # conditions are no part of an id
    assert (
        [t.id for t in sweep.distinct]
        == [t.id for t in plain.trials]
        == [t.id for t in plain.distinct]
    )
    assert len(sweep.trials) == 6 and sweep.trials[0].id == sweep.trials[1].id
    assert [(t.variant, t.fills) for t in sweep.distinct[:2]] == [
        ("linear", ("linear", "black")),
        ("S+C", ("",)),
    ]
    assert [t.evaluate for t in plain.trials] == [None] * 4


def test_a_variant_inherits_the_fill_of_base(write_sweep):
    variants = {"R20": {}, "S": {"lr": 0.02, "fill": "copy"}}
    sweep = load(
        write_sweep(base={"fill": "mean"}, variants=variants, evaluate={"channels": "all"})
    )
    assert sweep.fills == {"R20": "mean", "S": "copy"}
    # a variant that a search finds is on top of base
    assert [sweep.fill(v) for v in ("R20", "S", "found")] == ["mean", "copy", "mean"]


REFUSED = [
    ({"measure": "mean"}, "measure: mean is of the conditions of evaluate, which is missing"),
    ({"evaluate": {}}, "evaluate: needs channels, such as channels: all, or sizes"),
    ({"evaluate": {"channels": "some"}}, "evaluate.channels: must be all, or a list such as [RG, B], got"),
    ({"evaluate": {"channels": ["RG", "RG"]}}, "evaluate.channels: each must occur once"),
    ({"evaluate": {"sizes": [0]}}, "evaluate.sizes.0: must be at least 1, got 0"),
    ({"evaluate": {"chanels": "all"}}, "evaluate: unknown key 'chanels'"),
    ({"variants": TWO, "baseline": "linear"}, "fill: says what stands for channels that are"),
    (
        ALL | {"variants": TWO | {"grey": {"fill": "grey"}}},
        "variants.grey.fill: must be one of black, mean, copy, linear, none, got 'grey'",
    ),
    (
        ALL | {"variants": TWO | {"again": {"fill": "black"}}},
        "variants: 'black' and 'again' are the same configuration",
    ),
    (
        ALL | {"measure": "mean", "search": {"mode": "front", "trials": 2,
               "space": {"options.alpha": [0.25, 0.5]}}},
        "measure: a search judges by top1 alone, got 'mean'",
    ),
]  # fmt: skip


@pytest.mark.parametrize("changes, message", REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_what_cannot_go_together_is_refused_in_one_line(changes, message, write_sweep):
    with pytest.raises(SweepError) as error:
        load(write_sweep(**changes))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"evaluate": {"channels": ["RX"]}}, "evaluate.channels.0: must name some of R, G, B"),
        ({"evaluate": {"channels": ["BR"]}}, "evaluate.channels.0: must name some of R, G, B"),
        ({"measure": "RX"}, "measure: must be one of top1, mean, worst, RGB, RG,"),
        (
            {"variants": TWO | {"none": {"fill": "none"}}},
            "variants.none.fill: none is for a stem that takes subsets",
        ),
        (
            {
                "baseline": "R20",
                "variants": {"R20": {"backbone": "densenet121"}},
                "evaluate": {"sizes": [1]},
            },
            "takes no images of 1",
        ),
    ],
)
def test_what_the_data_or_a_network_does_not_have_is_refused_before_a_start(
    changes, message, write_sweep
):
    with pytest.raises(SweepError) as error:
        conditions.check(load(write_sweep(**(ALL | changes))))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_list_has_the_whole_images_too(write_sweep):
    sweep = load(write_sweep(evaluate={"channels": ["RG", "B"], "sizes": [16]}, measure="B"))
    assert [c.name for c in conditions.check(sweep)] == ["RGB", "RG", "B", "16px"]
