"""The answer in a sentence, with how sure it is: one that a careful reader would sign."""

from __future__ import annotations

from analysis import stats
from analysis.tables import Row, Table, retention
from analysis.tables.text import listed, quoted

WORDS = (("better", "better than"), ("worse", "worse than"), ("equivalent", "equivalent to"))


def answer(table: Table) -> str:
    """The sweep's answer in a sentence or two, with how sure it is."""
    kept = retention.sentence(table)
    if kept and (reason := _no_answer(table)):
        return f"{kept} Differences are not judged{reason}."
    return f"{kept} {_compared(table)}" if kept else _compared(table)


def _compared(table: Table) -> str:
    # a sentence about verdicts would be wrong while there are none
    if reason := _no_answer(table):
        return f"There is no answer{reason}."
    found = f"{'; '.join(_findings(table))} ({_held(table)})"
    above = f"; {quoted(table.best)} is above all others" if table.best else ""
    by = "" if table.measure.usual else f"by {table.measure.label}, "
    return f"In this training, {by}{found}{_strength(table)}{_incomplete(table)}{above}."


def _held(table: Table) -> str:
    """What the verdicts hold for, and how many seeds they are from."""
    over = " over all looks" if table.comparison.looks else ""
    return f"simultaneously at 95 %{over}, {table.span}"


def _findings(table: Table) -> list[str]:
    """One clause a verdict."""
    base, parts = quoted(table.sweep.baseline), []
    for verdict, words in WORDS:
        if found := _judged(table, verdict):
            names = listed([_named(row, verdict) for row in found])
            parts.append(f"{names} {'is' if len(found) == 1 else 'are'} {words} {base}")
    if unsure := _judged(table, "inconclusive"):
        names = listed([quoted(row.variant) for row in unsure])
        parts.append(
            f"for {names} the difference to {base} may be chance"
            if parts
            else f"no difference to {base} is shown"
        )
    return parts


def _judged(table: Table, verdict: str) -> list[Row]:
    return [row for row in table.rows if row.difference and row.difference.verdict == verdict]


def _named(row: Row, verdict: str) -> str:
    assert row.difference
    name = quoted(row.variant)
    return name if verdict == "equivalent" else f"{name} ({row.difference.mean:+.2f})"


def _strength(table: Table) -> str:
    """The limit of so few seeds, or the smallest difference that would have been detected."""
    if table.seeds < stats.SCREENING:
        return ", and with so few seeds that is a screening, to be confirmed with five or more"
    # "no difference is shown" is only as strong as what would have been seen
    compared = [row for row in table.rows if row.difference]
    nothing = len(_judged(table, "inconclusive")) == len(compared)
    if nothing and table.comparison.detectable:
        return (
            f": a difference under {table.comparison.detectable:.1f} points "
            "could well have gone unseen (power below 80 %)"
        )
    return ""


def _incomplete(table: Table) -> str:
    short = [row for row in table.rows if len(row.records) < row.planned]
    if not short:
        return ""
    counts = [f"{quoted(row.variant)} has {len(row.records)} of {row.planned}" for row in short]
    return f"; of the planned trials {listed(counts)} finished"


def _no_answer(table: Table) -> str:
    """Why there is none, to be read after "There is no answer"; empty where there is one."""
    base = table.sweep.baseline
    if not table.sweep.settled:
        tried = [p for study in table.studies for p in study.proposals]
        ended = sum(p.trained and p.record is not None for p in tried)
        planned = sum(study.written.trials for study in table.studies)
        return f" yet: the search, which says what is compared, has {ended} of {planned} trials"
    if base not in table.sweep.variants:
        return f": the baseline {base} is not among these variants"
    if len(table.rows) == 1:
        return ": there is only one variant"
    if not any(row.difference for row in table.rows):
        # trials that failed will not finish by waiting
        if any(row.missing["not finished"] for row in table.rows):
            return " yet: too few trials have finished"
        which = "another variant" if table.scores[base] else "the baseline"
        return f": no trial of {which} finished"
    return "" if table.comparison.method else f" yet: {table.comparison.why}"
