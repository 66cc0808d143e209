"""How the trainings behind a table went: attempts, shared beginnings, early ends; in sentences."""

from __future__ import annotations

from analysis.tables.table import Table
from analysis.tables.text import quoted

MOST = 12  # trials that a sentence names


def sentences(table: Table) -> list[str]:
    """What was unusual in them, a sentence a line."""
    return [*_early_stops(table), *_stable_parts(table), *_attempts(table)]


def _attempts(table: Table) -> list[str]:
    """The trials that did not end at the first attempt; records of old do not count attempts."""
    again = []
    for row in table.rows:
        for record in [*row.records, *row.unfinished]:
            attempts = int(record.provenance.get("attempts", 1))
            if attempts > 1:
                again.append(f"{quoted(row.variant)} seed {record.seed} ({attempts})")
    if not again:
        return []
    return [f"Trials that took more than one attempt: {_first(again)}."]


def _stable_parts(table: Table) -> list[str]:
    """The trials that went on from a shorter training, whose first epochs are theirs."""
    shared, commits = [], {}
    for row in table.rows:
        for record in row.records:
            if "stable_part" not in record.provenance:
                continue
            shared.append(f"{quoted(row.variant)} seed {record.seed}")
            commit = str(record.provenance["stable_part_commit"])
            if commit != record.provenance["commit"]:
                commits[commit] = None
    if not shared:
        return []
    noun = "Trial that went" if len(shared) == 1 else "Trials that went"
    other = f"; that part was trained by commit {', '.join(commits)}" if commits else ""
    return [
        f"{noun} on from the stable part of a shorter training of the same seed: "
        f"{_first(shared)}{other}."
    ]


def _first(names: list[str]) -> str:
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if names[MOST:] else "")


def _early_stops(table: Table) -> list[str]:
    """Where the trainings ended, and which epoch of them was tested."""
    lines = []
    for row in table.rows:
        stop = table.sweep.variants[row.variant].early_stop
        if not stop or not row.records:
            continue
        ends, bests = [len(r.epochs) for r in row.records], [r.best for r in row.records]
        of = table.sweep.variants[row.variant].epochs
        kept = f"; epoch {_span(bests)}, the best by validation {stop.monitor}, was tested"
        lines.append(
            f"{quoted(row.variant)} trained for {_span(ends)} of {of} epochs, until validation "
            f"{stop.monitor} had not been better for {stop.patience}"
            f"{kept if stop.keep == 'best' else ''}."
        )
    return lines


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
