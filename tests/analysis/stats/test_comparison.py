"""Every method against scipy where it has it, against a calculation by hand where it has not, and
at its edges.
"""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis import stats
from analysis.stats import comparison, effects


def scores(rows, seeds=None):
    return {
        f"v{i}": {(seeds or range(len(row)))[j]: float(x) for j, x in enumerate(row)}
        for i, row in enumerate(rows)
    }


@pytest.fixture
def random():
    return np.random.default_rng(7)


def test_summary_is_students_t(random):
    values = random.normal(70, 2, 6)
    got, want = (
        stats.summarise([*values]),
        scipy_stats.ttest_1samp(values, 70).confidence_interval(),
    )
    assert (got.n, got.mean, got.sd) == (
        6,
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
    )
    assert (got.low, got.high) == (pytest.approx(want.low), pytest.approx(want.high))
    assert stats.summarise([]) is None and stats.summarise([1.0]) == stats.Summary(1, 1.0, None)


@pytest.mark.parametrize("comparisons, n", [(2, 3), (3, 5), (5, 3), (6, 8), (9, 7)])
def test_dunnetts_distribution_is_scipys_in_a_one_way_layout(comparisons, n, random):
    groups = random.normal(0, 1, (comparisons + 1, n))
    groups[1] += 1.5
    found = scipy_stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    df = (comparisons + 1) * (n - 1)
    error = math.sqrt(2 * groups.var(axis=1, ddof=1).mean() / n)
    t = (groups[1:].mean(1) - groups[0].mean()) / error
    assert [1 - stats.dunnett_cdf(abs(x), comparisons, df) for x in t] == pytest.approx(
        [*found.pvalue], abs=5e-4
    )
    interval = found.confidence_interval()
    assert stats.dunnett_critical(comparisons, df) * error == pytest.approx(
        (interval.high[0] - interval.low[0]) / 2, rel=5e-3
    )


@pytest.mark.parametrize("df, comparisons, printed", [(5, 1, 2.571), (10, 3, 2.76), (20, 5, 2.73)])
def test_dunnetts_critical_values_are_those_of_the_published_table(df, comparisons, printed):
    """Dunnett's two-sided 5 % table (1964), in which 1 comparison is Student's t; printed to two
    decimals.
    """
    assert stats.dunnett_critical(comparisons, df) == pytest.approx(printed, abs=0.012)


def test_two_variants_are_a_paired_t_test(random):
    a, b = random.normal(70, 3, 5), random.normal(71, 3, 5)
    found = stats.compare(scores([a, b]), "v0").differences["v1"]
    want = scipy_stats.ttest_rel(b, a)
    assert found.p == pytest.approx(want.pvalue, rel=1e-4) and found.mean == pytest.approx(
        (b - a).mean()
    )
    assert (found.low, found.high) == pytest.approx(
        (want.confidence_interval().low, want.confidence_interval().high), rel=1e-4
    )


def test_the_blocks_take_out_what_the_seeds_have_in_common(random):
    own, seeds = random.normal(0, 0.1, (4, 5)), 10 * random.normal(0, 1, 5)
    plain, blocked = (
        stats.compare(scores(70 + own), "v0"),
        stats.compare(scores(70 + own + seeds), "v0"),
    )
    for v in plain.differences:
        assert blocked.differences[v].p == pytest.approx(plain.differences[v].p)
    assert (
        blocked.icc > 0.99 > 0.6 > plain.icc
        and blocked.df == 12
        and blocked.detectable == pytest.approx(plain.detectable)
    )


def test_the_icc_is_that_of_the_two_way_mean_squares():
    y = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
    ).T
    # Shrout and Fleiss 1979, Table 4: six targets, four judges; ICC(3, 1) = .71
    assert stats.compare(scores(y), "v0").icc == pytest.approx(0.71, abs=0.006)


def test_unequal_variances_and_incomplete_blocks_go_by_welch_and_holm(random):
    rows = [random.normal(70, 0.05, 8), random.normal(70.5, 0.05, 8), random.normal(70, 4, 8)]
    found = stats.compare(scores(rows), "v0")
    assert found.method == "Welch" and "Brown-Forsythe p = " in found.why
    raw = [scipy_stats.ttest_ind(rows[i], rows[0], equal_var=False) for i in (1, 2)]
    assert [found.differences[v].p for v in ("v1", "v2")] == pytest.approx(
        [2 * raw[0].pvalue, raw[1].pvalue]
    )
    want = raw[1].confidence_interval(1 - 0.05 / 2)  # Bonferroni
    assert (found.differences["v2"].low, found.differences["v2"].high) == pytest.approx(
        (want.low, want.high)
    )
    part = scores([random.normal(70, 1, 4), random.normal(70, 1, 4)])
    del part["v1"][3]
    found = stats.compare(part, "v0")
    assert (found.method, found.why) == (
        "Welch",
        "not every seed has finished in every variant",
    ) and found.differences["v1"].n == 3


@pytest.mark.parametrize("n", [3, 4, 9])
def test_brown_and_forsythes_test_is_scipys(n, random):
    values = random.normal(70, [[0.1], [1.0], [5.0]], (3, n))
    want = scipy_stats.levene(*values, center="median").pvalue
    assert comparison._unequal(values) == pytest.approx(want)
    # every distance from the median is 1 in one group and 2 in the other
    apart = np.array([[69.0, 69, 71, 71], [68, 68, 72, 72]])
    assert comparison._unequal(apart) == 0 and comparison._unequal(apart[:1].repeat(2, 0)) == 1


def test_seeds_that_do_not_differ_are_said_to():
    """Of six times this score, the mean is another number."""
    rows = scores(
        [[57.885454811967136] * 6, [57.0, 58, 59, 60, 61, 62], [50.0, 52, 54, 51, 53, 55]]
    )
    assert "(Brown-Forsythe p" in (why := stats.compare(rows, "v0").why)
    assert why.endswith("one variant's seeds do not differ)")


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == [] and stats.holm([0.9, 0.8]) == [1.0, 1.0]


def test_verdicts():
    noise = np.array(
        [
            [0.1, -0.1, 0.05, -0.05, 0],
            [0, 0.1, -0.1, 0.05, -0.05],
            [0.05, 0, 0.1, -0.1, -0.05],
            [-0.1, 0.05, 0, 0.1, -0.05],
        ]
    )
    rows = scores(70 + noise + np.array([[0], [2], [-2], [0.05]]))
    got = {v: d.verdict for v, d in stats.compare(rows, "v0").differences.items()}
    assert got == {"v1": "better", "v2": "worse", "v3": "inconclusive"}
    got = {v: d.verdict for v, d in stats.compare(rows, "v0", margin=0.5).differences.items()}
    assert got == {"v1": "better", "v2": "worse", "v3": "equivalent"}
    close = stats.compare(
        scores(70 + noise[:2] + np.array([[0], [0.4]])), "v0", margin=1.0
    ).differences["v1"]
    assert (
        close.p < 0.05 and close.verdict == "equivalent"
    )  # not zero, but shown to be less than what matters


def test_equivalence_is_two_one_sided_tests(random):
    a, b = random.normal(70, 0.3, 6), random.normal(70, 0.3, 6)
    found = stats.compare(scores([a, b]), "v0", margin=0.8).differences["v1"]
    want = max(
        scipy_stats.ttest_1samp(b - a, -0.8, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(b - a, 0.8, alternative="less").pvalue,
    )
    assert found.equivalent_p == pytest.approx(want, rel=1e-6)


def test_what_cannot_be_tested_is_inconclusive():
    for rows in ([[70.0], [71.0]], [[70.0, 70.0, 70.0], [71.0, 71.0, 71.0]]):
        found = stats.compare(scores(rows), "v0")
        assert (
            found.method == ""
            and found.why
            and found.differences["v1"]
            == stats.Difference(len(rows[0]), 1.0, None, None, None, None, "inconclusive")
        )
    assert stats.compare({"v0": {}, "v1": {0: 1.0}}, "v0").differences == {}
    same = stats.compare(scores([[70.1, 71.3, 70.7], [72.1, 73.3, 72.7]]), "v0")
    assert (
        "the differences are the same in every seed" in same.why
        and stats.all_pairs(scores([[70.1, 71.3, 70.7], [72.1, 73.3, 72.7]])) == {}
    )
    assert stats.summarise([70.0, 70.0]) == stats.Summary(2, 70.0, 0.0)  # no interval of no width
    lonely = stats.compare({"v0": {0: 70.0, 1: 71.0}, "v1": {0: 70.0}}, "v0")
    assert lonely.method == "" and lonely.differences["v1"].verdict == "inconclusive"
    # one variant whose seeds all agree is as unequal as can be, not infinitely sure
    still = stats.compare(scores([[70, 70, 70, 70], [71, 73, 70.5, 74], [70.2, 69, 71, 70]]), "v0")
    assert all(d.low is not None and d.low < d.mean < d.high for d in still.differences.values())


def test_all_pairs_are_tukeys(random):
    rows = random.normal(70, 1, (4, 6)) + np.array([[0], [0], [2], [0.5]])
    got = stats.all_pairs(scores(rows))
    # without blocks scipy's one-way test is the judge of the same distribution: take the
    # seeds out and compare with its statistic
    k, n = rows.shape
    residual = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    mse = (residual**2).sum() / ((k - 1) * (n - 1))
    q = abs(rows[2].mean() - rows[0].mean()) / math.sqrt(mse / n)
    assert got["v0", "v2"].p == pytest.approx(
        scipy_stats.studentized_range.sf(q, k, (k - 1) * (n - 1)), rel=1e-6
    )
    assert (
        len(got) == 6
        and got["v0", "v2"].verdict == "better"
        and got["v0", "v1"].low < 0 < got["v0", "v1"].high
    )
    flat = rows - (
        rows.mean(0) - rows.mean()
    )  # seeds without effect: then Tukey's one-way intervals differ by their df alone
    one_way = scipy_stats.tukey_hsd(*flat).confidence_interval()
    width = got["v0", "v1"].high - got["v0", "v1"].low
    critical = [
        scipy_stats.studentized_range.ppf(0.95, k, df) for df in ((k - 1) * (n - 1), k * (n - 1))
    ]
    scale = math.sqrt(((flat - flat.mean(1, keepdims=True)) ** 2).sum() / (k * (n - 1)) / mse)
    assert width == pytest.approx(
        (one_way.high[0, 1] - one_way.low[0, 1]) * critical[0] / critical[1] / scale, rel=1e-6
    )
    assert stats.all_pairs({"a": {0: 1.0}, "b": {1: 2.0}}) == {}
    # with unequal variances each pair has its own: Games and Howell, which for two variants
    # is Welch
    two = np.stack([rows[0], rows[0].mean() + 1 + 3 * (rows[2] - rows[2].mean())])
    pair, want = (
        stats.all_pairs(scores(two), unequal=True)["v0", "v1"],
        scipy_stats.ttest_ind(two[1], two[0], equal_var=False),
    )
    assert 0.01 < pair.p < 0.9 and pair.p == pytest.approx(want.pvalue, rel=1e-4)
    assert (pair.low, pair.high) == pytest.approx([*want.confidence_interval()], rel=1e-4)


def test_sign_flip():
    assert stats.sign_flip([1, 2, 3, 4, 5]) is None and stats.sign_flip([1] * 17) is None
    assert stats.sign_flip([1, 2, 3, 4, 5, 6]) == (2 / 64, 2 / 64)
    assert stats.sign_flip([1, -1, 1, -1, 1, -1]) == (1.0, 2 / 64)
    values = [3.0, 1.0, -0.5, 2.0, 4.0, 0.2, 1.0]
    want = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert stats.sign_flip(values)[0] == pytest.approx(want)


def test_mcnemar():
    a = np.array([1] * 30 + [1] * 9 + [0] * 2 + [0] * 59, bool)
    b = np.array([1] * 30 + [0] * 9 + [1] * 2 + [0] * 59, bool)
    only_a, only_b, p = stats.mcnemar(a, b)
    assert (only_a, only_b) == (9, 2) and p == pytest.approx(
        2 * sum(math.comb(11, i) for i in range(3)) / 2**11
    )
    assert stats.mcnemar(a, a)[2] == 1.0


def test_seeds_by_images_is_wider_than_seeds_alone_and_covers(random):
    """Images of differing difficulty, seeds of differing luck: the interval must hold the mean over
    all of both.
    """
    z, w = np.polynomial.hermite_e.hermegauss(60)
    truth = float(w / w.sum() @ (1 / (1 + np.exp(-1 - math.hypot(4, 0.15) * z))))
    held = alone = 0
    for _ in range(400):
        logit = 1 + random.normal(0, 4, 300) + random.normal(0, 0.15, (4, 1))
        values = (random.random((4, 300)) < 1 / (1 + np.exp(-logit))).astype(float)
        found, seeds = stats.seeds_by_images(values), stats.summarise([*values.mean(1)])
        held += found.low <= truth <= found.high
        alone += seeds.low <= truth <= seeds.high
    assert held / 400 > 0.92 and alone / 400 < 0.85
    assert (
        stats.seeds_by_images(np.ones((1, 5))) is None
        and stats.seeds_by_images(np.ones((3, 5))).low == 1
    )


def test_trend_is_the_regression_with_blocks(random):
    levels = {"a": 0.25, "b": 0.5, "c": 0.75, "d": 0.875}
    x = np.array([*levels.values()])
    rows = 60 + 8 * x[:, None] + 5 * random.normal(0, 1, 5) + random.normal(0, 0.2, (4, 5))
    linear, quadratic = effects.trend(
        levels, {v: dict(enumerate(row)) for v, row in zip(levels, rows, strict=True)}
    )
    # the same by least squares with a column per seed
    design = np.column_stack([np.tile(x, 5), np.repeat(np.eye(5), 4, axis=0)])
    coefficients, *_ = np.linalg.lstsq(design, rows.T.flatten(), rcond=None)
    assert (
        linear.estimate == pytest.approx(coefficients[0])
        and linear.low < 8 < linear.high
        and linear.p < 1e-6
    )
    design = np.column_stack([np.tile(x**2, 5), design])
    coefficients, *_ = np.linalg.lstsq(design, rows.T.flatten(), rcond=None)
    assert (
        quadratic.estimate == pytest.approx(coefficients[0]) and quadratic.low < 0 < quadratic.high
    )
    # the unit does not matter, and without spread nothing is said
    other = effects.trend(
        {v: 1e-4 * x for v, x in levels.items()},
        {v: dict(enumerate(row)) for v, row in zip(levels, rows, strict=True)},
    )
    assert [e.p for e in other] == pytest.approx([linear.p, quadratic.p]) and other[
        1
    ].estimate == pytest.approx(1e8 * quadratic.estimate)
    assert (
        effects.trend(
            levels, {v: {0: 70.1 + i, 1: 71.3 + i, 2: 70.7 + i} for i, v in enumerate(levels)}
        )
        == []
    )
    assert effects.trend({"a": 1.0, "b": 2.0}, {"a": {0: 1.0, 1: 2.0}, "b": {0: 1.0, 1: 2.0}}) == []


def test_factorial_splits_the_sum_of_squares(random):
    cells, y = {}, {}
    for a in (1, 2, 4):
        for b in ("x", "y"):
            y[a, b] = (
                70
                + (2 if b == "y" else 0)
                + (1 if (a, b) == (4, "y") else 0)
                + random.normal(0, 0.3, 6)
            )
            cells[a, b] = dict(enumerate(y[a, b]))
    sources = {s.name: s for s in effects.factorial(cells, ["groups", "gate"])}
    assert [*sources] == ["groups", "gate", "groups x gate"] and [
        s.df for s in sources.values()
    ] == [2, 1, 2]
    table = np.array([[y[a, b] for b in "xy"] for a in (1, 2, 4)])  # (3, 2, 6)
    residual = table - table.mean(2, keepdims=True) - table.mean((0, 1)) + table.mean()
    mse = (residual**2).sum() / (5 * 5)
    between = 6 * 3 * ((table.mean((0, 2)) - table.mean()) ** 2).sum()
    assert sources["gate"].f == pytest.approx(between / 1 / mse) and sources[
        "gate"
    ].p == pytest.approx(scipy_stats.f.sf(between / mse, 1, 25))
    # the effects' sums of squares make up all that is between the cells
    total = 6 * ((table.mean(2) - table.mean()) ** 2).sum()
    assert sum(s.f * s.df * mse for s in sources.values()) == pytest.approx(total)
    high = next(e for e in sources["gate"].effects if e.name == "gate=y")
    assert (
        high.estimate == pytest.approx(table[:, 1].mean() - table.mean())
        and high.low < high.estimate < high.high
    )
    # with two levels, the effect's t is the root of the source's F
    t = high.estimate / (
        (high.high - high.low) / 2 / scipy_stats.t.ppf(1 - 0.025 / 2, 25)
    )  # two levels are read together
    assert t**2 == pytest.approx(sources["gate"].f)
    assert (
        effects.factorial({k: v for k, v in cells.items() if k != (4, "y")}, ["groups", "gate"])
        == []
    )


@pytest.mark.parametrize("gap", [0.0, 0.3, 0.9, 1.2, 1.5, 2.0, 4.0])
def test_two_are_apart_where_the_test_of_all_pairs_says_so(gap, random):
    for k, n in ((2, 3), (5, 4), (12, 2)):
        found = scores(random.normal(70, 1, (k, n)) + gap * np.arange(k)[:, None])
        p = stats.all_pairs(found)["v0", "v1"].p
        assert stats.apart(found, "v0", "v1") == stats.apart(found, "v1", "v0") == (p < 0.05)


def test_without_spread_or_common_seeds_none_are_apart():
    assert not stats.apart(scores([[70.1, 71.3], [72.1, 73.3]]), "v0", "v1")
    assert not stats.apart({"a": {0: 1.0}, "b": {1: 2.0}}, "a", "b")
