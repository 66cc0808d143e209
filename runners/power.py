"""What a sweep's design can show, before it is run."""

from __future__ import annotations

import math
import statistics

from analysis import report
from runners.estimate import Estimate
from runners.launch.console import duration
from runners.plan import Sweep
from runners.store import Record

# percentage points: an assumption, said as one; a training of a few epochs has more
ASSUMED_SD = 0.3


def sentence(sweep: Sweep, records: dict[str, Record], found: Estimate | None) -> list[str]:
    """What the design can show, in a sentence; empty where there is nothing to compare."""
    seeds, comparisons = len(sweep.seeds), len(sweep.variants) - 1
    if seeds < 2 or not comparisons:
        return []
    scores: dict[str, list[float]] = {}
    for trial in sweep.trials:
        record = records.get(trial.id)
        if record and record.result:
            scores.setdefault(trial.variant, []).append(record.result.score)
    spreads = [_variance(x) for x in scores.values() if len(x) > 1]
    sd = math.sqrt(statistics.mean(spreads)) if spreads else ASSUMED_SD
    if not sd:
        return []
    source = "the spread of the finished trials" if spreads else "an assumed spread"
    looks = sweep.growth.looks if sweep.growth else ()
    shown = report.detectable(sd, comparisons, seeds, looks)
    wanted = sweep.margin_pp or shown / 2
    line = (
        f"power: with {source} over seeds ({sd:.2f} points), {seeds} seeds show a difference of "
        f"{shown:.1f} points to {sweep.baseline} with 80 % power"
    )
    if looks:
        return [f"{line}; a larger one takes fewer"]
    if wanted < shown and (needed := report.seeds_for(wanted, sd, comparisons)):
        line += f"; {wanted:.1f} points need {needed} seeds"
        if found and len(found.trials) == len(sweep.trials):
            # no further seed has anything in the store
            more = sum(found.whole) / seeds * (needed - seeds) / found.at_a_time
            line += f", about {duration(found.seconds + more)}"
    return [line]


def _variance(scores: list[float]) -> float:
    """As `statistics.variance` but for its last digits; that is felt with thousands of variants."""
    if min(scores) == max(scores):
        return 0.0
    mean = math.fsum(scores) / len(scores)
    return math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
