"""The key `seeds`: a number, a list, or seeds that grow."""

import pytest

from runners.errors import SweepError
from runners.plan import load

GROWING = {"first": 3, "most": 20, "until": "decided"}


def test_growing_seeds_plan_the_first_block_and_the_looks(write_sweep):
    sweep = load(write_sweep(seeds=GROWING))
    assert sweep.growth and sweep.growth.looks == (3, 6, 9, 12, 15, 18, 20)
    assert len(sweep.trials) == 3 * len(sweep.variants) and sweep.seeds == tuple(range(20))
    assert sweep.growth.half_width is None
    by_two = load(write_sweep(seeds={"first": 3, "most": 8, "block": 2}))
    assert by_two.growth and by_two.growth.looks == (3, 5, 7, 8)
    narrow = load(write_sweep(seeds=GROWING | {"until": {"half_width": 0.3}}))
    assert narrow.growth and narrow.growth.half_width == 0.3


def test_the_trials_of_growing_seeds_are_those_of_a_fixed_number(write_sweep):
    grown, fixed = load(write_sweep(seeds=GROWING)), load(write_sweep(seeds=3))
    assert [t.id for t in grown.trials] == [t.id for t in fixed.trials]
    assert load(write_sweep(seeds=GROWING), seeds=3).growth is None


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"first": 3, "most": 3}, "seeds.most: must be above first, which is 3, got 3"),
        ({"first": 1, "most": 5}, "seeds.first: must be at least 2, got 1"),
        ({"first": 2.5, "most": 5}, "seeds.first: must be a whole number, got 2.5"),
        ({"most": 5}, "'seeds.first' is missing"),
        ({}, "'seeds.first' is missing"),
        ({"min": 3, "max": 5}, "for 'min' write first, for 'max' write most"),
        (GROWING | {"step": 1}, "unknown key 'step': did you mean 'block'?"),
        (GROWING | {"block": 0}, "seeds.block: must be at least 1, got 0"),
        (GROWING | {"until": "never"}, "seeds.until: must be decided, or such as"),
        (GROWING | {"until": 3}, "seeds.until: must be text or a mapping, got 3"),
        (GROWING | {"until": {}}, "'seeds.until.half_width' is missing"),
        (GROWING | {"until": {"half_width": 0}}, "seeds.until.half_width: must be above 0, got 0"),
        (GROWING | {"until": {"width": 1}}, "did you mean 'half_width'?"),
        (GROWING | {"most": 1_000_000, "block": 100_000}, "a sweep has at most 100,000"),
        (GROWING | {"most": 1_000}, "at most 50 looks"),
        ([1, 1], "seeds: each must occur once, got [1, 1]"),
        ("abc", "seeds: must be a whole number, a list or a mapping, got 'abc'"),
    ],
)
def test_seeds_that_cannot_be_are_one_line(write_sweep, seeds, said):
    with pytest.raises(SweepError) as error:
        load(write_sweep(seeds=seeds))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_is_judged_once_does_not_go_with_growing_seeds(write_sweep):
    with pytest.raises(SweepError, match="the file has at_least as well"):
        load(write_sweep(seeds=GROWING, at_least=0.9))
    with pytest.raises(SweepError, match="the file has factors as well"):
        load(write_sweep(seeds=GROWING, factors={"lr": [0.1, 0.2]}))
