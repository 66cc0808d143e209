"""A comparison whose seeds grow, look by look: sequential.py says how certain each look must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.stats.additive import Scores
from analysis.stats.comparison import Comparison, compare
from analysis.stats.sequential import levels
from analysis.stats.verdicts import Difference


@dataclass(frozen=True)
class Rule:
    """Where the comparisons are looked at, and which of them need no more seeds.

    Attributes:
        looks: the seeds of an undecided variant at each look.
        margin: percentage points below which a difference does not matter.
        half_width: of an interval that is narrow enough; None: a verdict is waited for.
    """

    looks: tuple[int, ...]
    margin: float | None = None
    half_width: float | None = None


@dataclass(frozen=True)
class Followed:
    """How far the looks have come.

    Attributes:
        seeds: how many each variant has been asked for.
        comparison: each difference as it stood when it was looked at last.
        undecided: the variants whose comparisons are open.
    """

    seeds: dict[str, int]
    comparison: Comparison
    undecided: tuple[str, ...]


def follow(
    variants: Sequence[str],
    baseline: str,
    rule: Rule,
    look: Callable[[list[str], int], Scores | None],
) -> Followed:
    """Look after each block of seeds, until all is decided or a block has not ended.

    Args:
        look: (variants, their seeds so far) -> their scores; None: some have not ended.
    """
    undecided = [v for v in variants if v != baseline]
    comparisons, asked = max(1, len(undecided)), dict[str, int]()
    seen, differences = dict[int, Comparison](), dict[str, Difference]()
    for n, level in zip(rule.looks, levels(comparisons, rule.looks), strict=True):
        asked |= dict.fromkeys([baseline, *undecided], n)
        if (scores := look([baseline, *undecided], n)) is None:
            break
        seen[n] = compare(scores, baseline, rule.margin, level, comparisons)
        differences |= seen[n].differences
        undecided = [v for v in undecided if _open(seen[n].differences.get(v), rule)]
        if not undecided:
            break
    return Followed(asked, _as_one(seen, differences, rule), tuple(undecided))


def _open(difference: Difference | None, rule: Rule) -> bool:
    """Whether a comparison needs more seeds; where no trial finishes, more would not either."""
    if difference is None:
        return False
    if rule.half_width is None or difference.low is None or difference.high is None:
        return difference.verdict == "inconclusive"
    return (difference.high - difference.low) / 2 > rule.half_width


def _as_one(
    seen: Mapping[int, Comparison], differences: Mapping[str, Difference], rule: Rule
) -> Comparison:
    """All looks as one comparison: by Welch where any of them was."""
    if not seen:
        return Comparison("", f"the first {rule.looks[0]} seeds have not all ended", {})
    last = [*seen.values()][-1]
    shown = next((c for c in seen.values() if c.method == "Welch"), last)
    # p and the power are of a single look
    rows = {v: replace(d, p=None, equivalent_p=None) for v, d in differences.items()}
    return replace(shown, differences=rows, detectable=None, looks=tuple(seen))
