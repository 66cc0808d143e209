"""Do growing seeds keep what they promise? Part of tests.validate.

Sweeps of 6 variants whose truth is known, with the looks of `seeds: {first: 3, most: 20}` and
`{first: 3, most: 5}`: how often any verdict is wrong, how often all intervals hold the truth, how
often a true difference is found, and how many trials that took, beside the fewest of a fixed number
of seeds that finds it as often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from analysis.stats import Scores, dunnett_critical
from analysis.stats.growing import Rule, follow

VARIANTS = 6
SHARE = 0.3  # of the variance, 1, that is the seeds'
ERROR = math.sqrt(1 - SHARE)
MARGIN = 1.0
MOST_FIXED = 60
MOST_POWER = 0.99


@dataclass(frozen=True)
class Setting:
    """True differences to the baseline, in standard deviations, of the first variants; the others
    are as the baseline.
    """

    name: str
    looks: tuple[int, ...]
    gains: tuple[float, ...] = ()
    margin: float | None = None
    half_width: float | None = None
    spread: float = 1.0  # of the baseline's own part, in the others'


@dataclass(frozen=True)
class Grown:
    """Shares of the simulated sweeps, and `trials`: the mean of a sweep. `fixed`: the trials of a
    fixed design that finds true differences as often, or 99 % of them; None: there is none to find.
    """

    setting: str
    errors: float
    holds: float
    found: float | None
    trials: float
    fixed: int | None


LONG, SHORT = (3, 6, 9, 12, 15, 18, 20), (3, 5)
SETTINGS = (
    Setting("nothing differs", LONG),
    Setting("nothing differs, at most 5", SHORT),
    Setting("nothing differs, baseline twice as wide", LONG, spread=2.0),
    Setting("nothing differs, until ±1", LONG, half_width=1.0),
    Setting("nothing differs, a margin of 1", LONG, margin=MARGIN),
    Setting("at the margin of 1", LONG, (MARGIN,) * (VARIANTS - 1), margin=MARGIN),
    Setting("one by 1.5", LONG, (1.5,)),
    Setting("all by 1.5", LONG, (1.5,) * (VARIANTS - 1)),
    Setting("all by 3", LONG, (3.0,) * (VARIANTS - 1)),
    Setting("by 1 to 5", LONG, (1.0, 2.0, 3.0, 4.0, 5.0)),
)


def simulate(setting: Setting, sweeps: int) -> Grown:
    random = np.random.default_rng([11, SETTINGS.index(setting)])
    names = [f"v{i}" for i in range(VARIANTS)]
    truth = np.zeros(VARIANTS)
    truth[1 : 1 + len(setting.gains)] = setting.gains
    rule = Rule(setting.looks, setting.margin, setting.half_width)
    counts = np.zeros(4)
    for _ in range(sweeps):
        own = random.normal(0, ERROR, (VARIANTS, setting.looks[-1]))
        own[0] *= setting.spread
        values = 70 + truth[:, None] + own + random.normal(0, math.sqrt(SHARE), own.shape[1])
        counts += _outcome(names, truth, values, rule)
    errors, holds, found, trials = (float(x) / sweeps for x in counts)
    different = truth[truth != 0]
    judged = len(different) > 0 and setting.margin is None
    # all of 4,000 sweeps would ask a fixed design for a power of 1
    fixed = _fixed(different, min(found, MOST_POWER)) if judged else None
    return Grown(setting.name, errors, holds, found if judged else None, trials, fixed)


def _outcome(names: list[str], truth: np.ndarray, values: np.ndarray, rule: Rule) -> np.ndarray:
    """Whether any verdict is wrong, whether all intervals hold, the share found, the trials."""

    def look(variants: list[str], n: int) -> Scores:
        return {v: dict(enumerate(map(float, values[names.index(v)][:n]))) for v in variants}

    found = follow(names, names[0], rule, look)
    wrong, holds, right = False, True, []
    for name, gain in zip(names[1:], truth[1:], strict=True):
        d = found.comparison.differences[name]
        side = d.verdict in ("better", "worse")
        # a difference that is as large as the margin matters
        wrong |= side and (gain == 0 or (d.mean > 0) != (gain > 0))
        wrong |= d.verdict == "equivalent" and abs(gain) >= (rule.margin or 0.0)
        assert d.low is not None and d.high is not None
        holds &= d.low <= gain <= d.high
        right += [side] if gain else []
    return np.array([wrong, holds, np.mean(right) if right else 0, sum(found.seeds.values())])


def _fixed(gains: np.ndarray, power: float) -> int | None:
    """The fewest trials of a fixed design that finds these differences as often on average."""
    for n in range(2, MOST_FIXED):
        df = (VARIANTS - 1) * (n - 1)
        critical = dunnett_critical(VARIANTS - 1, df)
        shift = np.abs(gains) / (ERROR * math.sqrt(2 / n))
        if float(np.mean(distributions.nct.sf(critical, df, shift))) >= power:
            return VARIANTS * n
    return None


def growing(
    sweeps: int, most_errors: float, least_coverage: float
) -> tuple[list[Grown], list[str]]:
    """The table, printed; and a line for each broken promise."""
    print("\n| growing seeds | error | all intervals hold | found | trials | fixed design |")
    print("|---|--:|--:|--:|--:|--:|")
    rows, bad = [], []
    for setting in SETTINGS:
        g = simulate(setting, sweeps)
        rows.append(g)
        found = "-" if g.found is None else f"{g.found:.3f}"
        print(
            f"| {g.setting} | {g.errors:.3f} | {g.holds:.3f} | {found} | {g.trials:.1f} | "
            f"{g.fixed or '-'} |",
            flush=True,
        )
        # a baseline of another spread is shown, and not promised
        if setting.spread == 1 and (g.errors > most_errors or g.holds < least_coverage):
            bad.append(f"promise broken: {g}")
    return rows, bad
