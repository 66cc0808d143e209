"""Looks at growing seeds: how certain each must be, and who is asked for more."""

import math

import numpy as np
import pytest

from analysis.stats import additive, dunnett_critical, levels
from analysis.stats.growing import Rule, follow
from analysis.stats.sequential import spent


def given(values: dict[str, list[float]], short: int = 10**9):
    """A look at these scores, of which each variant has `short` at most; and what was asked."""
    asked = []

    def look(variants, n):
        asked.append((tuple(variants), n))
        return {v: dict(enumerate(values[v][:n])) for v in variants} if n <= short else None

    return look, asked


def wide(centre: float, n: int = 20, seed: int = 0) -> list[float]:
    return list(centre + np.random.default_rng([seed, round(centre)]).normal(0, 1, n))


def test_one_look_is_the_fixed_design_and_more_looks_are_stricter():
    assert levels(5, (8,))[0] == pytest.approx(0.95, abs=0.002)
    each = levels(5, (3, 6, 9))
    assert all(0.95 < level < 1 for level in each)
    # more certain than one look, less than if each look had its part of the error for itself
    parts = [spent(n / 9) - spent(before / 9) for before, n in ((0, 3), (3, 6), (6, 9))]
    assert sum(parts) == pytest.approx(0.05)
    assert each[0] == pytest.approx(1 - parts[0], abs=0.001)
    assert all(1 - level > part for level, part in zip(each[1:], parts[1:], strict=True))


def test_the_simulated_statistic_is_that_of_the_additive_model():
    """The error over both looks, of whole sweeps of single scores: 0.05, known to 0.01 (2 sd)."""
    looks, comparisons, sweeps, wrong = (3, 5), 3, 2000, 0
    critical = [
        dunnett_critical(comparisons, comparisons * (n - 1), level)
        for n, level in zip(looks, levels(comparisons, looks), strict=True)
    ]
    random = np.random.default_rng(5)
    for values in random.normal(0, 1, (sweeps, comparisons + 1, looks[-1])):
        beyond = False
        for n, c in zip(looks, critical, strict=True):
            fit = additive({str(i): dict(enumerate(row[:n])) for i, row in enumerate(values)})
            means = fit.values.mean(1)
            beyond |= bool(np.abs(means[1:] - means[0]).max() > c * math.sqrt(2 * fit.mse / n))
        wrong += beyond
    assert wrong / sweeps == pytest.approx(0.05, abs=0.015)


def test_who_is_decided_costs_no_more_seeds_and_the_baseline_goes_on():
    values = {"base": wide(50), "far": wide(70), "near": wide(50, seed=1), "off": wide(54)}
    look, asked = given(values)
    found = follow([*values], "base", Rule((3, 6, 9)), look)
    assert asked[0] == (("base", "far", "near", "off"), 3)
    assert found.seeds["far"] == 3 and found.comparison.differences["far"].verdict == "better"
    assert found.seeds["base"] == found.seeds["near"] == 9 and found.undecided == ("near",)
    # each difference is of the look that it is from
    assert found.comparison.differences["far"].n == 3
    assert found.comparison.differences["near"].n == 9
    assert found.comparison.looks == (3, 6, 9)
    assert all(d.p is None for d in found.comparison.differences.values())


def test_a_block_that_has_not_ended_is_waited_for():
    look, _ = given({"base": wide(50), "near": wide(50, seed=1)}, short=3)
    found = follow(["base", "near"], "base", Rule((3, 6)), look)
    assert found.seeds == {"base": 6, "near": 6} and found.comparison.looks == (3,)
    look, _ = given({"base": wide(50), "near": wide(50, seed=1)}, short=0)
    found = follow(["base", "near"], "base", Rule((3, 6)), look)
    assert found.seeds == {"base": 3, "near": 3} and not found.comparison.method
    assert "3 seeds have not all ended" in found.comparison.why


def test_a_variant_that_never_finishes_is_not_asked_for_more():
    values = {"base": wide(50), "near": wide(50, seed=1), "failed": []}
    look, asked = given(values)
    found = follow([*values], "base", Rule((3, 6, 9)), look)
    assert found.seeds["failed"] == 3 and found.seeds["near"] == 9
    assert asked[-1] == (("base", "near"), 9)


def test_a_half_width_is_reached_whatever_the_verdict():
    values = {"base": wide(50), "far": wide(70), "near": wide(50, seed=1)}
    look, _ = given(values)
    found = follow([*values], "base", Rule((3, 6, 9, 12, 15, 18), half_width=2.0), look)
    d = found.comparison.differences
    assert found.seeds["far"] > 3 and not found.undecided
    assert all((x.high - x.low) / 2 <= 2.0 for x in d.values())


def test_an_equivalent_one_is_decided_too():
    values = {"base": wide(50), "near": wide(50, seed=1)}
    look, _ = given(values)
    found = follow([*values], "base", Rule((3, 6, 9), margin=5.0), look)
    assert found.comparison.differences["near"].verdict == "equivalent"
    assert found.seeds["near"] == 3
