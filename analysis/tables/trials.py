"""The trials behind a row: the evidence of each, and its test images beside the baseline's."""

from __future__ import annotations

from typing import NamedTuple

from analysis import stats
from analysis.tables.columns import Column, Grid, grid
from analysis.tables.measure import correct
from analysis.tables.table import Table
from runners.store import Record

EVIDENCE = {
    "commit": "Of the code that trained it.",
    "dirty": "Whether the code had changes that no commit has.",
    "device": "That trained it.",
    "precision": "Of the arithmetic.",
    "torch": "PyTorch's version.",
    "data": "Digest of the data set.",
}


class _Trial(NamedTuple):
    variant: str
    record: Record
    score: float


def trials(table: Table) -> Grid:
    """The trials of every row, and the evidence of each."""
    columns: list[Column[_Trial]] = [
        Column("variant", "The variant's name.", "variant", lambda t: t.variant),
        Column(
            "trial", "Its id, and its folder's name in the store.", "trial", lambda t: t.record.id
        ),
        Column(
            "seed", "Of weights, batches and augmentation.", "seed", lambda t: f"{t.record.seed}"
        ),
        Column("score", "On the test set, in per cent.", f"{table.measure.label} %", _score),
        *(_evidence(key, means) for key, means in EVIDENCE.items()),
    ]
    items = []
    for row in table.rows:
        scores = table.scores[row.variant]
        items += [_Trial(row.variant, record, scores[record.seed]) for record in row.records]
    return grid(columns, items)


def _score(trial: _Trial) -> str:
    return f"{trial.score:.2f}"


def _evidence(key: str, means: str) -> Column[_Trial]:
    return Column(key, means, key, lambda t: str(t.record.provenance[key]))


class _Pair(NamedTuple):
    """A trial beside the baseline's of the same seed."""

    variant: str
    seed: int
    only_base: int
    only_variant: int
    p: float


def images(table: Table) -> Grid:
    """Per seed, the test images that only one of the two has right, and McNemar's exact p."""
    base = table.sweep.baseline
    columns: list[Column[_Pair]] = [
        Column("variant", "The variant's name.", "variant", lambda pair: pair.variant),
        Column("seed", "Of both trials.", "seed", lambda pair: f"{pair.seed}"),
        Column("base", "Test images.", f"only {base} right", lambda pair: f"{pair.only_base}"),
        Column("other", "Test images.", "only the variant right", lambda p: f"{p.only_variant}"),
        Column("p", "That both are equally likely.", "McNemar p (each)", lambda p: f"{p.p:.3f}"),
    ]
    return grid(columns, _pairs(table))


def _pairs(table: Table) -> list[_Pair]:
    # over several conditions an image is not right or wrong
    if not table.measure.usual:
        return []
    # the same seed saw the same batches, so the trials are a pair
    base = {r.seed: r for r in table.of(table.sweep.baseline)}
    found = []
    for row in table.rows:
        if row.variant == table.sweep.baseline:
            continue
        for record in row.records:
            other = base.get(record.seed)
            # images can only be compared where both trials read the same ones
            if other and other.provenance["data"] == record.provenance["data"]:
                figures = stats.mcnemar(correct(other), correct(record))
                found.append(_Pair(row.variant, record.seed, *figures))
    return found
