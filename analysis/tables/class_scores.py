"""Which classes each variant knows: under the whole images, and under its worst condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from analysis.stats.classes import MACRO, WEIGHTED, Score, scores, weighted
from analysis.tables import text
from analysis.tables.classes import SHARES
from analysis.tables.columns import Column, Grid, csv_text, grid
from analysis.tables.conditions import Conditions
from analysis.tables.table import Table


class Look(NamedTuple):
    """A variant under a condition: (true, predicted) classes of each seed, and its scores."""

    variant: str
    condition: str
    pairs: list[tuple[np.ndarray, np.ndarray]]
    scores: list[Score]

    def of(self, name: str) -> Score:
        """The scores of a class, or an average."""
        return next(score for score in self.scores if score.name == name)


@dataclass(frozen=True)
class Classes:
    """Every variant's looks, from its evaluations."""

    table: Table

    @cached_property
    def looks(self) -> list[Look]:
        return [*self._looks()]

    def _looks(self) -> Iterator[Look]:
        found = Conditions(self.table)
        for variant in found.variants:
            for condition in self._chosen(found, variant):
                pairs = []
                for record in self.table.of(variant):
                    if record.seed in found.trials[variant]:
                        done = found.measure.evaluations[record.id]
                        seen = found.trials[variant][record.seed][condition]
                        pairs.append((done.labels(), done.predictions(seen)))
                yield Look(variant, condition, pairs, [*scores(pairs), weighted(pairs)])

    def _chosen(self, found: Conditions, variant: str) -> list[str]:
        """The whole images, and the condition with the lowest mean."""
        names = self.table.conditions

        def mean(name: str) -> float:
            return found.summary(variant, lambda scores: scores[name].top1).mean

        return [*dict.fromkeys([names[0], min(names, key=mean)])]


def grid_of(found: Classes) -> Grid:
    """The averages over classes, a line per variant and condition."""
    columns: list[Column[Look]] = [
        Column("variant", "The variant's name.", "variant", lambda look: look.variant),
        Column(
            "condition",
            "The whole images, and the variant's worst condition.",
            "condition",
            lambda look: look.condition,
        ),
        Column("images", "Test images.", "images", lambda look: f"{look.of(MACRO).support}"),
    ]
    for average in (MACRO, WEIGHTED):
        for share, means in SHARES.items():
            columns.append(_share(average, share, means))
    return grid(columns, found.looks)


def _share(average: str, share: str, means: str) -> Column[Look]:
    how = "plain mean over classes" if average == MACRO else "weighted by the classes' images"
    return Column(
        f"{average} {share}",
        f"{means} The {how}.",
        f"{average} {share} %",
        lambda look: text.mean_sd(getattr(look.of(average), share)),
    )


def to_csv(found: Classes) -> str:
    """A line per variant, condition and class."""
    lines = []
    for look in found.looks:
        lines += [(look, score) for score in look.scores]
    fields = {
        "variant": lambda line: line[0].variant,
        "condition": lambda line: line[0].condition,
        "class": lambda line: line[1].name,
        "support": lambda line: line[1].support,
        "n": lambda line: line[1].f1.n,
    }
    for share in SHARES:
        for part in ("mean", "sd"):
            fields[f"{share}_{part}"] = _part(share, part)
    return csv_text([Column("classes", "", fields=fields)], lines, number="{:.4f}")


def _part(share: str, part: str):
    return lambda line: getattr(getattr(line[1], share), part)
