"""What a design can show, against simulated sweeps."""

import numpy as np
import pytest

from analysis import stats
from analysis.stats.power import detectable, seeds_for


@pytest.mark.slow
def test_a_difference_of_that_size_shows_in_four_of_five_sweeps():
    draw, seeds, comparisons, found = np.random.default_rng(0), 5, 3, 0
    difference = detectable(0.3, comparisons, seeds)
    for _ in range(2000):
        scores = draw.normal(70, 0.3, (comparisons + 1, seeds))
        scores[1] += difference
        named = {f"v{i}": dict(enumerate(map(float, row))) for i, row in enumerate(scores)}
        found += stats.compare(named, "v0").differences["v1"].verdict == "better"
    # four standard errors of the simulation; Welch's method, which is chosen at times, has less power
    assert 0.70 < found / 2000 < 0.84


def test_the_seeds_for_a_difference_are_the_fewest():
    n = seeds_for(0.3, 0.4, 5)
    assert n is not None
    assert detectable(0.4, 5, n) <= 0.3 < detectable(0.4, 5, n - 1)
    assert seeds_for(1e-4, 0.4, 5) is None
    assert seeds_for(100.0, 0.4, 5) == 2


def test_it_agrees_with_what_a_report_says_of_a_finished_sweep():
    draw = np.random.default_rng(1)
    scores = {f"v{i}": dict(enumerate(draw.normal(70, 0.3, 5).tolist())) for i in range(4)}
    found = stats.compare(scores, "v0")
    assert found.method == "Dunnett" and found.df == 12
    error = found.detectable / detectable(1.0, 3, 5)
    # the model's standard deviation, from the residuals of variant + seed
    values = np.array([[*row.values()] for row in scores.values()])
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    assert error == pytest.approx(np.sqrt((rest**2).sum() / 12))
