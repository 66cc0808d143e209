"""Dunnett within a condition, Holm over the conditions; and what guessing reaches."""

import random

import pytest
from scipy import stats as scipy_stats

from analysis.stats import compare, holm
from analysis.stats.conditions import adjusted, guessing, over_conditions


def scores(gain: float, seed: int = 0) -> dict[str, dict[int, float]]:
    draw = random.Random(seed)
    rows = {"base": 50.0, "a": 50.0, "b": 50.0 + gain}
    return {v: {s: mean + draw.gauss(0, 1) for s in range(5)} for v, mean in rows.items()}


def test_one_p_a_condition_is_holm_itself():
    ps = [0.03, 0.01, 0.2, 0.04]
    raw = {(f"c{i}", "a"): p for i, p in enumerate(ps)}
    assert [adjusted(raw)[key] for key in raw] == pytest.approx(holm(ps))


def test_a_condition_counts_until_nothing_in_it_is_left():
    raw = {("x", "a"): 0.001, ("x", "b"): 0.02, ("y", "a"): 0.015, ("y", "b"): 0.5}
    found = adjusted(raw)
    # by hand: x and y are left for the first three, y alone for the last
    assert found == pytest.approx(
        {("x", "a"): 0.002, ("y", "a"): 0.03, ("x", "b"): 0.04, ("y", "b"): 0.5}
    )


def test_within_a_condition_the_p_are_those_of_the_comparison():
    by = {"RGB": scores(5.0), "R": scores(0.0, seed=1)}
    compared, p = over_conditions(by, "base")
    for name, found in by.items():
        assert compared[name].differences == compare(found, "base").differences
    raw = compare(by["RGB"], "base").differences["b"].p
    assert p["RGB", "b"] == pytest.approx(2 * raw) and p["RGB", "b"] < 0.05 < p["R", "b"]


def test_one_training_that_was_evaluated_twice_counts_once():
    found = scores(5.0)
    twice = found | {"base again": dict(found["base"]), "b again": dict(found["b"])}
    compared, p = over_conditions({"RGB": twice}, "base")
    once = compare(found, "base").differences
    assert compared["RGB"].differences == once | {"b again": once["b"]}
    assert p["RGB", "b again"] == p["RGB", "b"] and ("RGB", "base again") not in p


@pytest.mark.parametrize("classes, images", [(10, 663), (50, 450), (2, 7)])
def test_what_guessing_reaches_is_binomial(classes, images):
    chance, low, high = guessing(classes, images)
    guess = scipy_stats.binom(images, 1 / classes)
    assert chance == pytest.approx(100 / classes)
    assert low == pytest.approx(100 * guess.ppf(0.025) / images)
    assert high == pytest.approx(100 * guess.ppf(0.975) / images)
