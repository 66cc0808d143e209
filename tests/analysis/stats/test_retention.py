"""Does a variant keep a part of the baseline's accuracy: by hand, by scipy, and by simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis import stats
from analysis.stats.retention import KEEPS, LOSES, OPEN


def pair(both: int, base: int, mine: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """One training each: (1, images) of the variant and of the baseline, from the four counts."""
    ours = [1] * both + [0] * base + [1] * mine + [0] * neither
    theirs = [1] * both + [1] * base + [0] * mine + [0] * neither
    return np.array([ours], bool), np.array([theirs], bool)


# 450 test images: both right, the baseline alone, the variant alone, neither
PRINTED = {
    "v2": (pair(163, 70, 62, 155), 0.966, 3.40, 2.43, 0.081),
    "v1": (pair(152, 81, 49, 168), 0.863, -1.93, 2.39, None),
}


@pytest.mark.parametrize("name", PRINTED)
def test_one_training_each_by_hand(name):
    right, ratio, contrast, error, p = PRINTED[name]
    found = stats.retention({name: right}, 0.9)[name]
    # by hand the variance was divided by the number of images, not by one less
    by_hand = found.error * np.sqrt(449 / 450)
    assert (round(found.ratio, 3), round(found.contrast, 2), round(by_hand, 2)) == (
        ratio,
        contrast,
        error,
    )
    assert found.verdict == OPEN and found.seeds == 1
    assert p is None or found.p == pytest.approx(p, abs=0.001)  # by hand with the normal law
    values = 100 * (right[0] - 0.9 * right[1]).ravel()
    assert found.p == pytest.approx(
        scipy_stats.ttest_1samp(values, 0, alternative="greater").pvalue
    )


def test_fiellers_interval_is_all_ratios_that_are_not_rejected():
    mine, base = PRINTED["v2"][0]
    found = stats.retention({"v2": (mine, base)}, 0.9)["v2"]
    for ratio, inside in ((found.low, 0.999), (found.high, 1.001)):
        p = scipy_stats.ttest_1samp((mine - ratio * base).ravel(), 0).pvalue
        assert p == pytest.approx(0.05, abs=1e-6)
        beyond = scipy_stats.ttest_1samp((mine - ratio * inside * base).ravel(), 0).pvalue
        assert beyond < 0.05
    # a paired bootstrap of the same figures: 0.873 to 1.065
    assert (found.low, found.high) == (
        pytest.approx(0.873, abs=0.01),
        pytest.approx(1.065, abs=0.01),
    )


def test_verdicts_and_holm_over_the_variants():
    base = np.repeat([[True, False]], [900, 100], axis=1)
    good, bad = base.copy(), base.copy()
    good[:, :5] = False
    bad[:, :500] = False
    found = stats.retention({"good": (good, base), "bad": (bad, base)}, 0.9)
    assert (found["good"].verdict, found["bad"].verdict) == (KEEPS, LOSES)
    alone = stats.retention({"v2": PRINTED["v2"][0]}, 0.9)["v2"]
    two = stats.retention({"v2": PRINTED["v2"][0], "v1": PRINTED["v1"][0]}, 0.9)["v2"]
    assert two.p == pytest.approx(2 * alone.p)


def test_without_spread_or_a_right_image_there_is_no_verdict():
    ones = np.ones((2, 50), bool)
    assert stats.retention({"v": (ones, ones)}, 0.9) == {}
    assert stats.retention({"v": (ones, ~ones)}, 0.9) == {}


@pytest.mark.slow
def test_at_the_limit_a_variant_is_called_a_keeper_in_one_of_twenty_sweeps():
    """Seeds and images vary; the truth is exactly the ratio that is asked for."""
    random = np.random.default_rng(3)
    wrong = 0
    sweeps = 1000
    for _ in range(sweeps):
        ease = random.normal(0, 1, 300)
        right = []
        for level in (0.8, 0.72):
            shift = scipy_stats.norm.ppf(level) * np.sqrt(2.25)
            seeds = random.normal(0, 0.5, (5, 1))
            right.append(ease + seeds + shift + random.normal(0, 1, (5, 300)) > 0)
        found = stats.retention({"v": (right[1], right[0])}, 0.9)["v"]
        wrong += found.verdict == KEEPS
    # three standard errors above 5 %
    assert 0.01 < wrong / sweeps < 0.05 + 3 * np.sqrt(0.05 * 0.95 / sweeps)
