"""Per-class scores as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from analysis.stats.classes import Score
from analysis.tables.columns import Column, csv_text

SHARES = {
    "precision": "Of the images taken for the class, how many are of it; in per cent, over seeds.",
    "recall": "Of the images of the class, how many were taken for it; in per cent, over seeds.",
    "f1": "The harmonic mean of the two; in per cent, over seeds.",
}
COLUMNS: list[Column[Score]] = [
    Column("class", "Its number, or macro: the mean.", fields={"class": lambda s: s.name}),
    Column("support", "Test images of the class.", fields={"support": lambda s: s.support}),
    Column("n", "Seeds.", fields={"n": lambda s: s.f1.n}),
]


def to_csv(table: Sequence[Score]) -> str:
    """One line per score; the standard deviation is empty for one seed."""
    return csv_text([*COLUMNS, *_shares()], table, number="{:.4f}")


def _shares() -> list[Column[Score]]:
    found = []
    for name, means in SHARES.items():
        fields = {f"{name}_mean": _part(name, "mean"), f"{name}_sd": _part(name, "sd")}
        found.append(Column[Score](name, means, fields=fields))
    return found


def _part(share: str, part: str) -> Callable[[Score], Any]:
    return lambda score: getattr(getattr(score, share), part)
