"""Does the procedure behind the tables keep what it promises? Simulated sweeps whose truth is
known.

python -m tests.validate [--sweeps 4000] [--json FILE]

Null sweeps of 6 variants, 3, 5 and 8 seeds, with the seeds' shares 0 and 0.3 of the variance: how
often any verdict is "better" or "worse" (family-wise error), how often all intervals hold the
truth, how often a variant's own interval does; and, with one variant better by what the design is
said to detect, how often that is found (power). Also null sweeps with the baseline's spread two or
four times the others'.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass

import numpy as np
from scipy import special

from analysis.stats import compare, dunnett_critical, summarise

VARIANTS = 6
MOST_ERRORS, LEAST_COVERAGE = 0.06, 0.93


@dataclass(frozen=True)
class Outcome:
    """Shares of the simulated sweeps; `welch`: of those that were not judged by the additive
    model.
    """

    seeds: int
    correlation: float
    spread: float
    errors: float
    simultaneous: float
    own: float
    power: float
    welch: float


def sweep(
    random: np.random.Generator, seeds: int, correlation: float, spread: float, gain: float
) -> dict[str, dict[int, float]]:
    """Accuracies around 70 whose variance, 1, is in part the seeds'; v1 is better by `gain`, the
    baseline's own part is `spread` times as wide.
    """
    blocks = random.normal(0, math.sqrt(correlation), seeds)
    own = random.normal(0, math.sqrt(1 - correlation), (VARIANTS, seeds))
    own[0] *= spread
    values = 70 + blocks + own
    values[1] += gain
    return {f"v{i}": dict(enumerate(map(float, row))) for i, row in enumerate(values)}


def simulate(sweeps: int, seeds: int, correlation: float, spread: float = 1.0) -> Outcome:
    random = np.random.default_rng([seeds, round(10 * correlation), round(spread)])
    df = (VARIANTS - 1) * (seeds - 1)
    gain = (dunnett_critical(VARIANTS - 1, df) + float(special.stdtrit(df, 0.8))) * math.sqrt(
        2 * (1 - correlation) / seeds
    )
    errors = simultaneous = own = power = welch = 0
    for _ in range(sweeps):
        null = sweep(random, seeds, correlation, spread, 0)
        found = compare(null, "v0")
        rows = found.differences.values()
        welch += found.method == "Welch"
        errors += any(d.verdict in ("better", "worse") for d in rows)
        simultaneous += all(
            d.low is not None and d.high is not None and d.low <= 0 <= d.high for d in rows
        )
        summary = summarise([*null["v1"].values()])
        assert summary and summary.low is not None and summary.high is not None
        own += summary.low <= 70 <= summary.high
        power += (
            compare(sweep(random, seeds, correlation, spread, gain), "v0").differences["v1"].verdict
            == "better"
        )
    return Outcome(
        seeds, correlation, spread, *(x / sweeps for x in (errors, simultaneous, own, power, welch))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulate sweeps whose truth is known.")
    parser.add_argument(
        "--sweeps",
        type=int,
        default=4000,
        help="per setting (default 4000: a share of 0.05 is known to ±0.007)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the outcomes there, too")
    args = parser.parse_args()
    settings = [(n, r, 1.0) for n in (3, 5, 8) for r in (0.0, 0.3)] + [
        (n, 0.0, s) for s in (2.0, 4.0) for n in (3, 5, 8)
    ]
    print(
        "| seeds | seeds' share | spread | family-wise error | all intervals hold | own interval "
        "holds | power | by Welch |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    outcomes = []
    for seeds, correlation, spread in settings:
        o = simulate(args.sweeps, seeds, correlation, spread)
        outcomes.append(o)
        shares = " | ".join(f"{x:.3f}" for x in (o.errors, o.simultaneous, o.own, o.power, o.welch))
        print(f"| {seeds} | {correlation:g} | {spread:g} | {shares} |", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(
                {"sweeps": args.sweeps, "outcomes": [asdict(o) for o in outcomes]}, file, indent=1
            )
    bad = [
        o
        for o in outcomes
        if o.spread == 1 and (o.errors > MOST_ERRORS or min(o.simultaneous, o.own) < LEAST_COVERAGE)
    ]
    for o in bad:
        print(f"promise broken: {o}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
