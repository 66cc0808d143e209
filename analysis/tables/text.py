"""Figures and lists as text, alike in every table and sentence."""

from __future__ import annotations

from analysis.stats import Difference, Summary


def interval(value: Summary | Difference | None) -> str:
    """ "-" where there is none. A mean's is cut where per cent end; a difference's has signs."""
    if value is None or value.low is None or value.high is None:
        return "-"
    if isinstance(value, Summary):
        return f"{max(0.0, value.low):.2f} to {min(100.0, value.high):.2f}"
    return f"{value.low:+.2f} to {value.high:+.2f}"


def mean_sd(value: Summary | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.2f}" + (f" ± {value.sd:.2f}" if value.sd is not None else "")


def p_value(p: float | None) -> str:
    """For a cell."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """For a sentence: "= 0.012", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def listed(words: list[str]) -> str:
    """ "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def quoted(name: str) -> str:
    """A variant's name within a sentence, whose commas are not those of the sentence."""
    return f"“{name}”" if "," in name else name


def upper(sentence: str) -> str:
    """With its first letter large, and the others as they are."""
    return sentence[:1].upper() + sentence[1:]


def count(n: int, word: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{n} {word}" + ("" if n == 1 else "s")
